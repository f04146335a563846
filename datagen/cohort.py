"""Cohorts of two-visit cases: MSSEG-2 folders, BIDS, or a CSV list, recognised by themselves."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float

from datagen import volumes
from datagen.errors import InputError
from datagen.files import read_table, write_table
from datagen.volumes import Grid

Split = Literal["train", "validation", "test"]

COLUMNS = ("case", "time1", "time2", "truth", "brain_mask", "split", "patient")
_MSSEG2_FILES = {
    "time1": "flair_time01_on_middle_space.nii.gz",
    "time2": "flair_time02_on_middle_space.nii.gz",
    "truth": "ground_truth.nii.gz",
    "brain_mask": "brain_mask.nii.gz",
}
# a skull-stripped head leaves more than half of its box empty
_MOST_BRAIN = 0.9


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


class Scans(NamedTuple):
    """One case on its working grid: normalised visits, brain, truth (all false where unknown)."""

    time1: Float[np.ndarray, "x y z"]
    time2: Float[np.ndarray, "x y z"]
    brain: Bool[np.ndarray, "x y z"]
    truth: Bool[np.ndarray, "x y z"]
    grid: Grid


def read_cohort(source: Path) -> list[Case]:
    """List the cases of a cohort, sorted by name.

    `source` is a folder in MSSEG-2 layout, a BIDS data set, a folder with `cohort.csv`, or a CSV
    file with the columns case, time1, time2 and optionally truth, brain_mask, split, patient;
    paths in it are relative to it. Raises InputError that names a broken case and what it misses.
    """
    if source.is_file():
        cases = _from_table(source)
    elif not source.is_dir():
        raise InputError(f"{source} does not exist; give a cohort folder or a cohort.csv")
    elif (source / "cohort.csv").is_file():
        cases = _from_table(source / "cohort.csv")
    elif (source / "dataset_description.json").is_file():
        cases = _from_bids(source)
    else:
        cases = _from_msseg2(source)
    return sorted(cases, key=lambda case: case.name)


def write_cohort(cases: Iterable[Case], path: Path) -> None:
    """Write a cohort as CSV, with paths relative to the file where they lie below its folder."""

    def shown(value: object) -> object:
        if isinstance(value, Path):
            value = value.resolve()
            folder = path.parent.resolve()
            return value.relative_to(folder) if value.is_relative_to(folder) else value
        return value

    rows = [dict(zip(("case", *Case._fields[1:]), map(shown, case), strict=True)) for case in cases]
    write_table(path, rows, COLUMNS)


def of_split(cases: list[Case], split: str) -> list[Case]:
    """Return the cases of one split; "all" returns every case. InputError where there is none."""
    chosen = [case for case in cases if split in ("all", case.split)]
    if not chosen:
        raise InputError(f"no case of the cohort belongs to split '{split}'; see its split column")
    return chosen


def split_by_patient(
    cases: list[Case], validation_fraction: float, rng: np.random.Generator
) -> list[Case]:
    """Fill in missing splits, keeping each patient's cases together.

    A cohort that sets any split is returned as it is, with cases without one in "train". Otherwise
    the fraction of patients, at least one, is drawn for "validation". Raises InputError where only
    one patient is there to split.
    """
    if any(case.split for case in cases):
        return [case if case.split else case._replace(split="train") for case in cases]
    patients = sorted({case.patient for case in cases})
    if len(patients) < 2:
        raise InputError("the cohort has one patient; two are needed to train and to validate")
    held_out = max(1, round(validation_fraction * len(patients)))
    validation = set(rng.permutation(patients)[:held_out].tolist())
    return [
        case._replace(split="validation" if case.patient in validation else "train")
        for case in cases
    ]


def with_reversed_visits(cases: list[Case]) -> list[Case]:
    """Add each case with its visits swapped: what vanished is then new.

    The truth of the swapped case is `vanished_lesions.nii.gz` beside the truth; cases without that
    file are not swapped. Both orders keep the patient and the split.
    """
    swapped = []
    for case in cases:
        vanished = case.time2.parent / "vanished_lesions.nii.gz"
        if vanished.is_file():
            backward = case._replace(name=f"{case.name}_reversed", truth=vanished)
            swapped.append(backward._replace(time1=case.time2, time2=case.time1))
    return sorted([*cases, *swapped], key=lambda case: case.name)


def read_scans(case: Case, spacing_mm: float) -> Scans:
    """Read one case onto its working grid of cubic voxels.

    Raises InputError, with the case's name, where a file is broken, the visits, masks or brain mask
    lie on different grids, or the scans still show the skull and no brain mask is given.
    """
    try:
        return _read_scans(case, spacing_mm)
    except InputError as error:
        raise InputError(f"case {case.name}: {error}") from error


def _read_scans(case: Case, spacing_mm: float) -> Scans:
    time1, time2 = volumes.read_image(case.time1), volumes.read_image(case.time2)
    truth = volumes.read_mask(case.truth) if case.truth else _empty_like(time2)
    brain_mask = volumes.read_mask(case.brain_mask) if case.brain_mask else _nonzero(time1, time2)
    others = {case.time1: time1, case.truth: truth, case.brain_mask: brain_mask}
    for path, image in others.items():
        if not volumes.same_grid(image, time2):
            raise InputError(
                f"{path} {image.shape} and {case.time2} {time2.shape} lie on different grids; "
                "register them first"
            )
    grid = volumes.working_grid(volumes.grid_of(time2), spacing_mm)
    brain = volumes.resample(brain_mask, grid) >= 0.5
    return Scans(
        volumes.normalise(volumes.resample(time1, grid), brain),
        volumes.normalise(volumes.resample(time2, grid), brain),
        brain,
        volumes.resample_mask(truth, grid),
        grid,
    )


def _empty_like(image: nib.Nifti1Image) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine)


def _nonzero(time1: nib.Nifti1Image, time2: nib.Nifti1Image) -> nib.Nifti1Image:
    """Brain of skull-stripped scans: where both visits hold signal."""
    if time1.shape != time2.shape:
        return _empty_like(time2)
    brain = (np.asanyarray(time1.dataobj) > 0) & (np.asanyarray(time2.dataobj) > 0)
    if brain.mean() > _MOST_BRAIN:
        raise InputError("the scans are not skull-stripped; give a brain_mask")
    return nib.Nifti1Image(brain.astype(np.uint8), time2.affine)


def _from_msseg2(folder: Path) -> list[Case]:
    folders = [
        path for path in folder.iterdir() if path.is_dir() and any(path.glob("flair_time0*"))
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


def _from_table(path: Path) -> list[Case]:
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
                raise InputError(f"{path}: case {name}: {key} {files[key]} does not exist")
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


def _from_bids(folder: Path) -> list[Case]:
    cases = []
    for subject in sorted(folder.glob("sub-*")):
        scans = sorted(subject.glob("ses-*/anat/*_FLAIR.nii*"))
        if len(scans) < 2:
            raise InputError(
                f"case {subject.name}: two sessions with anat/*_FLAIR.nii.gz are needed"
            )
        for time1, time2 in itertools.pairwise(scans):
            session = time2.parent.parent.name
            name = subject.name if len(scans) == 2 else f"{subject.name}_{session}"
            where = f"**/{subject.name}/{session}/**/{subject.name}_{session}*"
            truth = _first(folder, f"{where}label-lesion*desc-new*_mask.nii*")
            brain = _first(folder, f"{where}desc-brain_mask.nii*")
            cases.append(Case(name, subject.name, time1, time2, truth, brain))
    if not cases:
        raise InputError(f"{folder} is a BIDS data set without subjects (sub-*)")
    return cases


def _first(folder: Path, pattern: str) -> Path | None:
    return next(iter(sorted(folder.glob(pattern))), None)
