"""The three forms of a cohort on disk: MSSEG-2 folders, BIDS, and a CSV list."""

import itertools
import re
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from datagen.errors import InputError
from datagen.files import read_table

Split = Literal["train", "validation", "test"]

_MSSEG2_FILES = {
    "time1": "flair_time01_on_middle_space.nii.gz",
    "time2": "flair_time02_on_middle_space.nii.gz",
    "truth": "ground_truth.nii.gz",
    "brain_mask": "brain_mask.nii.gz",
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
    """List the case folders of the challenge's layout; InputError names a visit that is missing."""
    folders = [
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(path.glob("flair_time0*"))
    ]
    if not folders:
        raise InputError(
            f"{folder} holds no case: expected <case>/{_MSSEG2_FILES['time1']}, "
            "a BIDS data set, or a cohort.csv"
        )
    cases = []
    for path in folders:
        found = {key: path / name for key, name in _MSSEG2_FILES.items() if (path / name).is_file()}
        for needed in ("time1", "time2"):
            if needed not in found:
                raise InputError(f"case {path.name}: {path / _MSSEG2_FILES[needed]} is missing")
        cases.append(_case(path.name, path.name, found, None))
    return cases


def from_table(path: Path) -> list[Case]:
    """List the rows of a cohort.csv; InputError names a column, file or split that is wrong."""
    rows = read_table(path)
    missing = {"case", "time1", "time2"} - set(rows[0] if rows else ())
    if missing:
        raise InputError(f"{path}: needs a header and rows; column {min(missing)} is missing")
    return [_from_row(row, path) for row in rows]


def _from_row(row: dict[str, str], path: Path) -> Case:
    name, files = row["case"], {}
    for key in _MSSEG2_FILES:
        if row.get(key):
            files[key] = path.parent / row[key]
            if not files[key].is_file():
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
    """List every pair of consecutive sessions; InputError names a subject with fewer than two."""
    cases = []
    for subject in sorted(folder.glob("sub-*")):
        scans = sorted(subject.glob("ses-*/anat/*_FLAIR.nii*"), key=_by_session)
        sessions = {scan.parent.parent.name for scan in scans}
        if len(sessions) < 2:
            raise InputError(
                f"case {subject.name}: two sessions with anat/*_FLAIR.nii.gz are needed"
            )
        if len(sessions) < len(scans):
            raise InputError(
                f"case {subject.name}: a session holds several FLAIR scans; "
                "name the ones to use in a cohort.csv"
            )
        for time1, time2 in itertools.pairwise(scans):
            session = time2.parent.parent.name
            name = subject.name if len(scans) == 2 else f"{subject.name}_{session}"
            where = f"**/{subject.name}/{session}/**/{subject.name}_{session}*"
            truth = _only(folder, f"{where}label-lesion*desc-new*_mask.nii*")
            brain = _only(folder, f"{where}desc-brain_mask.nii*")
            cases.append(Case(name, subject.name, time1, time2, truth, brain))
    if not cases:
        raise InputError(f"{folder} is a BIDS data set without subjects (sub-*)")
    return cases


def _by_session(scan: Path) -> list[tuple[int, str]]:
    """Order sessions as people count: ses-2 before ses-10."""
    parts = re.findall(r"\d+|\D+", scan.parent.parent.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _only(folder: Path, pattern: str) -> Path | None:
    """The file of a pattern, None where there is none; InputError names two where there are."""
    found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    if len(found) > 1:
        raise InputError(
            f"{found[0]} and {found[1]} are masks of one visit; name the one to use in a cohort.csv"
        )
    return found[0] if found else None
