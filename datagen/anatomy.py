"""Brain anatomy for the phantom: tissue fractions of the MNI152 template, and patients from it."""

from typing import NamedTuple

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import interpolate, ndimage

_MARGIN_VOXELS = 6
# where the lateral and third ventricles lie in MNI space, mm: (x), (y), (z)
_VENTRICLE_BOX_MM = ((-40.0, 40.0), (-46.0, 32.0), (-4.0, 34.0))


class Anatomy(NamedTuple):
    """Tissue fractions on a 1 mm grid in MNI space; where they add up to 0 there is no brain."""

    grey: Float32[np.ndarray, "x y z"]
    white: Float32[np.ndarray, "x y z"]
    csf: Float32[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]

    @property
    def brain_mask(self) -> Bool[np.ndarray, "x y z"]:
        """Voxels that are at least half brain (CSF counts as brain)."""
        return np.asarray((self.grey + self.white + self.csf) >= 0.5)


def load_anatomy() -> Anatomy:
    """Tissue fractions of the MNI152 (2009) template that nilearn carries; nothing is downloaded.

    The template is the mean of 152 brains and therefore blurred. Each fraction is raised to a power
    and renormalised, which brings back the sharp borders and the dark sulci of a single brain.
    The grid is cropped to the brain with a margin of 6 voxels.
    """
    from nilearn import datasets  # half of the time that other commands would take to start

    template = datasets.load_mni152_template(resolution=1)
    head = np.asarray(template.dataobj, dtype=np.float32)
    grey, white = (
        np.asarray(load(resolution=1).dataobj, dtype=np.float32)
        for load in (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    )
    # below a third of the brightest white matter the rim of the template is meninges, not brain
    brain = ndimage.binary_opening(head > 0.33, iterations=2)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(brain, iterations=3))
    csf = np.clip(1.0 - grey - white, 0.0, 1.0)
    sharp = _sharpen(grey, white, csf, brain.astype(np.float32))
    tissues, affine = _crop(brain, sharp, np.asarray(template.affine, dtype=float))
    grey, white, csf = tissues
    return Anatomy(grey, white, csf, affine)


def deform(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    """Another patient: turned and scaled a little, deformed smoothly, with more or less atrophy.

    Rotation within 5 degrees, size 92 to 102 %, a smooth displacement of a few mm at two scales,
    ventricles moved by -1.5 to +3 mm at their wall, and sulcal CSF weighted by 0.8 to 1.7.
    Fractions are interpolated linearly; grid and affine stay as they are.
    """
    coordinates = _affine_coordinates(anatomy.grey.shape, rng)
    coordinates += _displacement_mm(anatomy, rng)
    grey, white, csf = (
        ndimage.map_coordinates(tissue, coordinates, order=1, prefilter=False)
        for tissue in (anatomy.grey, anatomy.white, anatomy.csf)
    )
    total = grey + white + csf
    csf = csf * np.float32(rng.uniform(0.8, 1.7))
    scale = total / np.maximum(grey + white + csf, 1e-6)
    return Anatomy(grey * scale, white * scale, csf * scale, anatomy.affine)


def smooth_noise(
    shape: tuple[int, ...], spacing_voxels: float, rng: np.random.Generator
) -> Float32[np.ndarray, "x y z"]:
    """Random field of zero mean and unit standard deviation that varies over `spacing_voxels`.

    Normal numbers on a coarse grid are the weights of cubic B-splines, one matrix product per axis.
    """
    bases = [_spline_basis(size, spacing_voxels) for size in shape]
    field = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    for basis in bases:
        # each product moves the axis that it refines to the end: after three, the order is back
        field = np.tensordot(field, basis, axes=(0, 1))
    # standard deviation of a sum of independent normal numbers with these weights
    spread = np.prod([np.sqrt(np.square(basis).sum(axis=1).mean()) for basis in bases])
    return np.asarray(field / np.float32(spread), dtype=np.float32)


def rotation_matrix(angles_radians: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Rotation about the x, then the y, then the z axis."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles_radians):
        first, second = (other for other in range(3) if other != axis)
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def coordinates_mm(anatomy: Anatomy) -> list[Float32[np.ndarray, "..."]]:
    """MNI coordinates of a grid with aligned axes: arrays (x 1 1), (1 y 1), (1 1 z)."""
    starts = anatomy.affine[:3, 3]
    axes = [
        np.arange(size, dtype=np.float32) + np.float32(start)
        for size, start in zip(anatomy.grey.shape, starts, strict=True)
    ]
    return list(np.ix_(*axes))


def ventricle_mask(anatomy: Anatomy) -> Bool[np.ndarray, "x y z"]:
    """Lateral and third ventricles: the largest component of CSF in the middle of the brain.

    Raises ValueError when there is no CSF in the middle of the brain.
    """
    inside = anatomy.csf > 0.5
    for axis_mm, (low, high) in zip(coordinates_mm(anatomy), _VENTRICLE_BOX_MM, strict=True):
        inside = inside & (axis_mm > low) & (axis_mm < high)
    ventricles = cc3d.largest_k(inside, k=1, connectivity=6) > 0
    if not ventricles.any():
        raise ValueError("the anatomy has no ventricles: expected CSF around the MNI origin")
    return np.asarray(ventricles)


def ventricle_distance_mm(anatomy: Anatomy) -> Float32[np.ndarray, "x y z"]:
    """Distance to the ventricles, 0 inside; interpolated from 2 mm, so right to about 1 mm."""
    ventricles = ventricle_mask(anatomy)
    coarse = 2.0 * ndimage.distance_transform_edt(~ventricles[::2, ::2, ::2])
    zoom = np.divide(ventricles.shape, coarse.shape)
    distance = ndimage.zoom(coarse.astype(np.float32), zoom, order=1)
    return np.asarray(np.where(ventricles, np.float32(0.0), distance))


def _sharpen(
    grey: Float32[np.ndarray, "x y z"],
    white: Float32[np.ndarray, "x y z"],
    csf: Float32[np.ndarray, "x y z"],
    brain: Float32[np.ndarray, "x y z"],
) -> list[Float32[np.ndarray, "x y z"]]:
    # averaging 152 brains fills the sulci, hence the weight of CSF
    powers = [
        np.power(weight * tissue, 2.0) for weight, tissue in ((1, grey), (1, white), (1.5, csf))
    ]
    total = np.maximum(sum(powers), 1e-6)
    return [(brain * power / total).astype(np.float32) for power in powers]


def _crop(
    brain: Bool[np.ndarray, "x y z"],
    tissues: list[Float32[np.ndarray, "x y z"]],
    affine: Float[np.ndarray, "4 4"],
) -> tuple[list[Float32[np.ndarray, "a b c"]], Float[np.ndarray, "4 4"]]:
    # the template ends inside the brain stem: pad first, so that the margin exists on all sides
    corners = np.argwhere(brain)
    low, high = corners.min(axis=0), corners.max(axis=0) + 1 + 2 * _MARGIN_VOXELS
    window = tuple(slice(*bounds) for bounds in zip(low, high, strict=True))
    shift = np.eye(4)
    shift[:3, 3] = low - _MARGIN_VOXELS
    return [np.pad(tissue, _MARGIN_VOXELS)[window].copy() for tissue in tissues], affine @ shift


def _affine_coordinates(
    shape: tuple[int, ...], rng: np.random.Generator
) -> Float32[np.ndarray, "3 x y z"]:
    angles = np.deg2rad(rng.uniform(-5.0, 5.0, size=3))
    # reading coordinates: dividing by the size makes the brain smaller where the size is below 1
    matrix = rotation_matrix(angles) / rng.uniform(0.92, 1.02, size=3)
    centre = (np.array(shape) - 1) / 2.0
    offset = centre - matrix @ centre
    axes = np.ix_(*(np.arange(size, dtype=np.float32) for size in shape))
    rows = [
        sum(np.float32(weight) * axis for weight, axis in zip(row, axes, strict=True))
        + np.float32(start)
        for row, start in zip(matrix, offset, strict=True)
    ]
    return np.stack(rows).astype(np.float32)


def _displacement_mm(anatomy: Anatomy, rng: np.random.Generator) -> Float32[np.ndarray, "3 x y z"]:
    shape = anatomy.grey.shape
    field = np.stack(
        [
            2.4 * smooth_noise(shape, 45.0, rng) + 0.8 * smooth_noise(shape, 14.0, rng)
            for _ in range(3)
        ]
    )
    wall = ndimage.gaussian_filter(ventricle_mask(anatomy).astype(np.float32), 3.0, truncate=3.0)
    push = np.stack(np.gradient(wall))
    # reading from nearer to the ventricle makes the ventricle larger
    push *= rng.uniform(-1.5, 3.0) / np.abs(push).max()
    return np.asarray(field + push, dtype=np.float32)


def _spline_basis(size: int, spacing_voxels: float) -> Float32[np.ndarray, "size weights"]:
    positions = np.arange(size) / spacing_voxels
    knots = np.arange(-3, int(positions[-1]) + 5, dtype=float)
    basis = interpolate.BSpline.design_matrix(positions, knots, 3)
    return np.asarray(basis.toarray(), dtype=np.float32)
