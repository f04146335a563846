"""A case, and two of the forms of a cohort on disk: MSSEG-2 folders and a CSV list."""

import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from datagen.errors import InputError
from datagen.files import NIFTI, read_table

Split = Literal["train", "validation", "test"]

COLUMNS = ("case", "time1", "time2", "truth", "brain_mask", "split", "patient")

_MSSEG2_STEMS = {
    "time1": "flair_time01_on_middle_space",
    "time2": "flair_time02_on_middle_space",
    "truth": "ground_truth",
    "brain_mask": "brain_mask",
}


class Case(NamedTuple):
    """Paths of one patient's two visits, registered to each other.

    `truth` marks lesions that are new at visit 2. `patient` groups the cases of one person (visit
    pairs, reversed orders), so that they stay on one side of a split; `split` is None where the
    cohort does not set it.
    """

    name: str
    patient: str
    time1: Path
    time2: Path
    truth: Path | None = None
    brain_mask: Path | None = None
    split: Split | None = None


def from_msseg2(folder: Path) -> list[Case]:
    """List the case folders of the challenge's layout.

    Raises InputError that names a visit that is missing, or a file that lies there twice, as
    .nii.gz and as .nii.
    """
    folders = [
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(path.glob("flair_time0*"))
    ]
    if not folders:
        _refuse_without_case(folder)
    return [_case(path.name, path.name, _msseg2_files(path), None) for path in folders]


def _refuse_without_case(folder: Path) -> None:
    if any(path.is_dir() for path in folder.glob("sub-*")):
        raise InputError(
            f"{folder} holds no case: {folder / 'dataset_description.json'} is missing; add it, "
            "and the sub-* folders are read as a BIDS data set"
        )
    raise InputError(
        f"{folder} holds no case: expected <case>/{_MSSEG2_STEMS['time1']}.nii.gz, "
        "a BIDS data set, or a cohort.csv"
    )


def _msseg2_files(folder: Path) -> dict[str, Path]:
    files = {}
    for key, stem in _MSSEG2_STEMS.items():
        found = [path for ending in NIFTI if (path := folder / f"{stem}{ending}").is_file()]
        if len(found) > 1:
            raise InputError(
                f"case {folder.name}: {found[0]} and {found[1]} are both there; delete one"
            )
        if found:
            files[key] = found[0]
        elif key in ("time1", "time2"):
            raise InputError(
                f"case {folder.name}: {folder / stem}.nii.gz is missing; add it, or move the case "
                "out of the cohort"
            )
    return files


def from_table(path: Path, to_be_made: Container[str] = ()) -> list[Case]:
    """List the rows of a cohort.csv; InputError names a column, row, file or split that is wrong.

    Columns of other names are for the user's own notes. The files of cases `to_be_made` may be
    missing.
    """
    rows = read_table(path)
    if not rows:
        raise InputError(f"{path} lists no case; a header and a row for each case are needed")
    columns = list(rows[0])
    _refuse_misspelt(columns, path)
    missing = {"case", "time1", "time2"} - set(columns)
    if missing:
        hint = "; separate the cells by commas" if len(columns) == 1 else ""
        raise InputError(f"{path}: column {min(missing)} is missing{hint}")
    return [_from_row(row, path, row["case"] not in to_be_made) for row in rows]


def _refuse_misspelt(columns: Iterable[str | None], path: Path) -> None:
    """Refuse a column whose cells would be lost for the spelling of its name."""
    meant = {_plain(name): name for name in COLUMNS}
    for column in columns:
        name = meant.get(_plain(column or ""), column)
        if name != column:
            raise InputError(f"{path}: column '{column}' is not known; write it as '{name}'")


def _plain(column: str) -> str:
    return re.sub(r"[\s_-]", "", column).casefold()


def _from_row(row: dict[str, str], path: Path, is_made: bool) -> Case:
    name, files = row["case"], {}
    for key in _MSSEG2_STEMS:
        if row.get(key):
            files[key] = path.parent / row[key]
            if is_made and not files[key].is_file():
                kind = "is a folder" if files[key].is_dir() else "does not exist"
                raise InputError(f"{path}: case {name}: {key} {files[key]} {kind}")
        elif key in ("time1", "time2"):
            raise InputError(f"{path}: case {name}: {key} is empty")
    split = row.get("split") or None
    if split not in (None, *get_args(Split)):
        known = ", ".join(get_args(Split))
        raise InputError(f"{path}: case {name}: split '{split}' is none of {known}")
    return _case(name, row.get("patient") or name, files, cast("Split | None", split))


def _case(name: str, patient: str, files: dict[str, Path], split: Split | None) -> Case:
    truth, brain_mask = files.get("truth"), files.get("brain_mask")
    return Case(name, patient, files["time1"], files["time2"], truth, brain_mask, split)
