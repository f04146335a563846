"""NIfTI volumes: their grids, what is refused of them, and patches of them."""

import gzip
import zlib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Integer
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from datagen.errors import InputError
from datagen.files import is_nifti, require_file, whole_file

# affines of the same grid, written by different programs, differ by rounding alone
_AFFINE_TOLERANCE_MM = 1e-2
_CLIP_Z = 8.0
_MOST_VOXELS = 1024**3
_DESCRIPTION = 79  # characters of a NIfTI header, without the closing 0
# a few voxels, or a little below zero, are what interpolation leaves
_MOST_NEGATIVE, _CLEARLY_NEGATIVE = 0.01, -0.1  # share of voxels; of the brightest signal
NO_BRAIN = "so that its brain cannot be told from what lies around it; give a brain_mask"
# a skull-stripped head leaves more than half of its box empty; the largest skulls hold two litres
_MOST_BRAIN, _MOST_BRAIN_LITRES = 0.9, 2.4


class Grid(NamedTuple):
    """Where voxels lie: `shape`, and the 4 × 4 `affine` from voxel indices to millimetres."""

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along each axis, in millimetres."""
        x, y, z = voxel_sizes(self.affine)
        return (float(x), float(y), float(z))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, in cubic millimetres."""
        return float(np.prod(self.spacing_mm))

    def cropped(self, box: tuple[slice, ...]) -> "Grid":
        """Return the grid of the voxels in a box."""
        affine = self.affine.copy()
        affine[:3, 3] = affine[:3] @ [*(side.start for side in box), 1.0]
        x, y, z = (side.stop - side.start for side in box)
        return Grid((x, y, z), affine)


def read_image(path: Path) -> nib.Nifti1Image:
    """Read a 3D NIfTI volume of finite numbers.

    A fourth axis of length 1 is dropped. Raises InputError where the file is missing, is no NIfTI,
    is cut off, has another number of axes, or holds NaN or infinity.
    """
    require_file(path)
    try:
        image = nib.load(path)
        if path.name.endswith(".gz"):
            # to its end, where its checksum is; nibabel stops before
            image = type(image).from_bytes(gzip.decompress(path.read_bytes()))
        data = np.asanyarray(image.dataobj)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as NIfTI ({reason}); is it complete?") from error
    if data.dtype.kind not in "biuf":
        raise InputError(f"{path}: real numbers are needed, this volume holds {data.dtype}")
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise InputError(f"{path}: a 3D volume is needed, this one has shape {data.shape}")
    with np.errstate(over="ignore"):
        is_finite = bool(np.isfinite(data.astype(np.float32)).all())
    if not is_finite:
        raise InputError(f"{path} holds NaN, infinite or huge values; repair it first")
    is_placed = bool(np.isfinite(image.affine).all())
    if not is_placed or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise InputError(f"{path}: its affine does not span a space; repair the header")
    return nib.Nifti1Image(data, image.affine, image.header)


def read_mask(path: Path) -> nib.Nifti1Image:
    """Read a 3D NIfTI mask as uint8 0/1.

    Any single non-zero value marks the foreground (1 and 255 are both in use). Raises InputError
    where `read_image` does, and where the volume holds more than two values.
    """
    image = read_image(path)
    data = np.asanyarray(image.dataobj)
    highest = data.max(initial=0)
    others = data[(data != 0) & (data != highest)]
    if others.size:
        hint = "" if others[0] == np.floor(others[0]) else "; is it a map of probabilities?"
        raise InputError(
            f"{path}: a mask of 0 and one positive value is needed, found {others[0]:g} and "
            f"{highest:g}{hint}"
        )
    return nib.Nifti1Image((data > 0).astype(np.uint8), image.affine)


def grid_of(image: nib.Nifti1Image) -> Grid:
    """Return the grid on which the image lies."""
    x, y, z = image.shape
    return Grid((x, y, z), np.asarray(image.affine, np.float64))


def canonical_data(image: nib.Nifti1Image) -> np.ndarray:
    """Return the image's values in the order and direction of closest-canonical axes (RAS+)."""
    return np.asanyarray(nib.as_closest_canonical(image).dataobj)


def canonical_grid(image: nib.Nifti1Image) -> Grid:
    """Return the image's grid with its axes reordered and mirrored to closest-canonical (RAS+)."""
    return grid_of(nib.as_closest_canonical(image))


def working_grid_of(path: Path, image: nib.Nifti1Image, spacing_mm: float) -> Grid:
    """Return an image's working grid; InputError, naming `path`, where it is too large."""
    try:
        return working_grid(grid_of(image), spacing_mm)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def working_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Return the grid in closest-canonical orientation (RAS+) with cubic voxels of `spacing_mm`.

    It covers the same field of view and keeps its obliqueness. A grid that has this spacing to
    within 1 % already keeps its voxels.
    """
    canonical = canonical_grid(nib.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine))
    old_mm = np.array(canonical.spacing_mm)
    if np.allclose(old_mm, spacing_mm, rtol=0.01):
        return canonical
    extent_mm = old_mm * canonical.shape
    # a hundredth of a voxel beyond the last one is rounding, not field of view
    shape = np.maximum(np.ceil(extent_mm / spacing_mm - 0.01), 1)
    if np.prod(shape) > _MOST_VOXELS:
        sides = " x ".join(f"{side:.0f}" for side in extent_mm)
        raise InputError(f"a field of view of {sides} mm is too large at {spacing_mm} mm")
    step = spacing_mm / old_mm
    affine = canonical.affine @ np.diag([*step, 1.0])
    # the first voxel's outer corner stays where it was, so its centre moves
    affine[:3, 3] = canonical.affine[:3] @ np.array([*(0.5 * step - 0.5), 1.0])
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def normalise(
    scan: Float[np.ndarray, "x y z"], brain: Bool[np.ndarray, "x y z"]
) -> Float[np.ndarray, "x y z"]:
    """Scale a scan so that its brain has median 0 and a robust standard deviation of 1.

    The deviation is the interquartile range / 1.349; values are clipped to ±8, and voxels outside
    the brain take the brain's 0.1st percentile, which is fluid on FLAIR. Raises InputError where
    the brain is empty or has one intensity only.
    """
    inside = scan[brain]
    if inside.size == 0:
        raise InputError("no brain is found in it; give a brain_mask that covers the brain")
    low, lower, median, upper = np.percentile(inside, [0.1, 25, 50, 75])
    deviation = (upper - lower) / 1.349
    if deviation <= 0:
        raise InputError("the scan has one intensity inside the brain; is it the right file?")
    outside, of_brain = (
        np.clip((values - median) / deviation, -_CLIP_Z, _CLIP_Z) for values in (low, inside)
    )
    normalised = np.full(scan.shape, outside, dtype=np.float32)
    normalised[brain] = of_brain
    return normalised


def require_stripped(path: Path, signal: Bool[np.ndarray, "x y z"], grid: Grid) -> None:
    """Raise InputError where the voxels with signal are too many to be a brain alone."""
    litres = signal.sum() * grid.voxel_volume_mm3 / 1e6
    if signal.mean() > _MOST_BRAIN or litres > _MOST_BRAIN_LITRES:
        raise InputError(
            f"{path} is not skull-stripped: {signal.mean():.0%} of it, {litres:.1f} litres, are "
            "not 0; give a brain_mask, or let 'datagen preprocess' find the brain"
        )


def require_positive(path: Path, signal: np.ndarray, told: str) -> None:
    """Raise InputError, with what is `told` then, where values are clearly below 0."""
    limit = _CLEARLY_NEGATIVE * max(float(np.percentile(signal, 99.5)), 0.0)
    if (signal < limit).mean() > _MOST_NEGATIVE:
        raise InputError(f"{path} has values below 0, {told}")


def same_grid(first: nib.Nifti1Image, second: nib.Nifti1Image) -> bool:
    """Tell whether two images have one shape and, to 0.01 mm at their corners, one place."""
    if first.shape != second.shape:
        return False
    corners = np.concatenate([np.zeros((1, 3)), np.diag(first.shape)])
    places = [apply_affine(image.affine, corners) for image in (first, second)]
    return bool(np.abs(places[0] - places[1]).max() < _AFFINE_TOLERANCE_MM)


def save_like(data: np.ndarray, reference: nib.Nifti1Image, path: Path, made_by: str = "") -> None:
    """Write `data` with the reference's affine, codes and units as NIfTI, whole or not at all.

    The header's description, 79 characters of ASCII, names lesionwise, its version and `made_by`.
    """
    if not is_nifti(path):
        raise InputError(f"{path}: the name of a NIfTI file must end in .nii.gz or .nii")
    header = reference.header.copy()
    header.set_data_dtype(data.dtype)
    header.set_slope_inter(1.0, 0.0)
    # the reference's display range and meaning are not this volume's
    header["cal_min"] = header["cal_max"] = 0
    header.set_intent("none")
    words = [f"lesionwise {metadata.version('lesionwise')}", made_by]
    header["descrip"] = ": ".join(filter(None, words))[:_DESCRIPTION].encode("ascii", "replace")
    image = nib.Nifti1Image(data, reference.affine, header)
    with whole_file(path) as partial:
        nib.save(image, partial)


def cut_patch(
    volume: np.ndarray, centre: Integer[np.ndarray, "3"], patch: int, fill: float = 0
) -> np.ndarray:
    """Cut `patch`³ voxels around a centre; what lies beyond the volume is `fill`."""
    start = centre - patch // 2
    low, high = np.maximum(start, 0), np.minimum(start + patch, volume.shape)
    cut = np.full((patch, patch, patch), fill, volume.dtype)
    if (high > low).all():
        inside = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        cut[inside] = volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return cut
