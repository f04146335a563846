"""Time of exact lesion-wise scores beside a straightforward implementation, in one run."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from datagen.lesions import score_lesions
from datagen.store import PairFile

Masks = tuple[np.ndarray, np.ndarray]


def scipy_f1(truth: np.ndarray, prediction: np.ndarray) -> float:
    """L-F1 under "overlap" as one would write it first: label both, list the joint labels."""
    cube = np.ones((3, 3, 3))
    (truths, count), (predictions, predicted) = (
        ndimage.label(mask, cube) for mask in (truth, prediction)
    )
    if not count or not predicted:
        return float(count == predicted)
    joint = np.unique(np.stack([truths.ravel(), predictions.ravel()]), axis=1)
    both = joint[:, (joint > 0).all(axis=0)]
    ltpr, lppv = np.unique(both[0]).size / count, np.unique(both[1]).size / predicted
    return 2 * ltpr * lppv / (ltpr + lppv) if ltpr + lppv else 0.0


def compare_times(pairs: Path, masks: Sequence[Path]) -> None:
    """Print the median time of a score for patches and for whole masks, ours and scipy's."""
    with PairFile(pairs) as file:
        chosen = np.random.default_rng(0).permutation(len(file))[:200].tolist()
        patches = [file.volumes(index) for index in chosen]
    _print("64³ pairs", [(truth > 0, probability >= 128) for truth, probability in patches])
    volumes = [np.asanyarray(nib.load(path).dataobj) > 0 for path in masks]
    shifted = [(mask, np.roll(mask, 2, axis=0)) for mask in volumes]
    _print(" x ".join(str(side) for side in volumes[0].shape) + " masks", shifted)


def _print(name: str, cases: list[Masks]) -> None:
    wrong = sum(abs((score_lesions(*case).f1 or 0) - scipy_f1(*case)) > 1e-9 for case in cases)
    ours, theirs = (_median_ms(score, cases) for score in (score_lesions, scipy_f1))
    print(
        f"{name}, n = {len(cases)}: {ours:.2f} ms a score, scipy.ndimage.label + numpy.unique "
        f"{theirs:.1f} ms, {theirs / ours:.0f} times; {wrong} scores differ"
    )


def _median_ms(score: Callable[..., object], cases: list[Masks]) -> float:
    times = []
    for case in cases:
        start = time.perf_counter()
        score(*case)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3
