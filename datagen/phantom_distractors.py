"""Bright spots of one visit that are no lesions: pulsation, cortex, vessels, dirty white matter."""

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from datagen.anatomy import Anatomy, smooth_noise


def add_distractors(
    flair: Float32[np.ndarray, "x y z"],
    patient: Anatomy,
    ventricle_mm: Float32[np.ndarray, "x y z"],
    rng: np.random.Generator,
) -> None:
    """Adds what one visit shows and the other does not, in place; white matter is 1.0.

    None of it looks like a new lesion in white matter: it lies in CSF or cortex, is a thin tube
    along a sulcus, or is broad and faint.
    """
    _add_pulsation(flair, patient, ventricle_mm, rng)
    _add_blobs(flair, patient.grey, rng, count=(3, 9), size_mm=(1.5, 5.0), gain=(0.12, 0.4))
    _add_blobs(flair, patient.white, rng, count=(1, 4), size_mm=(8.0, 16.0), gain=(0.05, 0.12))
    _add_vessels(flair, patient, rng)
    _add_dirty_white_matter(flair, patient, ventricle_mm, rng)


def _add_pulsation(
    flair: Float32[np.ndarray, "x y z"],
    patient: Anatomy,
    ventricle_mm: Float32[np.ndarray, "x y z"],
    rng: np.random.Generator,
) -> None:
    # CSF that flows is not suppressed: bright clouds, most of them inside the ventricles
    inside = patient.csf * (ventricle_mm < 2)
    _add_blobs(flair, inside, rng, count=(1, 5), size_mm=(1.5, 4.0), gain=(0.5, 1.4))
    _add_blobs(flair, patient.csf, rng, count=(4, 12), size_mm=(1.5, 3.0), gain=(0.6, 1.4))


def _add_blobs(
    flair: Float32[np.ndarray, "x y z"],
    tissue: Float32[np.ndarray, "x y z"],
    rng: np.random.Generator,
    *,
    count: tuple[int, int],
    size_mm: tuple[float, float],
    gain: tuple[float, float],
) -> None:
    """Gaussian clouds (standard deviation about `size_mm`) that brighten one tissue from inside."""
    centres = np.flatnonzero(tissue > 0.7)
    if not centres.size:
        return
    for flat in rng.choice(centres, size=rng.integers(*count, endpoint=True)):
        sigma = rng.uniform(*size_mm)
        centre = np.unravel_index(flat, flair.shape)
        half = int(np.ceil(3.5 * sigma))
        window = tuple(slice(max(0, int(at) - half), int(at) + half + 1) for at in centre)
        axes = [
            np.arange(part.start, min(part.stop, size), dtype=np.float32) - np.float32(at)
            for part, size, at in zip(window, flair.shape, centre, strict=True)
        ]
        widths = sigma * rng.uniform(0.7, 1.4, size=3)
        square = sum((axis / width) ** 2 for axis, width in zip(np.ix_(*axes), widths, strict=True))
        cloud = np.exp(-square / 2) * rng.uniform(*gain)
        flair[window] += (cloud * tissue[window]).astype(np.float32)


def _add_vessels(
    flair: Float32[np.ndarray, "x y z"], patient: Anatomy, rng: np.random.Generator
) -> None:
    """Thin bright tubes, 8 to 25 mm long, on a winding way that starts in a sulcus."""
    starts = np.flatnonzero((patient.csf > 0.3) & (patient.grey > 0.2))
    if not starts.size:
        return
    path = np.zeros_like(flair)
    for flat in rng.choice(starts, size=rng.integers(2, 7)):
        steps = rng.integers(16, 50)
        turns = np.cumsum(0.25 * rng.standard_normal((steps, 3)), axis=0) + rng.standard_normal(3)
        turns *= 0.5 / np.linalg.norm(turns, axis=1, keepdims=True)
        points = np.array(np.unravel_index(flat, flair.shape)) + np.cumsum(turns, axis=0)
        inside = np.clip(np.rint(points).astype(int), 0, np.array(flair.shape) - 1)
        path[tuple(inside.T)] = rng.uniform(2.0, 5.0)
    # vessels run on the surface: the white matter stays free of them
    tube = ndimage.gaussian_filter(path, 0.7, truncate=3.0)
    flair += tube * (patient.grey + patient.csf)


def _add_dirty_white_matter(
    flair: Float32[np.ndarray, "x y z"],
    patient: Anatomy,
    ventricle_mm: Float32[np.ndarray, "x y z"],
    rng: np.random.Generator,
) -> None:
    patches = np.maximum(smooth_noise(flair.shape, 12.0, rng), 0.0)
    belt = np.exp(-np.square((ventricle_mm - 4.0) / 6.0)) * (ventricle_mm > 0)
    flair += np.float32(rng.uniform(0.02, 0.1)) * patches * belt * patient.white
