"""Lesions grown from bright seeds, after the idea of the Lesion Segmentation Tool."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from datagen.scans import Scans
from segnet.baselines import brightening, dice_and_f1
from segnet.inference import find_lesions

_KAPPAS = np.arange(1.0, 4.01, 0.5)
DEFAULT_KAPPA = 2.0
_SMOOTHING_MM = 0.7
_MOST_VOXELS = 50_000  # more do not change the tissues' means
_TISSUES, _ROUNDS, _GROWTHS = 3, 60, 20
_NEIGHBOURS = np.ones((3, 3, 3), bool)


def grown_lesions(scans: Scans, kappa: float) -> Float32[np.ndarray, "x y z"]:
    """Probability of new lesion tissue, grown from seeds; 0 where nothing grew.

    In the spirit of Schmidt et al. 2012, on FLAIR alone and for two visits. Three normal
    distributions are fitted to the brain at visit 2; the brightest is grey matter. Seeds are voxels
    `kappa` or more of its deviations beyond its mean that also brightened between the visits by
    that many robust deviations of the difference. Around them neighbours (26) are taken in while
    they are likelier lesion than tissue, by normal distributions of both quantities, that of the
    lesions estimated again from what has grown. The map is the lesions' share of both likelihoods,
    at least one half wherever it grew.
    """
    sigma = [_SMOOTHING_MM / spacing_mm for spacing_mm in scans.grid.spacing_mm]
    smooth = ndimage.gaussian_filter(scans.time2, sigma)
    mean, deviation = grey_matter(smooth[scans.brain])
    beyond = (smooth - mean) / deviation
    change = brightening(scans)
    evidence = np.stack([beyond, change])
    lesions = (beyond >= kappa) & (change >= kappa) & scans.brain
    seeds = lesions
    share = np.zeros(scans.grid.shape, np.float32)
    for _ in range(_GROWTHS):
        if not lesions.any():
            return share
        share = _lesion_share(evidence, lesions)
        likely = (share >= 0.5) | seeds
        grown = ndimage.binary_dilation(lesions, _NEIGHBOURS) & likely & scans.brain
        if np.array_equal(grown, lesions):
            break
        lesions = grown
    return np.where(lesions, np.maximum(share, 0.5), 0).astype(np.float32)


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
    scores = [[_score(case, float(k), min_volume_mm3) for k in _KAPPAS] for case in active]
    return float(_KAPPAS[int(np.mean(scores, axis=0).argmax())])


def _score(case: Scans, kappa: float, min_volume_mm3: float) -> float:
    mask = find_lesions(grown_lesions(case, kappa), 0.5, min_volume_mm3, case.grid)
    return dice_and_f1(case, mask)


def _lesion_share(
    evidence: Float32[np.ndarray, "2 x y z"], lesions: Bool[np.ndarray, "x y z"]
) -> Float32[np.ndarray, "x y z"]:
    """Likelihood of lesion over that of lesion and tissue; brighter than the lesions is no less.

    Both quantities have mean 0 and deviation 1 in tissue.
    """
    difference = np.zeros(lesions.shape, np.float32)
    for channel in evidence:
        mean = float(channel[lesions].mean())
        deviation = max(float(channel[lesions].std()), 1.0)
        of_lesion = -0.5 * (np.minimum(channel - mean, 0) / deviation) ** 2 - np.log(deviation)
        difference += of_lesion + 0.5 * np.maximum(channel, 0) ** 2
    share: np.ndarray = 1 / (1 + np.exp(-np.clip(difference, -30, 30)))
    return share.astype(np.float32)
