"""One patient's raw visits on a grid of their middle space, without bias field and skull."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Float32
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.processing import resample_from_to
from scipy.linalg import sqrtm

from datagen import volumes
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.registration import Middle, correct_bias, find_middle
from datagen.resampling import resample, resample_mask
from datagen.scans import difference
from datagen.stripping import find_brain
from datagen.volumes import Grid

Result = TypeVar("Result")

_MARGIN_MM = 5.0
_NORMALISED = "which would be lost; give the scan as it came, not normalised"
_DARKEST = 1e-3  # share of the brightest percent: 0 is what lies outside the brain


class Options(NamedTuple):
    """What is done to a pair of visits, and at which voxel sizes; None: those of visit 2."""

    bias: bool = True
    register: bool = True
    strip: bool = True
    spacing_mm: float | None = None


class Prepared(NamedTuple):
    """Both visits on one grid, 0 outside the brain; `truth` is None where the case has none."""

    time1: Float32[np.ndarray, "x y z"]
    time2: Float32[np.ndarray, "x y z"]
    brain: Bool[np.ndarray, "x y z"]
    truth: Bool[np.ndarray, "x y z"] | None
    grid: Grid
    middle: Middle


def prepare(case: Case, options: Options) -> Prepared:
    """Correct, strip and register the visits of a case.

    The brain is the case's own mask where it has one; without `strip`, where visit 2 is above 0.
    Raises InputError, which names the file, where one cannot be used, where mask or truth do not
    lie on the grid of visit 2, or, without `register`, the visits do not lie on one grid.
    """
    visits = [volumes.read_image(path) for path in (case.time1, case.time2)]
    truth, mask = (
        _on_grid_of_time2(path, case, visits[1]) for path in (case.truth, case.brain_mask)
    )
    for path, visit in zip((case.time1, case.time2), visits, strict=True):
        signal = np.asanyarray(visit.dataobj)
        if not (signal > 0).any():
            raise InputError(f"{path} holds nothing above 0; is it the right file?")
        volumes.require_positive(path, signal, _NORMALISED)
    if not options.register and not volumes.same_grid(*visits):
        how = difference(visits[0], visits[1], "leave --no-register out")
        raise InputError(f"{case.time1} and {case.time2} {how}")
    if options.bias:
        visits = [
            _named(path, correct_bias, visit)
            for path, visit in zip((case.time1, case.time2), visits, strict=True)
        ]
    brain = mask if mask is not None else _brain_of(case.time2, visits[1], options)
    if not brain.any():
        raise InputError(f"{case.brain_mask or case.time2}: no brain is found in it")
    middle = _named(case.time1, find_middle, *visits, brain) if options.register else _unmoved()
    placed = [
        nib.Nifti1Image(
            np.asanyarray(visit.dataobj).astype(np.float32), np.linalg.inv(back) @ visit.affine
        )
        for visit, back in zip(visits, middle, strict=True)
    ]
    grid = middle_grid(placed[0], placed[1], brain, options.spacing_mm)
    inside = _resampled(brain, placed[1].affine, grid)
    for visit in placed:  # what one of them does not show cannot be compared
        inside &= _resampled(np.ones(visit.shape, bool), visit.affine, grid)
    if not inside.any():
        raise InputError(
            f"{case.time1} and {case.time2} show no part of the brain in common; are they of one "
            "patient?"
        )
    time1, time2 = (_cubic(visit, grid) * inside for visit in placed)
    found = (
        None
        if truth is None
        else resample_mask(nib.Nifti1Image(truth.astype(np.uint8), placed[1].affine), grid)
    )
    return Prepared(time1, time2, inside, found, grid, middle)


def middle_grid(
    time1: nib.Nifti1Image,
    time2: nib.Nifti1Image,
    brain: Bool[np.ndarray, "x y z"],
    spacing_mm: float | None = None,
) -> Grid:
    """Return the grid around the brain that lies between those of both visits.

    Its axes are turned halfway from visit 2's to visit 1's, and its voxels lie halfway between
    theirs, so that neither visit is blurred more than the other by interpolation. Both images, and
    the brain on the grid of visit 2, lie in the middle space.
    """
    grids = [volumes.canonical_grid(visit) for visit in (time1, time2)]
    axes1, axes2 = (grid.affine[:3, :3] / voxel_sizes(grid.affine) for grid in grids)
    axes = axes2 @ np.real(sqrtm(axes2.T @ axes1))
    spacing = np.array([spacing_mm] * 3 if spacing_mm else grids[1].spacing_mm)
    to_steps = (axes / spacing).T  # from millimetres to steps along the new axes
    first1, first2 = (to_steps @ grid.affine[:3, 3] for grid in grids)
    apart = first1 - first2
    offset = first2 + (apart - np.round(apart)) / 2
    of_brain = apply_affine(time2.affine, np.argwhere(brain)) @ to_steps.T - offset
    low = np.floor(of_brain.min(axis=0) - _MARGIN_MM / spacing)
    high = np.ceil(of_brain.max(axis=0) + _MARGIN_MM / spacing)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = affine[:3, :3] @ (low + offset)
    x, y, z = (high - low + 1).astype(int).tolist()
    return Grid((x, y, z), affine)


def _unmoved() -> Middle:
    return Middle(np.eye(4), np.eye(4))


def _on_grid_of_time2(
    path: Path | None, case: Case, time2: nib.Nifti1Image
) -> Bool[np.ndarray, "x y z"] | None:
    if path is None:
        return None
    mask = volumes.read_mask(path)
    if not volumes.same_grid(mask, time2):
        raise InputError(f"{path} and {case.time2} {difference(mask, time2)}")
    is_inside: np.ndarray = np.asanyarray(mask.dataobj) > 0
    return is_inside


def _brain_of(path: Path, time2: nib.Nifti1Image, options: Options) -> Bool[np.ndarray, "x y z"]:
    if options.strip:
        return _named(path, find_brain, time2)
    signal: np.ndarray = np.asanyarray(time2.dataobj) > 0
    volumes.require_stripped(path, signal, volumes.grid_of(time2))
    return signal


def _named(path: Path, step: Callable[..., Result], *arguments: object) -> Result:
    """Take a step with a scan; InputError names the scan."""
    try:
        return step(*arguments)
    except (InputError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: {step.__name__.replace('_', ' ')} failed ({reason})") from error


def _resampled(
    mask: Bool[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"], grid: Grid
) -> Bool[np.ndarray, "a b c"]:
    inside: np.ndarray = resample(nib.Nifti1Image(mask.astype(np.uint8), affine), grid) >= 0.5
    return inside


def _cubic(image: nib.Nifti1Image, grid: Grid) -> Float32[np.ndarray, "x y z"]:
    """Interpolate by cubic splines, which blur less than lines do; nothing is 0 or below."""
    data = np.asanyarray(image.dataobj)
    smooth = resample_from_to(image, (grid.shape, grid.affine), order=3, mode="nearest")
    least = np.float32(_DARKEST * np.percentile(data, 99))
    return np.maximum(np.asarray(smooth.dataobj, np.float32), least)
