"""Cohorts of raw visits, made ready for detectors: see `datagen.raw_visits` for what is done."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from joblib import Parallel, cpu_count, delayed
from nibabel.affines import apply_affine

from datagen import volumes
from datagen.cohort import own_list, read_cohort, write_cohort
from datagen.errors import InputError
from datagen.files import (
    checksum,
    is_nifti,
    make_folder,
    nifti_stem,
    read_table,
    require_file,
    write_json,
    write_table,
    write_text,
)
from datagen.layouts import Case
from datagen.overview import draw_overview
from datagen.progress import track
from datagen.raw_visits import Options, Prepared, prepare
from datagen.registration import use_threads
from datagen.restoring import NOTE, PREPARED_VISITS, read_note, way_back

_PLAUSIBLE_LITRES = (0.7, 2.2)
_TIME1, _TIME2 = PREPARED_VISITS
_TRUTH, _BRAIN = "ground_truth.nii.gz", "brain_mask.nii.gz"


class Outcome(NamedTuple):
    """What was done to a case: a row of `preprocess.csv`.

    Rotation and shift of the brain's centre are those between the visits, and `correlation` is that
    of both visits inside the brain, when all is done.
    """

    case: str
    rotation_degrees: float
    shift_mm: float
    brain_litres: float
    correlation: float

    @property
    def is_plausible(self) -> bool:
        """Whether the brain has the size of one."""
        low, high = _PLAUSIBLE_LITRES
        return low <= self.brain_litres <= high


class Preprocessed(NamedTuple):
    """What was done to each case, and a sentence about each that cannot be used."""

    outcomes: list[Outcome]
    failures: list[str]


class Lists(NamedTuple):
    """The rows of a folder's `cohort.csv` and `preprocess.csv`, by case."""

    cases: dict[str, Case]
    rows: dict[str, dict[str, Any]]


def list_raw(raw: Sequence[Path]) -> list[Case]:
    """List the cases of a cohort, or the one whose two visits are named."""
    if len(raw) == 2 and all(is_nifti(path) for path in raw):
        name = nifti_stem(raw[1].name)
        return [Case(name, name, raw[0], raw[1])]
    if len(raw) == 1 and not is_nifti(raw[0]):
        return read_cohort(raw[0])
    raise InputError("name a folder, a cohort.csv, or the two NIfTI files of a patient's visits")


def preprocess_cohort(
    cases: Sequence[Case], out: Path, options: Options, workers: int = 1, resume: bool = False
) -> Preprocessed:
    """Preprocess every case that can be used into a cohort in the layout of MSSEG-2.

    Beside both visits, the brain mask and the truth, where there is one, a case's folder holds
    `overview.png` and the maps back to the raw visits, `middle_to_time1.txt` and
    `middle_to_time2.txt`: 4 × 4 matrices, RAS+ millimetres. Raises InputError where no case can be
    used, where the folder is not empty and not to be resumed, or where it holds the raw scans.
    A folder that is resumed keeps the cases that were listed in it before.
    """
    _require_apart(cases, out)
    # read before the work of hours
    known = _read_lists(out, cases) if resume and own_list(out) else Lists({}, {})
    if out.is_dir() and any(out.iterdir()) and not resume:
        raise InputError(f"{out} is not empty; choose another --out, or go on there with --resume")
    make_folder(out)
    threads = max(1, cpu_count() // workers)
    jobs = (delayed(_try)(case, out / case.name, options, threads) for case in cases)
    done: Iterator[Outcome | str] = Parallel(n_jobs=workers, return_as="generator")(jobs)
    brought = list(track(done, "cases", len(cases)))
    outcomes = [one for one in brought if isinstance(one, Outcome)]
    failures = [one for one in brought if isinstance(one, str)]
    if not outcomes:
        if not any(out.iterdir()):
            out.rmdir()
        raise InputError(failures[0])
    _write_lists(known, cases, outcomes, out)
    return Preprocessed(outcomes, failures)


def _read_lists(out: Path, cases: Sequence[Case]) -> Lists:
    rows = {row.get("case", ""): dict[str, Any](row) for row in read_table(out / "preprocess.csv")}
    to_be_made = {case.name for case in cases}
    return Lists({case.name: case for case in read_cohort(out, to_be_made)}, rows)


def _write_lists(
    known: Lists, cases: Sequence[Case], outcomes: Sequence[Outcome], out: Path
) -> None:
    """Add cases to the lists of a folder; a row of an earlier call stays as it was edited."""
    rows = known.rows | {outcome.case: outcome._asdict() for outcome in outcomes}
    listed = {case.name: _written(case, out / case.name) for case in cases} | known.cases
    failed = {case.name for case in cases} - {outcome.case for outcome in outcomes}
    gone = {name for name in failed if not (out / name / NOTE).is_file() or name not in known.cases}
    names = sorted(listed.keys() - gone)
    done = [rows[name] for name in names if name in rows]  # a list may be extended by hand
    write_table(out / "preprocess.csv", done, Outcome._fields)
    write_cohort((listed[name] for name in names), out / "cohort.csv")


def _require_apart(cases: Sequence[Case], out: Path) -> None:
    """Refuse a folder in which raw scans lie: prepared ones may have the same names."""
    for scan in (path for case in cases for path in (case.time1, case.time2)):
        if scan.resolve().is_relative_to(out.resolve()):
            raise InputError(f"--out {out} holds the raw scan {scan}; choose another folder")


def _try(case: Case, folder: Path, options: Options, threads: int) -> Outcome | str:
    """Preprocess a case; return a sentence where it cannot be used."""
    try:
        return _bring(case, folder, options, threads)
    except InputError as error:
        return f"case {case.name}: {error}"


def _bring(case: Case, folder: Path, options: Options, threads: int) -> Outcome:
    """Preprocess a case, unless its folder is complete."""
    files = (case.time1, case.time2, case.truth, case.brain_mask)
    made_from = {
        "options": options._asdict(),
        "sources": [str(path.absolute()) if path else "" for path in files],
        "contents": checksum(require_file(path) for path in files if path),
    }
    known = _read_outcome(folder / NOTE, made_from)
    if known:
        return known
    use_threads(threads)
    prepared = prepare(case, options)
    make_folder(folder)
    reference = nib.Nifti1Image(prepared.time2, prepared.grid.affine)
    for name, volume in (
        (_TIME1, prepared.time1),
        (_TIME2, prepared.time2),
        (_BRAIN, prepared.brain.astype(np.uint8)),
    ):
        volumes.save_like(volume, reference, folder / name)
    if prepared.truth is not None:
        volumes.save_like(prepared.truth.astype(np.uint8), reference, folder / _TRUTH)
    for visit, matrix in enumerate(prepared.middle, start=1):
        lines = (" ".join(f"{value:.9f}" for value in row) for row in matrix)
        write_text(way_back(folder, visit), "\n".join(lines) + "\n")
    draw_overview(prepared, folder / "overview.png")
    outcome = _outcome(case.name, prepared)
    # this file comes last: where it is, the case is complete
    write_json(folder / NOTE, {**made_from, "outcome": outcome._asdict()})
    return outcome


def _read_outcome(path: Path, made_from: dict[str, Any]) -> Outcome | None:
    if not path.is_file():
        return None
    known = read_note(path)
    for key in ("options", "sources"):
        if known[key] != made_from[key]:
            raise InputError(f"{path.parent} was made with other {key}; choose another --out")
    if known["contents"] not in ("", made_from["contents"]):  # an earlier version kept none
        raise InputError(
            f"{path.parent} was made of files that were replaced since; delete it, and go on with "
            "--resume"
        )
    return Outcome(**known["outcome"])


def _outcome(name: str, prepared: Prepared) -> Outcome:
    brain, grid = prepared.brain, prepared.grid
    centre = apply_affine(grid.affine, np.argwhere(brain).mean(axis=0))
    places = [apply_affine(back, centre) for back in prepared.middle]
    correlation = np.corrcoef(prepared.time1[brain], prepared.time2[brain])[0, 1]
    return Outcome(
        name,
        round(prepared.middle.rotation_degrees, 2),
        round(float(np.linalg.norm(places[0] - places[1])), 2),
        round(float(brain.sum() * grid.voxel_volume_mm3 / 1e6), 3),
        round(float(correlation), 3),
    )


def _written(case: Case, folder: Path) -> Case:
    return case._replace(
        time1=folder / _TIME1,
        time2=folder / _TIME2,
        truth=folder / _TRUTH if case.truth else None,
        brain_mask=folder / _BRAIN,
    )
