"""Volumes and masks brought onto another grid."""

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Integer
from nibabel.affines import apply_affine
from nibabel.processing import resample_from_to

from datagen.lesions import label_lesions
from datagen.volumes import Grid

# of a voxel per voxel: over the largest volume less than a hundredth of a voxel
_STRAIGHT = 1e-5


def resample(image: nib.Nifti1Image, grid: Grid) -> Float[np.ndarray, "x y z"]:
    """Interpolate the image linearly onto the grid as float32; 0 outside its field of view.

    From the centres of its outermost voxels on it falls to 0 over one voxel.
    """
    data: np.ndarray = np.asanyarray(image.dataobj).astype(np.float32)
    if image.shape == grid.shape and np.allclose(image.affine, grid.affine):
        return data
    to_image = np.linalg.inv(image.affine) @ grid.affine
    along = _axes_along(to_image[:3, :3])
    if along is not None:
        return _resample_along_axes(data.transpose(along), to_image[along], grid.shape)
    image = nib.Nifti1Image(data, image.affine)
    # "constant" would cut at those centres, and a rounding error beyond them is 0 then, too
    resampled = resample_from_to(image, (grid.shape, grid.affine), order=1, mode="grid-constant")
    return np.asarray(resampled.dataobj, np.float32)


def _axes_along(steps: Float[np.ndarray, "3 3"]) -> list[int] | None:
    """Return the image's axis along each axis of a grid; None where the grid is turned to it."""
    along = np.abs(steps).argmax(axis=0)
    rest = steps.copy()
    rest[along, range(3)] = 0
    is_straight = len(set(along)) == 3 and np.abs(rest).max() < _STRAIGHT
    return [int(axis) for axis in along] if is_straight else None


def _resample_along_axes(
    data: Float[np.ndarray, "a b c"],
    to_data: Float[np.ndarray, "3 4"],
    shape: tuple[int, int, int],
) -> Float[np.ndarray, "x y z"]:
    """Interpolate axis by axis, several times as fast as at once; axes that shrink go first."""
    for axis in np.argsort(np.divide(shape, data.shape)):
        # a millionth of a voxel is rounding
        at = np.round(to_data[axis, axis] * np.arange(shape[axis]) + to_data[axis, 3], 6)
        below = np.floor(at).astype(int)
        share = (at - below).astype(np.float32)
        lower = _taken(data, below, 1 - share, int(axis))
        data = lower + _taken(data, below + 1, share, int(axis)) if share.any() else lower
    return np.ascontiguousarray(data)


def _taken(
    data: Float[np.ndarray, "a b c"],
    index: Integer[np.ndarray, " n"],
    weight: Float[np.ndarray, " n"],
    axis: int,
) -> Float[np.ndarray, "x y z"]:
    """Take planes along an axis, weighted; those beyond its ends are 0."""
    last = data.shape[axis] - 1
    weight = weight * ((index >= 0) & (index <= last))
    taken: np.ndarray = data.take(np.clip(index, 0, last), axis)
    if (weight != 1).any():
        taken *= np.expand_dims(weight, [other for other in range(3) if other != axis])
    return taken


def resample_mask(image: nib.Nifti1Image, grid: Grid) -> Bool[np.ndarray, "x y z"]:
    """Bring a mask onto the grid without losing a lesion.

    Linear interpolation at one half; a lesion too small to survive it keeps the voxel nearest to
    its centre.
    """
    if not np.any(image.dataobj):
        return np.zeros(grid.shape, bool)
    mask = resample(image, grid) >= 0.5
    labels, count = label_lesions(np.asanyarray(image.dataobj) > 0)
    to_grid = np.linalg.inv(grid.affine) @ image.affine
    points = np.argwhere(labels)
    of_point = labels[tuple(points.T)]
    nearest = np.round(apply_affine(to_grid, points)).astype(int)
    nearest = np.clip(nearest, 0, np.array(grid.shape) - 1)
    # a lesion survives where one of its voxels, or a neighbour of it, is still set
    survives = np.zeros(count + 1, bool)
    survives[of_point[mask[tuple(nearest.T)]]] = True
    for lesion in np.flatnonzero(~survives[1:]) + 1:
        voxels = nearest[of_point == lesion]
        mask[tuple(voxels[len(voxels) // 2])] = True
    return mask
