"""Masks and maps of visits that were made ready, brought back onto the raw scans."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from datagen import volumes
from datagen.errors import InputError
from datagen.files import require_file
from datagen.resampling import resample, resample_mask
from datagen.scans import difference
from datagen.volumes import Grid

# what a case's folder of `datagen preprocess` holds: both visits, and how they were made
PREPARED_VISITS = tuple(f"flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2))
NOTE = "preprocess.json"


def way_back(folder: Path, visit: int) -> Path:
    """File of a case with the 4 × 4 matrix, RAS+ mm, from the prepared visits to a raw one."""
    return folder / f"middle_to_time{visit}.txt"


def restore(path: Path, folder: Path, visit: int, scan: Path | None, out: Path) -> Path:
    """Write a volume that lies on the grid of a prepared case on that of its raw visit 1 or 2.

    Whole numbers are labels, and no lesion of a label is lost; anything else is a map, and is
    interpolated linearly. `scan` is the raw visit where it no longer lies where it lay; it is
    returned. Raises InputError where the folder is no prepared case, a file is missing, or the
    volume lies on another grid.
    """
    note = folder / NOTE
    if not note.is_file():
        raise InputError(
            f"{folder} is no case of 'datagen preprocess': it holds no {NOTE}; name the folder of "
            "one case"
        )
    if scan is None:
        scan = Path(json.loads(note.read_text(encoding="utf-8"))["sources"][visit - 1])
        if not scan.is_file():
            raise InputError(f"the raw visit {scan} is gone; say by --scan where it lies now")
    image = volumes.read_image(path)
    prepared = volumes.read_image(folder / PREPARED_VISITS[1])
    if not volumes.same_grid(image, prepared):
        raise InputError(f"{path} and {folder / PREPARED_VISITS[1]} {difference(image, prepared)}")
    raw = volumes.read_image(scan)
    require_file(way_back(folder, visit))
    matrix = np.loadtxt(way_back(folder, visit))
    placed = nib.Nifti1Image(np.asanyarray(image.dataobj), matrix @ image.affine)
    volumes.save_like(_restored(placed, volumes.grid_of(raw)), raw, out)
    return scan


def _restored(image: nib.Nifti1Image, grid: Grid) -> np.ndarray:
    data = np.asanyarray(image.dataobj)
    if (data != np.round(data)).any():
        return resample(image, grid)
    labels = np.zeros(grid.shape, np.min_scalar_type(int(data.max())))
    for label in np.unique(data[data != 0]):
        of_label = nib.Nifti1Image((data == label).astype(np.uint8), image.affine)
        labels[resample_mask(of_label, grid)] = label
    return labels
