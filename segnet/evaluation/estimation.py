"""The learned estimator F̂, asked about the patches of a case."""

import functools
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Bool, Float

from datagen import volumes
from datagen.lesions import score_lesions
from datagen.resampling import resample, resample_mask
from metricnet.checkpoint import SavedEstimator, load_estimator
from segnet.evaluation.estimates import PatchEstimate
from segnet.evaluation.pairs import MaskPair


def estimate_patches(case: str, method: str, pair: MaskPair, path: Path) -> list[PatchEstimate]:
    """Estimate L-F1 of every patch that holds a lesion, beside the exact score of the same patch.

    The pair is brought to the estimator's spacing and cut into its patches, side by side; what lies
    beyond the pair's box counts as 0. Without a map the mask itself is judged. The exact score is
    that of the map thresholded at one half, under the estimator's rule; where that gives none
    ("msseg2", empty truth) it is 1 if nothing is predicted and 0 otherwise, as in training.
    """
    saved = _load(path)
    patch, spacing_mm = saved.agreement.patch, saved.agreement.spacing_mm
    truth, probability = _at_spacing(pair, spacing_mm)
    counts = [range(-(-side // patch)) for side in truth.shape]
    rows = []
    for x, y, z in itertools.product(*counts):
        centre = np.array([x, y, z]) * patch + patch // 2
        wanted = volumes.cut_patch(truth, centre, patch)
        shown = volumes.cut_patch(probability, centre, patch)
        if not (wanted.any() or (shown >= 0.5).any()):
            continue
        score = score_lesions(wanted, shown >= 0.5, saved.agreement.rule, (spacing_mm,) * 3)
        exact = float(score.predicted_lesions == 0) if score.f1 is None else score.f1
        estimated = _estimate(saved, shown, wanted)
        rows.append(PatchEstimate(case, method, x, y, z, estimated, exact, estimated - exact))
    return rows


@functools.lru_cache(maxsize=1)
def _load(path: Path) -> SavedEstimator:
    return load_estimator(path)


def _at_spacing(
    pair: MaskPair, spacing_mm: float
) -> tuple[Bool[np.ndarray, "x y z"], Float[np.ndarray, "x y z"]]:
    grid, affine = volumes.working_grid(pair.grid, spacing_mm), pair.grid.affine
    truth, prediction = (
        resample_mask(nib.Nifti1Image(mask.astype(np.uint8), affine), grid)
        for mask in (pair.truth, pair.prediction)
    )
    if pair.probability is None:
        return truth, prediction.astype(np.float32)
    return truth, resample(nib.Nifti1Image(pair.probability, affine), grid).clip(0, 1)


def _estimate(
    saved: SavedEstimator,
    probability: Float[np.ndarray, "x y z"],
    truth: Bool[np.ndarray, "x y z"],
) -> float:
    both = [
        torch.from_numpy(volume.astype(np.float32))[None, None] for volume in (probability, truth)
    ]
    with torch.inference_mode():
        return float(saved.estimator(*both)[0])
