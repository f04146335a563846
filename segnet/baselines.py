"""What a network must beat: no lesion at all, and thresholded subtraction of the visits."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from datagen.lesions import score_lesions
from datagen.scans import Scans
from segnet.evaluation import dice_coefficient
from segnet.inference import lesion_mask

DEFAULT_THRESHOLD_Z = 4.0
_THRESHOLDS_Z = np.arange(2.0, 10.01, 0.5)
_SMOOTHING_MM = 1.0


def no_lesions(scans: Scans) -> Float32[np.ndarray, "x y z"]:
    """Probability 0 everywhere: right for every clean patient, and for no other."""
    return np.zeros(scans.grid.shape, np.float32)


def subtraction(scans: Scans, threshold_z: float) -> Float32[np.ndarray, "x y z"]:
    """Brightening from visit 1 to visit 2, scaled so that one half lies at the threshold.

    `threshold_z` counts deviations of `brightening`.
    """
    z = brightening(scans)
    scaled: np.ndarray = np.clip(z / (2 * threshold_z), 0, 1) * scans.brain
    return scaled.astype(np.float32)


def brightening(scans: Scans) -> Float32[np.ndarray, "x y z"]:
    """Difference of the normalised visits, in robust deviations of the brain around its median.

    It is smoothed by a Gaussian of 1 mm.
    """
    sigma = [_SMOOTHING_MM / spacing_mm for spacing_mm in scans.grid.spacing_mm]
    smoothed = ndimage.gaussian_filter(scans.time2 - scans.time1, sigma)
    inside = smoothed[scans.brain]
    median = np.median(inside)
    deviation = 1.4826 * np.median(np.abs(inside - median))
    z: np.ndarray = (smoothed - median) / max(float(deviation), 1e-6)
    return z.astype(np.float32)


def fit_threshold(cases: Sequence[Scans], min_volume_mm3: float) -> float:
    """Threshold in deviations with the best mean of Dice and L-F1 over cases with new lesions.

    4.0 where no case has any.
    """
    active = [case for case in cases if case.truth.any()]
    if not active:
        return DEFAULT_THRESHOLD_Z
    scores = np.array([_scores_by_threshold(case, min_volume_mm3) for case in active])
    return float(_THRESHOLDS_Z[int(scores.mean(axis=0).argmax())])


def _scores_by_threshold(scans: Scans, min_volume_mm3: float) -> list[float]:
    # at a threshold of 1, half of the map is one deviation, unclipped up to two
    steps = subtraction(scans, _THRESHOLDS_Z[-1])
    scores = []
    for threshold_z in _THRESHOLDS_Z:
        level = threshold_z / (2 * _THRESHOLDS_Z[-1])
        mask = lesion_mask(steps, level, min_volume_mm3, scans.grid)
        scores.append(dice_and_f1(scans, mask))
    return scores


def dice_and_f1(scans: Scans, mask: Bool[np.ndarray, "x y z"]) -> float:
    """Mean of Dice and L-F1 of a mask, by which a baseline's threshold is fitted."""
    f1 = score_lesions(scans.truth, mask).f1 or 0.0
    return (dice_coefficient(scans.truth, mask) + f1) / 2
