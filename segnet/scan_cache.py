"""Cases on their working grids, kept on disk: one reading serves every run and every worker."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datagen.errors import InputError
from datagen.files import allow_open_files, checksum, whole_file, write_json
from datagen.layouts import Case
from datagen.progress import track
from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.data import LabelledScans, read_labelled_case, read_labelled_cases

# changes with what is stored, so that no older file is read
_VERSION = "2"
_ARRAYS = ("time1", "time2", "brain", "truth", "labels", "whole")


def read_cached_cases(
    cases: Sequence[Case], spacing_mm: float, classes: int, folder: Path | None
) -> list[LabelledScans]:
    """Read cases as `read_labelled_cases` does, by way of a cache folder where one is given."""
    allow_open_files()
    if folder is None:
        return read_labelled_cases(cases, spacing_mm, classes)
    read = (cached_case(folder, case, spacing_mm, classes) for case in cases)
    return list(track(read, "scans read", len(cases)))


def cached_case(folder: Path, case: Case, spacing_mm: float, classes: int) -> LabelledScans:
    """Return a case from the cache folder, where it is put at its first reading.

    Files are named after the contents of the scans and everything else that the result depends on,
    and stay open: their pages are read from disk as they are needed. Raises InputError where the
    case cannot be read, or a file of the cache is damaged.
    """
    paths = [case.time1, case.time2, case.truth, case.brain_mask]
    # which of the files a checksum belongs to is part of the name: the last two may be missing
    words = f"{_VERSION} {spacing_mm} {classes} {[path is not None for path in paths]}"
    digest = checksum([path for path in paths if path], words)[:32]
    index = folder / f"{digest}.json"
    if not index.is_file():
        _store(folder, digest, read_labelled_case(case, spacing_mm, classes))
    try:
        stored = json.loads(index.read_text(encoding="utf-8"))
        arrays = [np.load(folder / f"{digest}-{name}.npy", mmap_mode="r") for name in _ARRAYS]
        grid = Grid(tuple(stored["shape"]), np.array(stored["affine"]))
        box = tuple(slice(low, high) for low, high in stored["box"])
    except (FileNotFoundError, ValueError, EOFError, KeyError, TypeError) as error:
        raise InputError(
            f"{index} and the files beside it are damaged; delete them, they are made anew"
        ) from error
    time1, time2, brain, truth, labels, whole = arrays
    return LabelledScans(case, Scans(time1, time2, brain, truth, grid), labels, whole, box)


def _store(folder: Path, digest: str, case: LabelledScans) -> None:
    scans = case.scans
    arrays = (scans.time1, scans.time2, scans.brain, scans.truth, case.labels, case.whole)
    for name, array in zip(_ARRAYS, arrays, strict=True):
        with whole_file(folder / f"{digest}-{name}.npy", "--scan-cache") as partial:
            np.save(partial, np.ascontiguousarray(array))
    index = {
        "shape": [int(side) for side in scans.grid.shape],
        "affine": scans.grid.affine.tolist(),
        "box": [[int(side.start), int(side.stop)] for side in case.box],
    }
    # the index comes last: where it is, the arrays are complete
    write_json(folder / f"{digest}.json", index)
