"""Single visits with all their lesions: what lesions are learnt from, and new ones made of."""

from pathlib import Path
from typing import NamedTuple

from datagen.cohort import is_reversed, read_cohort
from datagen.errors import InputError
from datagen.layouts import Case, Split
from datagen.sources import is_cohort


class Visit(NamedTuple):
    """Paths of one scan and of the mask of all its lesions; `patient` groups a person's scans."""

    name: str
    patient: str
    flair: Path
    lesions: Path
    brain_mask: Path | None = None
    split: Split | None = None


def list_visits(source: Path) -> list[Visit]:
    """List the single visits of a source, sorted by name.

    `source` is a folder of `<patient>/flair.nii.gz` and `ground_truth.nii.gz` (all lesions), with
    `brain_mask.nii.gz` where the skull is still there; or a cohort of two visits, of which those
    count that have `lesions_time01.nii.gz` or `lesions_time02.nii.gz` beside visit 2, as simulated
    patients do. Cases of the split "test" are left out. Raises InputError where there is none, or
    where a mask is missing.
    """
    visits = [_of_folder(flair) for flair in scans_below(source)] or _of_cohort(source)
    if not visits:
        raise InputError(
            f"{source} holds no single visit: expected <patient>/flair.nii.gz and "
            "ground_truth.nii.gz, or a cohort with lesions_time01.nii.gz and lesions_time02.nii.gz"
        )
    return sorted(visits, key=lambda visit: visit.name)


def scans_below(source: Path) -> list[Path]:
    """The scans of a folder of single visits; empty where the source is something else."""
    return sorted(source.glob("*/flair.nii.gz")) if source.is_dir() else []


def as_cases(visits: list[Visit]) -> list[Case]:
    """Cases to learn all lesions from: the scan stands for both visits, its lesions are wanted."""
    return [
        Case(v.name, v.patient, v.flair, v.flair, v.lesions, v.brain_mask, v.split) for v in visits
    ]


def _of_folder(flair: Path) -> Visit:
    folder = flair.parent
    lesions, brain = folder / "ground_truth.nii.gz", folder / "brain_mask.nii.gz"
    if not lesions.is_file():
        raise InputError(f"{lesions} is missing: the mask of all lesions of {flair}")
    return Visit(folder.name, folder.name, flair, lesions, brain if brain.is_file() else None)


def _of_cohort(source: Path) -> list[Visit]:
    if source.is_dir() and not is_cohort(source):
        return []
    visits = []
    for case in read_cohort(source):
        # a case with its visits swapped shows the same scans, under the other one's masks
        if case.split == "test" or is_reversed(case):
            continue
        for number, flair in enumerate((case.time1, case.time2), start=1):
            lesions = case.time2.parent / f"lesions_time0{number}.nii.gz"
            if lesions.is_file():
                name = f"{case.name}_visit{number}"
                visits.append(
                    Visit(name, case.patient, flair, lesions, case.brain_mask, case.split)
                )
    return visits
