"""Lesions grown from bright seeds, after the idea of the Lesion Segmentation Tool."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from datagen.scans import Scans
from segnet.baselines import brightening, dice_and_f1
from segnet.inference import lesion_mask

_KAPPAS = np.arange(1.0, 4.01, 0.5)
DEFAULT_KAPPA = 2.0
_SMOOTHING_MM = 0.7
_MOST_VOXELS = 50_000  # more do not change the tissues' means
_TISSUES, _ROUNDS, _GROWTHS = 3, 60, 20


def grown_lesions(scans: Scans, kappa: float) -> Float32[np.ndarray, "x y z"]:
    """Probability of new lesion tissue, grown from seeds; 0 where nothing grew.

    In the spirit of Schmidt et al. 2012, on FLAIR alone and for two visits. Three normal
    distributions are fitted to the brain at visit 2; the brightest is grey matter. Seeds are voxels
    `kappa` or more of its deviations beyond its mean that also brightened between the visits by
    that many robust deviations of the difference. Around them neighbours (26) are taken in while
    they are rather lesion than tissue, by normal distributions of both quantities, each weighed by
    its share of the brain, that of the lesions estimated again from what has grown. The map is the
    probability of lesion by both, at least one half wherever it grew.
    """
    return _grown(_evidence(scans), scans.brain, kappa)


def grey_matter(intensities: Float[np.ndarray, " voxels"]) -> tuple[float, float]:
    """Mean and deviation of the brightest of three normal distributions, fitted by expectation.

    Lesions, a few voxels of a brain, hardly move them. `intensities` must not be empty.
    """
    values = intensities[:: -(-intensities.size // _MOST_VOXELS)].astype(np.float64)
    values = values[values <= np.percentile(values, 99)]
    means = np.percentile(values, (5, 40, 80))
    deviations = np.full(_TISSUES, max(float(values.std()) / _TISSUES, 1e-3))
    weights = np.full(_TISSUES, 1 / _TISSUES)
    for _ in range(_ROUNDS):
        z = (values[:, None] - means) / deviations
        likelihood = weights / deviations * np.exp(-0.5 * z**2) + 1e-300
        belongs = likelihood / likelihood.sum(axis=1, keepdims=True)
        total = belongs.sum(axis=0) + 1e-9
        means = (belongs * values[:, None]).sum(axis=0) / total
        spread = (belongs * (values[:, None] - means) ** 2).sum(axis=0) / total
        deviations, weights = np.sqrt(spread).clip(1e-3), total / len(values)
    brightest = int(means.argmax())
    return float(means[brightest]), float(deviations[brightest])


def fit_kappa(cases: Sequence[Scans], min_volume_mm3: float) -> float:
    """Threshold of the seeds with the best mean of Dice and L-F1 over cases with new lesions.

    2.0 where no case has any.
    """
    active = [case for case in cases if case.truth.any()]
    if not active:
        return DEFAULT_KAPPA
    scores = [_scores_by_kappa(case, min_volume_mm3) for case in active]
    return float(_KAPPAS[int(np.mean(scores, axis=0).argmax())])


def _scores_by_kappa(case: Scans, min_volume_mm3: float) -> list[float]:
    evidence = _evidence(case)
    maps = (_grown(evidence, case.brain, float(kappa)) for kappa in _KAPPAS)
    return [dice_and_f1(case, lesion_mask(one, 0.5, min_volume_mm3, case.grid)) for one in maps]


def _evidence(scans: Scans) -> Float32[np.ndarray, "2 x y z"]:
    """Deviations beyond grey matter at visit 2, and deviations of the brightening."""
    sigma = [_SMOOTHING_MM / spacing_mm for spacing_mm in scans.grid.spacing_mm]
    smooth = ndimage.gaussian_filter(scans.time2, sigma)
    mean, deviation = grey_matter(smooth[scans.brain])
    beyond = (smooth - mean) / deviation
    return np.stack([beyond, brightening(scans)]).astype(np.float32)


def _grown(
    evidence: Float32[np.ndarray, "2 x y z"], brain: Bool[np.ndarray, "x y z"], kappa: float
) -> Float32[np.ndarray, "x y z"]:
    seeds = (evidence >= kappa).all(axis=0) & brain
    lesions, found = seeds, np.zeros(brain.shape, np.float32)
    for _ in range(_GROWTHS if seeds.any() else 0):
        # lesions are a few voxels of a brain: only they and their neighbours are looked at
        near = _with_neighbours(lesions) & brain
        odds = lesions.sum() / max(brain.sum() - lesions.sum(), 1)
        share = _lesion_share(evidence[:, near], evidence[:, lesions], float(odds))
        taken = (share >= 0.5) | seeds[near]
        found = np.zeros(brain.shape, np.float32)
        found[near] = np.where(taken, np.maximum(share, 0.5), 0)
        if np.array_equal(found > 0, lesions):
            break
        lesions = found > 0
    return found


def _with_neighbours(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Take in the 26 neighbours, axis by axis."""
    wide = mask.copy()
    for axis in range(3):
        before, along = wide.swapaxes(0, axis).copy(), wide.swapaxes(0, axis)
        along[1:] |= before[:-1]
        along[:-1] |= before[1:]
    return wide


def _lesion_share(
    evidence: Float32[np.ndarray, "2 voxels"],
    of_lesions: Float32[np.ndarray, "2 lesion_voxels"],
    odds: float,
) -> Float32[np.ndarray, " voxels"]:
    """Probability of lesion; what is brighter than the lesions is no less one.

    Both quantities have mean 0 and deviation 1 in tissue; `odds` are the lesions' voxels over those
    of the tissue.
    """
    difference = np.full(evidence.shape[1], np.log(odds), np.float32)
    for channel, within in zip(evidence, of_lesions, strict=True):
        mean, deviation = float(within.mean()), max(float(within.std()), 1.0)
        of_lesion = -0.5 * (np.minimum(channel - mean, 0) / deviation) ** 2 - np.log(deviation)
        difference += of_lesion + 0.5 * np.maximum(channel, 0) ** 2
    share: np.ndarray = 1 / (1 + np.exp(-np.clip(difference, -30, 30)))
    return share.astype(np.float32)
