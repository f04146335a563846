"""The scans of a case, brought to the grid on which networks work."""

from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float
from nibabel.affines import apply_affine

from datagen import volumes
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.resampling import resample, resample_mask
from datagen.volumes import Grid

_LEAST_BRAIN = 0.02  # of the voxels of a scan that are not 0


class Scans(NamedTuple):
    """One case on its working grid: normalised visits, brain, truth (all false where unknown)."""

    time1: Float[np.ndarray, "x y z"]
    time2: Float[np.ndarray, "x y z"]
    brain: Bool[np.ndarray, "x y z"]
    truth: Bool[np.ndarray, "x y z"]
    grid: Grid

    @property
    def is_one_scan(self) -> bool:
        """Tell whether both visits are the same scan, in which nothing can be new."""
        return np.array_equal(self.time1, self.time2)


def read_scans(case: Case, spacing_mm: float) -> Scans:
    """Read one case onto its working grid of cubic voxels.

    Raises InputError, which names the file, where one is broken, the visits, truth and brain mask
    do not lie on one grid, or the scans still show the skull and no brain mask is given.
    """
    time1, time2 = volumes.read_image(case.time1), volumes.read_image(case.time2)
    truth = volumes.read_mask(case.truth) if case.truth else _empty_like(time2)
    brain_mask = volumes.read_mask(case.brain_mask) if case.brain_mask else None
    others = {case.time1: time1, case.truth: truth, case.brain_mask: brain_mask}
    for path, image in others.items():
        if image and not volumes.same_grid(image, time2):
            raise InputError(f"{path} and {case.time2} {difference(image, time2)}")
    if brain_mask:
        _require_brain(brain_mask, time2, case)
    grid = volumes.working_grid_of(case.time2, time2, spacing_mm)
    brain = resample(brain_mask or _nonzero(time1, time2, case), grid) >= 0.5
    return Scans(
        _normalised(time1, case.time1, brain, grid),
        _normalised(time2, case.time2, brain, grid),
        brain,
        resample_mask(truth, grid),
        grid,
    )


def difference(
    image: nib.Nifti1Image,
    other: nib.Nifti1Image,
    advice: str = "'datagen preprocess' registers them",
) -> str:
    """Say how the grids of two images differ, and what to do: `advice`, but for other axes."""
    shapes = [volumes.canonical_grid(one).shape for one in (image, other)]
    codes = ["".join(nib.aff2axcodes(one.affine)) for one in (image, other)]
    if shapes[0] != shapes[1]:
        how = f"{image.shape} and {other.shape}"
    elif codes[0] != codes[1]:
        how, advice = " and ".join(codes), "write both in one orientation"
    else:
        how = f"up to {round(_apart_mm(image, other), 2):g} mm apart"
    return f"lie on different grids, {how}; {advice}"


def _apart_mm(image: nib.Nifti1Image, other: nib.Nifti1Image) -> float:
    """Largest distance between the same corner of two images of one shape."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * image.shape
    places = [apply_affine(one.affine, corners) for one in (image, other)]
    return float(np.linalg.norm(places[0] - places[1], axis=1).max())


def _normalised(
    scan: nib.Nifti1Image, path: Path, brain: Bool[np.ndarray, "x y z"], grid: Grid
) -> Float[np.ndarray, "x y z"]:
    values = np.asanyarray(scan.dataobj)
    signal = values[values != 0]
    if signal.size and (signal == signal[0]).all():
        raise InputError(f"{path} holds one value beside 0; is it a mask?")
    try:
        return volumes.normalise(resample(scan, grid), brain)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _empty_like(image: nib.Nifti1Image) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine)


def _require_brain(mask: nib.Nifti1Image, time2: nib.Nifti1Image, case: Case) -> None:
    """Refuse a mask that cannot be the brain's, as one of lesions; a small brain fills 4 %."""
    covered, shown = (int((np.asanyarray(image.dataobj) != 0).sum()) for image in (mask, time2))
    if not covered:
        raise InputError(f"{case.brain_mask} is empty; give a brain_mask that covers the brain")
    share = covered / max(shown, 1)
    if share < _LEAST_BRAIN:
        raise InputError(
            f"{case.brain_mask} covers {share:.1%} of what {case.time2} shows; is it a mask of the "
            "brain?"
        )


def _nonzero(time1: nib.Nifti1Image, time2: nib.Nifti1Image, case: Case) -> nib.Nifti1Image:
    """Brain of skull-stripped scans: where both visits hold signal."""
    brain = np.ones(time2.shape, bool)
    for path, scan in ((case.time1, time1), (case.time2, time2)):
        signal = np.asanyarray(scan.dataobj)
        volumes.require_positive(path, signal, volumes.NO_BRAIN)
        if not (signal > 0).any():
            raise InputError(f"{path} is empty: it has no value above 0")
        brain &= signal > 0
    volumes.require_stripped(case.time2, brain, volumes.grid_of(time2))
    return nib.Nifti1Image(brain.astype(np.uint8), time2.affine)
