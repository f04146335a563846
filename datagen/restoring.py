"""Masks, maps and lesions of visits that were made ready, brought back onto the raw scans."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float
from nibabel.affines import apply_affine

from datagen import volumes
from datagen.errors import InputError
from datagen.files import is_nifti, read_table, require_file, write_table
from datagen.resampling import resample, resample_mask
from datagen.scans import difference
from datagen.volumes import Grid

# what a case's folder of `datagen preprocess` holds: both visits, and how they were made
PREPARED_VISITS = tuple(f"flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2))
NOTE = "preprocess.json"
_MOST_LABEL = 255
_PLACE = ("x_mm", "y_mm", "z_mm")


def way_back(folder: Path, visit: int) -> Path:
    """File of a case with the 4 × 4 matrix, RAS+ mm, from the prepared visits to a raw one."""
    return folder / f"middle_to_time{visit}.txt"


def read_note(path: Path) -> dict[str, Any]:
    """Read how a case was made, of which files and to what; InputError where damaged."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(path, str) for path in note["sources"]) or len(note["sources"]) < 2:
            raise ValueError("the raw visits are missing")
        made_from = {key: note[key] for key in ("options", "sources", "outcome")}
        return {**made_from, "contents": note.get("contents", "")}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged; delete {path.parent}, and go on with 'datagen preprocess --resume'"
        ) from error


def restore(path: Path, folder: Path, visit: int, scan: Path | None, out: Path) -> Path:
    """Write a volume that lies on the grid of a prepared case on that of its raw visit 1 or 2.

    Whole numbers from 0 to 255 are labels, and no lesion of a mask is lost (of several labels, one
    may have to share its only voxel with another: the rarer label is kept). Anything else is a map,
    and is interpolated linearly. `scan` is the raw visit where it no longer lies where it lay;
    it is returned. Raises InputError where the folder is no prepared case, a file is missing or
    damaged, the volume lies on another grid, or `out` exists.
    """
    if not is_nifti(out):
        raise InputError(f"--out {out}: the name must end in .nii.gz or .nii")
    note = _require_case(folder, out)
    if scan is None:
        scan = Path(read_note(note)["sources"][visit - 1])
        if not scan.is_file():
            raise InputError(f"the raw visit {scan} is gone; say by --scan where it lies now")
    to_raw = _read_way_back(way_back(folder, visit))
    image = volumes.read_image(path)
    prepared = volumes.read_image(folder / PREPARED_VISITS[1])
    if not volumes.same_grid(image, prepared):
        differ = difference(image, prepared, "name what was found in the prepared visits")
        raise InputError(f"{path} and {folder / PREPARED_VISITS[1]} {differ}")
    raw = volumes.read_image(scan)
    placed = nib.Nifti1Image(np.asanyarray(image.dataobj), to_raw @ image.affine)
    volumes.save_like(_restored(placed, volumes.grid_of(raw)), raw, out)
    return scan


def restore_places(path: Path, folder: Path, visit: int, out: Path) -> None:
    """Write a table of lesions with their places, RAS+ mm, in raw visit 1 or 2; the rest stays.

    Raises InputError where the folder is no prepared case, a file is missing or damaged, the table
    has no places, or `out` exists or is no table.
    """
    if out.suffix != ".csv":
        raise InputError(f"--out {out}: the name must end in .csv, as that of {path} does")
    _require_case(folder, out)
    to_raw = _read_way_back(way_back(folder, visit))
    rows = read_table(path)
    # without a lesion there is the header alone
    heads = list(rows[0]) if rows else path.read_text(encoding="utf-8-sig").strip().split(",")
    try:
        if absent := next((axis for axis in _PLACE if axis not in heads), None):
            raise ValueError(f"there is no {absent}")
        places = np.array([[float(row[axis]) for axis in _PLACE] for row in rows]).reshape(-1, 3)
        if not np.isfinite(places).all():
            raise ValueError("one is not finite")
    except ValueError as error:
        raise InputError(
            f"{path} is no table of lesions: numbers are needed in x_mm, y_mm and z_mm ({error})"
        ) from error
    there = apply_affine(to_raw, places).round(2).tolist()
    moved = [
        row | dict(zip(_PLACE, place, strict=True)) for row, place in zip(rows, there, strict=True)
    ]
    write_table(out, moved, heads)


def _require_case(folder: Path, out: Path) -> Path:
    """Return the note of a prepared case whose results are written to `out`, where nothing is."""
    if out.exists():
        raise InputError(f"--out {out} exists; choose another name")
    note = folder / NOTE
    if not note.is_file():
        raise InputError(
            f"{folder} is no case of 'datagen preprocess': it holds no {NOTE}; name the folder of "
            "one case"
        )
    return note


def _read_way_back(path: Path) -> Float[np.ndarray, "4 4"]:
    require_file(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        matrix = np.array([line.split() for line in lines], np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError("16 numbers are needed")
        np.linalg.inv(matrix)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise InputError(
            f"{path} is damaged: it holds no 4 x 4 matrix that can be inverted; delete "
            f"{path.parent}, and go on with 'datagen preprocess --resume'"
        ) from error
    return matrix


def _restored(image: nib.Nifti1Image, grid: Grid) -> np.ndarray:
    data = np.asanyarray(image.dataobj)
    if (data != np.round(data)).any() or data.min() < 0 or data.max() > _MOST_LABEL:
        return resample(image, grid)
    labels = np.zeros(grid.shape, np.uint8)
    known, counts = np.unique(data[data != 0], return_counts=True)
    for label in known[np.argsort(-counts, kind="stable")]:  # the rarest comes last, and stays
        of_label = nib.Nifti1Image((data == label).astype(np.uint8), image.affine)
        labels[resample_mask(of_label, grid)] = label
    return labels
