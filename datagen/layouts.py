"""The three forms of a cohort on disk: MSSEG-2 folders, BIDS, and a CSV list."""

import functools
import itertools
import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import click

from datagen.errors import InputError
from datagen.files import NIFTI, is_nifti, read_table
from datagen.wording import counted

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


def from_bids(folder: Path) -> list[Case]:
    """List every pair of consecutive sessions.

    Subjects with fewer than two sessions are left out, which a line on the error stream says once.
    Raises InputError where no subject has two, or a session holds several scans or masks to choose
    from.
    """
    subjects = sorted(path for path in folder.glob("sub-*") if path.is_dir())
    if not subjects:
        raise InputError(f"{folder} is a BIDS data set without subjects (sub-*)")
    scans = {subject.name: _flair_scans(subject) for subject in subjects}
    sessions = {name: len(set(map(_session, found))) for name, found in scans.items()}
    if max(sessions.values()) < 2:
        raise InputError(
            f"{folder}: two sessions with anat/*_FLAIR.nii.gz are needed, and no subject has them "
            f"({subjects[0].name} has {sessions[subjects[0].name]})"
        )
    cases = [
        case
        for name, found in scans.items()
        if sessions[name] > 1
        for case in _bids_cases(folder, name, found)
    ]
    for count, lack in ((1, "with a single session"), (0, "without a FLAIR scan in a session")):
        _say_left_out(folder.absolute(), lack, tuple(n for n in scans if sessions[n] == count))
    return cases


@functools.cache
def _say_left_out(folder: Path, lack: str, subjects: tuple[str, ...]) -> None:
    """Say which subjects are no cases; once, as a training lists its cohort several times."""
    if subjects:
        count = counted(len(subjects), "subject")
        click.echo(f"{folder.name}: left out {count} {lack}: {', '.join(subjects)}", err=True)


def _bids_cases(folder: Path, subject: str, scans: list[Path]) -> list[Case]:
    """The cases of a subject with at least two sessions."""
    if len(set(map(_session, scans))) < len(scans):
        raise InputError(
            f"case {subject}: a session holds several FLAIR scans; "
            "name the ones to use in a cohort.csv"
        )
    cases = []
    for time1, time2 in itertools.pairwise(scans):
        session = _session(time2)
        name = subject if len(scans) == 2 else f"{subject}_{session}"
        where = f"**/{subject}/{session}/**/{subject}_{session}*"
        truth = _only(folder, f"{where}label-lesion*desc-new*_mask.nii*")
        brain = _only(folder, f"{where}desc-brain_mask.nii*")
        cases.append(Case(name, subject, time1, time2, truth, brain))
    return cases


def _flair_scans(subject: Path) -> list[Path]:
    found = subject.glob("ses-*/anat/*_FLAIR.nii*")
    return sorted((path for path in found if _is_scan(path)), key=_by_session)


def _is_scan(path: Path) -> bool:
    """Tell a NIfTI file from what is left beside it, such as ._x.nii.gz and x.nii.gz.md5."""
    return is_nifti(path) and not path.name.startswith(".")


def _session(scan: Path) -> str:
    return scan.parent.parent.name


def _by_session(scan: Path) -> list[tuple[int, str]]:
    """Order sessions as people count: ses-2 before ses-10."""
    parts = re.findall(r"\d+|\D+", _session(scan))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _only(folder: Path, pattern: str) -> Path | None:
    """The file of a pattern, None where there is none; InputError names two where there are."""
    found = sorted(path for path in folder.glob(pattern) if _is_scan(path))
    if len(found) > 1:
        raise InputError(
            f"{found[0]} and {found[1]} are masks of one visit; name the one to use in a cohort.csv"
        )
    return found[0] if found else None
