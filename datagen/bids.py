"""A BIDS data set as a cohort: consecutive sessions of a subject become cases."""

import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

import click

from datagen.errors import InputError
from datagen.files import is_nifti, read_table, visible_below
from datagen.layouts import Case
from datagen.wording import counted


def from_bids(folder: Path) -> list[Case]:
    """List every pair of consecutive sessions.

    Subjects with fewer than two sessions are left out, which a line on the error stream says once.
    Raises InputError where no subject has two, a session holds several scans or masks to choose
    from, or neither dates nor names tell the order of the sessions.
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
    masks = [path for path in visible_below(folder) if path.match("*_mask.nii*")]
    cases = [
        case
        for name, found in scans.items()
        if sessions[name] > 1
        for case in _cases(folder / name, found, masks)
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


def _cases(subject: Path, scans: list[Path], masks: Sequence[Path]) -> list[Case]:
    """The cases of a subject with at least two sessions."""
    if len(set(map(_session, scans))) < len(scans):
        raise InputError(
            f"case {subject.name}: a session holds several FLAIR scans; "
            "name the ones to use in a cohort.csv"
        )
    cases = []
    for time1, time2 in itertools.pairwise(_in_order(subject, scans)):
        session = _session(time2)
        name = subject.name if len(scans) == 2 else f"{subject.name}_{session}"
        own = [path for path in masks if (subject.name, session) in itertools.pairwise(path.parts)]
        truth = _only(own, f"{subject.name}_{session}*label-lesion*desc-new*_mask.nii*")
        brain = _only(own, f"{subject.name}_{session}*desc-brain_mask.nii*")
        cases.append(Case(name, subject.name, time1, time2, truth, brain))
    return cases


def _flair_scans(subject: Path) -> list[Path]:
    return sorted(filter(_is_scan, subject.glob("ses-*/anat/*_FLAIR.nii*")))


def _is_scan(path: Path) -> bool:
    """Tell a NIfTI file from what is left beside it, such as ._x.nii.gz and x.nii.gz.md5."""
    return is_nifti(path) and not path.name.startswith(".")


def _session(scan: Path) -> str:
    return scan.parent.parent.name


def _in_order(subject: Path, scans: Iterable[Path]) -> list[Path]:
    """Sort scans by the dates of their sessions, or by numbers where only these tell them apart."""
    of_session = {_session(scan): scan for scan in scans}
    listed = subject / f"{subject.name}_sessions.tsv"
    dates = {name: date for name, date in _dates(listed).items() if name in of_session}
    if len(set(dates.values())) == len(of_session):
        return [of_session[name] for name in sorted(of_session, key=dates.__getitem__)]
    alike = {re.sub(r"\d+|(?<=^ses-)[A-Za-z]$", "", name) for name in of_session}
    if len(alike) > 1:
        raise InputError(
            f"case {subject.name}: the names {', '.join(of_session)} do not tell which session is "
            f"the earlier one; give each its acq_time in {subject.name}_sessions.tsv, or name the "
            "visits in a cohort.csv"
        )
    order = sorted(of_session, key=_as_people_count)
    known = [dates[name] for name in order if name in dates]
    if known != sorted(known):
        raise InputError(
            f"case {subject.name}: the dates in {listed} contradict the numbers of the sessions; "
            "correct them, or give each session one"
        )
    return [of_session[name] for name in order]


def _dates(path: Path) -> dict[str, datetime]:
    """Date of each session of a `sessions.tsv` that has one."""
    found = {}
    for row in read_table(path, separator="\t") if path.is_file() else ():
        try:
            date = datetime.fromisoformat(row.get("acq_time", ""))
        except ValueError:  # "n/a", as BIDS writes what is not known
            continue
        found[f"ses-{row.get('session_id', '').removeprefix('ses-')}"] = date.replace(tzinfo=None)
    return found


def _as_people_count(session: str) -> list[tuple[int, str]]:
    """Order sessions as people count: ses-2 before ses-10."""
    parts = re.findall(r"\d+|\D+", session)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _only(masks: Iterable[Path], name: str) -> Path | None:
    """The mask of a name, None where there is none; InputError names two where there are."""
    found = sorted(path for path in masks if fnmatch(path.name, name) and _is_scan(path))
    if len(found) > 1:
        raise InputError(
            f"{found[0]} and {found[1]} are masks of one visit; name the one to use in a cohort.csv"
        )
    return found[0] if found else None
