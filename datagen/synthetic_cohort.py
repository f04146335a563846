"""A cohort of synthetic two-visit cases on disk, in MSSEG-2 layout."""

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed
from pydantic import Field

from datagen import cohort, volumes
from datagen.config import MAX_SEED, Settings, not_recorded
from datagen.decomposition import Parts, Patch, read_parts
from datagen.errors import InputError
from datagen.files import make_folder
from datagen.layouts import Case, Split
from datagen.lenders import write_lenders
from datagen.progress import track
from datagen.synthesis import synthesise_case
from datagen.visits import Visit, as_cases, list_visits

_MOST_LENDERS = 2


class SynthesisSettings(Settings):
    """Settings of 'datagen synthesise'."""

    scans: tuple[Path, ...] = Field(
        description="Folder of single visits (<patient>/flair.nii.gz, ground_truth.nii.gz), or a "
        "cohort with lesions_time01.nii.gz and lesions_time02.nii.gz; repeatable.",
        min_length=1,
    )
    out: Path = not_recorded(Path("synthetic"), "Folder to write the cohort into.")
    cases: int = Field(40, description="Number of synthetic cases.", ge=1)
    clean_share: float = Field(
        0.25, description="Share of the cases without new lesions.", ge=0, lt=1
    )
    validation_fraction: float = Field(
        0.2,
        description="Share of patients for validation, where the scans set no split; 0: none.",
        ge=0,
        lt=1,
    )
    count_growth: bool = Field(
        False,
        description="Make a reference of change: lesions grow and shrink, brighten and fade, new"
        " ones are fainter, and what lesions gain, brightness as well, counts as new.",
    )
    spacing_mm: float = Field(1.0, description="Edge of a voxel, in mm.", gt=0)
    seed: int = Field(0, description="Seed of every case.", ge=0, le=MAX_SEED)
    workers: int = not_recorded(2, "Worker processes.", ge=1)


def synthesise_cohort(settings: SynthesisSettings) -> list[Case]:
    """Synthesise and write cases from single visits; return them as listed in `cohort.csv`.

    Scans take turns. A case belongs to the patient and the split of its scan, and is lent lesions
    by up to two other patients of that split alone, or, where there is no other, by its own
    patient; `lenders.csv` names them. Each folder also holds `vanished_lesions.nii.gz` and all
    lesions of either visit. Raises InputError where a scan cannot be read, or the folder already
    holds a cohort.
    """
    if (settings.out / "cohort.csv").exists():
        raise InputError(f"{settings.out} already holds a cohort; choose another --out")
    visits = _with_splits(settings)[: settings.cases]
    reading = (
        read_parts(visit, settings.spacing_mm, np.random.default_rng([settings.seed, 0, number]))
        for number, visit in enumerate(visits)
    )
    parts = list(track(reading, "scans taken apart", len(visits)))
    make_folder(settings.out)
    clean = _clean_numbers(settings, len(parts))
    lenders = [_draw_lenders(parts, visits, n, settings.seed) for n in range(settings.cases)]
    jobs = (
        delayed(_write_case)(
            number,
            parts[number % len(parts)],
            [lesion.patch for part in lenders[number] for lesion in part.lesions],
            visits[number % len(parts)].split,
            settings,
            number in clean,
        )
        for number in range(settings.cases)
    )
    done: Iterator[Case] = Parallel(n_jobs=settings.workers, return_as="generator")(jobs)
    cases = list(track(done, "synthetic cases", settings.cases))
    lent = zip(cases, lenders, strict=True)
    names = {case.name: sorted({part.patient for part in lending}) for case, lending in lent}
    write_lenders(settings.out, names)
    cohort.write_cohort(cases, settings.out / "cohort.csv")
    return cases


def _with_splits(settings: SynthesisSettings) -> list[Visit]:
    """All visits, split by patient; those of one patient alone are all there to train on."""
    found = [visit for source in settings.scans for visit in list_visits(source)]
    cases = as_cases(found)
    split = {visit.patient for visit in found if visit.split != "test"}
    if settings.validation_fraction and len(split) > 1:
        rng = np.random.default_rng(settings.seed)
        cases = cohort.split_by_patient(cases, settings.validation_fraction, rng)
    return [
        visit._replace(split=case.split or "train")
        for visit, case in zip(found, cases, strict=True)
    ]


def _draw_lenders(parts: list[Parts], visits: list[Visit], case: int, seed: int) -> list[Parts]:
    """Scans of up to two patients of the case's split that lend it lesions.

    Few, so that few cases are lost where a training holds one of these patients out.
    """
    own = visits[case % len(visits)]
    same = [part for part, visit in zip(parts, visits, strict=True) if visit.split == own.split]
    others = sorted({part.patient for part in same if part.lesions} - {own.patient})
    drawn = np.random.default_rng([seed, 2, case]).permutation(others)[:_MOST_LENDERS]
    lending = drawn.tolist() or [own.patient]
    return [part for part in same if part.patient in lending]


def _clean_numbers(settings: SynthesisSettings, scans: int) -> set[int]:
    """Numbers of the cases without new lesions: spread evenly over the scans, drawn within each."""
    rng = np.random.default_rng([settings.seed, 3])
    of_scans = [rng.permutation(range(scan, settings.cases, scans)) for scan in range(scans)]
    by_scan = np.concatenate(of_scans)
    count = round(settings.clean_share * settings.cases)
    return {int(by_scan[int((index + 0.5) * settings.cases / count)]) for index in range(count)}


def _write_case(
    number: int,
    scan: Parts,
    donors: list[Patch],
    split: Split | None,
    settings: SynthesisSettings,
    is_clean: bool,
) -> Case:
    name = f"synthetic{number + 1:03d}"
    rng = np.random.default_rng([settings.seed, 1, number])
    made = synthesise_case(
        scan, donors, rng, is_clean=is_clean, counts_growth=settings.count_growth
    )
    files = {
        "flair_time01_on_middle_space": made.time1,
        "flair_time02_on_middle_space": made.time2,
        "ground_truth": made.truth,
        "brain_mask": scan.brain,
        "vanished_lesions": made.vanished,
        "lesions_time01": made.lesions_time1,
        "lesions_time02": made.lesions_time2,
    }
    paths = {}
    for stem, data in files.items():
        stored = data.astype(np.uint8) if data.dtype == bool else data
        image = nib.Nifti1Image(stored, scan.grid.affine)
        image.header.set_xyzt_units("mm")
        paths[stem] = settings.out / name / f"{stem}.nii.gz"
        volumes.save_like(stored, image, paths[stem])
    time1, time2, truth, brain_mask, *_ = paths.values()
    return Case(name, scan.patient, time1, time2, truth, brain_mask, split)
