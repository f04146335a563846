"""A scan taken apart: the brain without lesions, and what each lesion adds to it."""

from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from datagen import volumes
from datagen.errors import InputError
from datagen.lesions import label_lesions
from datagen.resampling import resample, resample_mask
from datagen.visits import Visit
from datagen.volumes import Grid

# in deviations of the brain: white and grey matter, without fluid below and lesions above
_TISSUE_Z = (-1.2, 0.9)
_RIM = 2  # voxels around a lesion's mask that are still brighter
_NEIGHBOURS = np.ones((3, 3, 3), bool)
_MARGIN = 4
_SITE_DEPTH_MM = 3.0


class Patch(NamedTuple):
    """A lesion in its box: what it adds to the brain around it, in deviations, and its mask."""

    excess: Float32[np.ndarray, "a b c"]
    mask: Bool[np.ndarray, "a b c"]


class Placed(NamedTuple):
    """A lesion and the first voxel of its box."""

    patch: Patch
    corner: tuple[int, int, int]

    @property
    def window(self) -> tuple[slice, ...]:
        """Box of the lesion in the scan."""
        shape = self.patch.mask.shape
        return tuple(slice(a, a + side) for a, side in zip(self.corner, shape, strict=True))


class Parts(NamedTuple):
    """A scan apart, in deviations of its brain: `healthy` plus every excess is the scan again.

    `sites` are the flat indices of the voxels of white matter in which a lesion could lie.
    """

    name: str
    patient: str
    healthy: Float32[np.ndarray, "x y z"]
    brain: Bool[np.ndarray, "x y z"]
    lesions: list[Placed]
    sites: np.ndarray
    grid: Grid


def read_parts(visit: Visit, spacing_mm: float, rng: np.random.Generator) -> Parts:
    """Read a visit at the working spacing, cut it to its brain, and take it apart.

    Raises InputError where scan and masks lie on different grids, or the skull is still there, or
    values are below 0, and no brain mask is given.
    """
    flair, mask = volumes.read_image(visit.flair), volumes.read_mask(visit.lesions)
    brain_mask = volumes.read_mask(visit.brain_mask) if visit.brain_mask else None
    for path, image in ((visit.lesions, mask), (visit.brain_mask, brain_mask)):
        if image and not volumes.same_grid(image, flair):
            raise InputError(f"{path} and {visit.flair} lie on different grids; register them")
    if brain_mask is None:
        volumes.require_positive(visit.flair, np.asanyarray(flair.dataobj), volumes.NO_BRAIN)
    grid = volumes.working_grid_of(visit.flair, flair, spacing_mm)
    signal = resample(flair, grid)
    brain = _brain(signal, brain_mask, grid)
    if brain_mask is None:
        volumes.require_stripped(visit.flair, brain, grid)
    try:
        scan = volumes.normalise(signal, brain)
    except InputError as error:
        raise InputError(f"{visit.flair}: {error}") from error
    lesions = resample_mask(mask, grid) & brain
    box = _box(brain)
    cut = (scan[box], lesions[box], brain[box])
    return take_apart(visit, *cut, grid.cropped(box), rng)


def take_apart(
    visit: Visit,
    scan: Float32[np.ndarray, "x y z"],
    lesions: Bool[np.ndarray, "x y z"],
    brain: Bool[np.ndarray, "x y z"],
    grid: Grid,
    rng: np.random.Generator,
) -> Parts:
    """Take a normalised scan apart; its lesions are inpainted by the tissue around them.

    The fill is the mean of the tissue nearby, by Gaussian weights, plus noise as strong as the
    tissue's own; from there to the scan it fades over two voxels around a lesion's mask.
    """
    rim = ndimage.binary_dilation(lesions, _NEIGHBOURS, iterations=_RIM - 1)
    fading = ndimage.gaussian_filter(rim.astype(np.float32), 0.8)
    share = np.where(rim, np.maximum(fading, 0.9), fading) * brain
    share[share < 0.05] = 0
    fill = _inpainted(scan, brain & (share == 0), rng)
    # a lesion is brighter than the tissue that it replaces; fluid beside it stays fluid
    excess = share * np.where(lesions, scan - fill, np.maximum(scan - fill, 0))
    healthy = (scan - excess).astype(np.float32)
    placed = _cut_lesions(excess.astype(np.float32), lesions)
    sites = _sites(healthy, brain, grid)
    return Parts(visit.name, visit.patient, healthy, brain, placed, sites, grid)


def _brain(
    signal: Float32[np.ndarray, "x y z"], mask: nib.Nifti1Image | None, grid: Grid
) -> Bool[np.ndarray, "x y z"]:
    if mask is not None:
        given: np.ndarray = resample(mask, grid) >= 0.5
        return given
    # interpolation rings below and above zero outside a stripped brain
    found = ndimage.binary_opening(signal > 0.02 * np.percentile(signal, 99.5), iterations=2)
    labels, count = ndimage.label(found)
    if not count:
        return np.zeros(signal.shape, bool)
    largest = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    closed: np.ndarray = ndimage.binary_fill_holes(largest)
    return closed


def _box(brain: Bool[np.ndarray, "x y z"]) -> tuple[slice, ...]:
    points = np.argwhere(brain)
    low = np.maximum(points.min(axis=0) - _MARGIN, 0)
    high = np.minimum(points.max(axis=0) + 1 + _MARGIN, brain.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _inpainted(
    scan: Float32[np.ndarray, "x y z"], known: Bool[np.ndarray, "x y z"], rng: np.random.Generator
) -> Float32[np.ndarray, "x y z"]:
    tissue = known & (scan > _TISSUE_Z[0]) & (scan < _TISSUE_Z[1])
    weight = tissue.astype(np.float32)
    middle = float(np.median(scan[tissue])) if tissue.any() else 0.0
    total, summed = np.full(scan.shape, 1e-6, np.float32), np.full(scan.shape, 1e-6 * middle)
    # the near surroundings count; inside large lesions the wider ones
    for sigma, importance in ((2.0, 1.0), (6.0, 0.01)):
        total = total + importance * ndimage.gaussian_filter(weight, sigma)
        summed = summed + importance * ndimage.gaussian_filter(weight * scan, sigma)
    mean = summed / total
    deviation = float(np.std((scan - mean)[tissue])) if tissue.any() else 0.0
    noise = ndimage.gaussian_filter(rng.standard_normal(scan.shape, dtype=np.float32), 0.7)
    filled: np.ndarray = mean + 0.7 * deviation * noise / float(noise.std())
    return filled.astype(np.float32)


def _cut_lesions(
    excess: Float32[np.ndarray, "x y z"], lesions: Bool[np.ndarray, "x y z"]
) -> list[Placed]:
    """Give each voxel's excess to the nearest lesion, and cut each lesion out with its own."""
    labels, count = label_lesions(lesions)
    if not count:
        return []
    nearest = ndimage.distance_transform_edt(~lesions, return_distances=False, return_indices=True)
    owner = np.where(excess != 0, labels[tuple(nearest)], labels).astype(np.int32)
    placed = []
    for number, window in enumerate(ndimage.find_objects(owner), start=1):
        own = owner[window] == number
        patch = Patch(excess[window] * own, labels[window] == number)
        x, y, z = (int(side.start) for side in window)
        placed.append(Placed(patch, (x, y, z)))
    return placed


def _sites(
    healthy: Float32[np.ndarray, "x y z"], brain: Bool[np.ndarray, "x y z"], grid: Grid
) -> np.ndarray:
    """Voxels of even, white-matter-like signal that lie off the brain's border."""
    smooth = ndimage.gaussian_filter(healthy, 1.5)
    spread = ndimage.gaussian_filter(np.abs(healthy - smooth), 1.5)
    depth_mm = ndimage.distance_transform_edt(brain, sampling=grid.spacing_mm)
    inside = (depth_mm > _SITE_DEPTH_MM) & (smooth > _TISSUE_Z[0]) & (smooth < _TISSUE_Z[1])
    if not inside.any():
        return np.flatnonzero(brain)
    even = inside & (spread <= np.percentile(spread[inside], 60))
    # white matter is the darker half of what is even
    return np.flatnonzero(even & (smooth <= np.percentile(smooth[even], 70)))
