"""One-lesion edits of held-out pairs: does the estimate change as the score does, and its slope?"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import default_collate

from datagen.lesions import label_lesions, score_lesions
from datagen.pieces import find_pieces
from datagen.store import Agreement, PairFile
from metricnet.data import HALF, PairDataset, StoredPair, as_sample, flipped
from metricnet.estimator import LesionEstimator
from metricnet.guidance import estimate_with_slope

_BATCH = 8
_MOST_DRAWS = 20  # for each edit that is wanted
KINDS = ("missed truth", "hit truth", "outside")


class Changes(NamedTuple):
    """Exact changes of scores, and the changes that the estimate makes or foretells."""

    exact: Float[np.ndarray, " edits"]
    estimated: Float[np.ndarray, " edits"]

    @property
    def right(self) -> float:
        """Share of the changes of the exact score whose sign the estimate has; NaN without any."""
        changed = self.exact != 0
        if not changed.any():
            return float("nan")
        return float((np.sign(self.exact) == np.sign(self.estimated))[changed].mean())


def measure_edits(
    estimator: LesionEstimator, pairs: Path, split: str, edits: int, seed: int
) -> Changes:
    """Flip a lesion of held-out pairs; compare the scores where the exact one changes.

    Fewer edits where the split's pairs do not offer as many.
    """
    data = PairDataset(pairs, split)
    with PairFile(pairs) as file:
        agreement = file.agreement
    rng = np.random.default_rng(seed)
    drawn = itertools.islice(_twos(data, agreement, rng, _MOST_DRAWS * edits), edits)
    exact, estimated = [np.zeros(0)], [np.zeros(0)]
    while twos := list(itertools.islice(drawn, _BATCH)):
        exact.append(np.array([float(after.f1) - float(before.f1) for before, after in twos]))
        before, after = (_estimates(estimator, [two[side] for two in twos]) for side in (0, 1))
        estimated.append(after - before)
    return Changes(np.concatenate(exact), np.concatenate(estimated))


def _twos(
    data: PairDataset, agreement: Agreement, rng: np.random.Generator, draws: int
) -> Iterator[tuple[StoredPair, StoredPair]]:
    """Pairs before and after one lesion was flipped, where that changes the score."""
    for _ in range(draws):
        before = data.read(int(rng.integers(len(data))))
        after = flipped(before, agreement, rng)
        if after.f1 != before.f1:
            yield before, after


def _estimates(estimator: LesionEstimator, pairs: list[StoredPair]) -> Float[np.ndarray, " pairs"]:
    batch = default_collate([as_sample(pair) for pair in pairs]).to(estimator.device)
    with torch.inference_mode():
        estimated: np.ndarray = estimator(batch.probability, batch.truth).cpu().double().numpy()
    return estimated


def measure_slopes(
    estimator: LesionEstimator, pairs: Path, split: str, count: int, seed: int
) -> dict[str, Changes]:
    """Hold the slope of F̂ along each piece against the exact change when the piece is flipped.

    The slope is the gradient summed over a piece, with the sign of the flip: what a training's
    next step is told. By kind of piece: of a truth lesion where nothing is predicted, of one where
    something is, and of what is predicted outside.
    """
    data = PairDataset(pairs, split)
    with PairFile(pairs) as file:
        agreement = file.agreement
    chosen = np.random.default_rng(seed).permutation(len(data))[:count]
    rows: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for item in chosen.tolist():
        pair = data.read(item)
        for kind, exact, slope in _of_pieces(estimator, pair, agreement):
            rows[kind].append((exact, slope))
    return {
        kind: Changes(*np.array(found or np.zeros((0, 2))).T.astype(float))
        for kind, found in rows.items()
    }


def _of_pieces(
    estimator: LesionEstimator, pair: StoredPair, agreement: Agreement
) -> list[tuple[str, float, float]]:
    truth, predicted = pair.truth > 0, pair.stored >= HALF
    slope = slope_of(estimator, pair).numpy().ravel()
    pieces = find_pieces(label_lesions(truth)[0], label_lesions(predicted)[0])
    rows = []
    for piece in range(pieces.is_truth.size):
        voxels = pieces.voxels[pieces.piece == piece]
        is_predicted, is_truth = bool(pieces.is_predicted[piece]), bool(pieces.is_truth[piece])
        flipped_map = predicted.copy()
        flipped_map.ravel()[voxels] = not is_predicted
        score = score_lesions(truth, flipped_map, agreement.rule, (agreement.spacing_mm,) * 3).f1
        if score is None:
            continue
        kind = KINDS[2] if not is_truth else KINDS[1] if is_predicted else KINDS[0]
        sign = -1.0 if is_predicted else 1.0
        change = float(np.float32(score) - np.float32(pair.f1))  # as the file rounds it
        rows.append((kind, change, sign * float(slope[voxels].sum())))
    return rows


def slope_of(estimator: LesionEstimator, pair: StoredPair) -> Float[Tensor, "d h w"]:
    """Slope of F̂ towards the truth, voxel by voxel."""
    one = default_collate([as_sample(pair)]).to(estimator.device)
    _, slope = estimate_with_slope(estimator, one.probability, one.truth)
    return slope[0, 0].cpu()
