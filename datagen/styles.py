"""From a hard-edged prediction to a probability map as networks emit it."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

Style = Literal["sharp", "blur", "network"]
STYLES: tuple[Style, ...] = get_args(Style)


def soften(
    prediction: Float32[np.ndarray, "d h w"], style: Style, rng: np.random.Generator
) -> Float32[np.ndarray, "d h w"]:
    """Turn a hard-edged map in [0, 1] into a probability map in [0, 1].

    "sharp" changes intensities a little. "blur" is the published form (Kamraoui et al. 2021,
    section 2.2): a Gaussian of 0.4 to 1.2 voxels, then small intensity changes. "network" is a
    sigmoid of the scaled, slightly blurred map with spatially correlated logit noise: soft edges,
    a background that is not zero, uneven confidence.
    """
    match style:
        case "sharp":
            softened = prediction
        case "blur":
            softened = ndimage.gaussian_filter(prediction, rng.uniform(0.4, 1.2), truncate=3)
        case "network":
            return _as_logits(prediction, rng)
    changed: Float32[np.ndarray, "d h w"] = _change_intensity(softened, rng)
    return changed


def quantise(probability: Float32[np.ndarray, "d h w"]) -> UInt8[np.ndarray, "d h w"]:
    """Store probabilities in steps of 1/255; at least 128/255 counts as predicted (>= 0.5)."""
    return np.round(probability * 255).astype(np.uint8)


def _change_intensity(
    probability: Float32[np.ndarray, "d h w"], rng: np.random.Generator
) -> Float32[np.ndarray, "d h w"]:
    gain = rng.uniform(0.9, 1.1)
    background = rng.uniform(0.0, 0.05) if rng.random() < 0.3 else 0.0
    noise = rng.normal(0.0, 0.03, probability.shape).astype(np.float32)
    # noise where there is signal: an even background stays even, and compresses
    changed = probability * np.float32(gain) + noise * (probability > 0.02)
    limited: np.ndarray = np.clip(changed, background, 1.0).astype(np.float32)
    return limited


def _as_logits(
    prediction: Float32[np.ndarray, "d h w"], rng: np.random.Generator
) -> Float32[np.ndarray, "d h w"]:
    blurred = ndimage.gaussian_filter(prediction, rng.uniform(0.3, 0.9), truncate=3)
    gain, strength = rng.uniform(4.0, 14.0), rng.uniform(0.0, 1.0)
    shift = rng.uniform(0.4, 0.5)
    noise = sum(_correlated(prediction.shape, step, rng) for step in (4, 16)) / np.sqrt(2)
    logits = gain * (blurred - shift) + strength * noise
    probability = 1 / (1 + np.exp(-logits))
    # networks are sure of most of the background
    sureness = rng.uniform(0.0, 0.1)
    limited: np.ndarray = np.clip((probability - sureness) / (1 - sureness), 0, 1)
    return limited.astype(np.float32)


def _correlated(
    shape: tuple[int, ...], step: int, rng: np.random.Generator
) -> Float32[np.ndarray, "d h w"]:
    """Noise of unit deviation on a grid of `step` voxels, interpolated linearly to the patch."""
    coarse = rng.normal(size=tuple(side // step + 2 for side in shape)).astype(np.float32)
    fine = coarse
    for axis, side in enumerate(shape):
        place = np.arange(side, dtype=np.float32) / step
        lower = place.astype(int)
        weight = (place - lower).reshape([-1 if axis == other else 1 for other in range(3)])
        fine = fine.take(lower, axis) * (1 - weight) + fine.take(lower + 1, axis) * weight
    return fine.astype(np.float32)
