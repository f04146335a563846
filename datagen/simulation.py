"""A simulated cohort on disk, in MSSEG-2 layout, with a list of its cases and their splits."""

import math
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed
from pydantic import Field

from datagen import cohort, volumes
from datagen.anatomy import Anatomy, load_anatomy
from datagen.config import MAX_SEED, Settings, not_recorded
from datagen.errors import InputError
from datagen.files import make_folder
from datagen.layouts import Case, Split
from datagen.phantom import simulate_case
from datagen.progress import track

_CLEAN_SHARE = 0.3


class PhantomSettings(Settings):
    """Settings of 'datagen phantom'."""

    out: Path = not_recorded(Path("cohort"), "Folder to write the cohort into.")
    cases: int = Field(16, description="Number of simulated patients.", ge=3)
    validation_fraction: float = Field(
        0.15, description="Share of the patients for validation, at least one.", gt=0, lt=0.5
    )
    test_fraction: float = Field(
        0.25, description="Share of the patients for the test, at least one.", gt=0, lt=0.5
    )
    count_growth: bool = Field(
        False,
        description="Simulate a reference of change: lesions grow and shrink, brighten and fade, "
        "new ones are fainter, and what lesions gain, brightness as well, counts as new.",
    )
    seed: int = Field(0, description="Seed of every patient.", ge=0, le=MAX_SEED)
    workers: int = not_recorded(2, "Worker processes.", ge=1)


def simulate_cohort(settings: PhantomSettings) -> list[Case]:
    """Simulate and write the patients; return the cases as listed in `cohort.csv`.

    Each case folder holds both visits, the truth (new lesions), the brain mask, the lesions that
    vanished and all lesions of either visit. `cohort.csv` lists them with their splits;
    `all_lesions.csv` is the same list with all lesions of visit 2 as the truth, as a source of
    masks. Three in ten patients, rounded up, have no new lesion. Raises InputError where the folder
    already holds a cohort.
    """
    if (settings.out / "cohort.csv").exists():
        raise InputError(f"{settings.out} already holds a cohort; choose another --out")
    make_folder(settings.out)
    anatomy = load_anatomy()
    splits, clean = _splits(settings), _clean_numbers(settings.cases)
    workers = Parallel(n_jobs=settings.workers, return_as="generator")
    jobs = (
        delayed(_write_case)(anatomy, settings, number, splits[number], number in clean)
        for number in range(settings.cases)
    )
    done: Iterator[Case] = workers(jobs)
    cases = list(track(done, "simulated patients", settings.cases))
    lesions = [case._replace(truth=case.time2.parent / "lesions_time02.nii.gz") for case in cases]
    cohort.write_cohort(lesions, settings.out / "all_lesions.csv")
    cohort.write_cohort(cases, settings.out / "cohort.csv")
    return cases


def _splits(settings: PhantomSettings) -> list[Split]:
    test = max(1, round(settings.test_fraction * settings.cases))
    validation = max(1, round(settings.validation_fraction * settings.cases))
    train = settings.cases - validation - test
    if train < 1:
        raise InputError(
            f"{validation} of {settings.cases} patients for validation and {test} for the test "
            "leave none to train on; lower --validation-fraction or --test-fraction"
        )
    sizes: dict[Split, int] = {"train": train, "validation": validation, "test": test}
    return [split for split, size in sizes.items() for _ in range(size)]


def _clean_numbers(cases: int) -> set[int]:
    """Patients without new lesions: spread evenly over the numbers, and so over the splits."""
    count = math.ceil(_CLEAN_SHARE * cases)
    return {int((index + 0.5) * cases / count) for index in range(count)}


def _write_case(
    anatomy: Anatomy, settings: PhantomSettings, number: int, split: Split, is_clean: bool
) -> Case:
    name = f"phantom{number + 1:03d}"
    rng = np.random.default_rng([settings.seed, number])
    simulated = simulate_case(anatomy, rng, is_clean=is_clean, counts_growth=settings.count_growth)
    files = {
        "flair_time01_on_middle_space": simulated.time1,
        "flair_time02_on_middle_space": simulated.time2,
        "ground_truth": simulated.truth,
        "brain_mask": simulated.brain_mask,
        "vanished_lesions": simulated.vanished,
        "lesions_time01": simulated.lesions_time1,
        "lesions_time02": simulated.lesions_time2,
    }
    paths = {}
    for stem, data in files.items():
        stored = data.astype(np.uint8) if data.dtype == bool else data
        image = nib.Nifti1Image(stored, simulated.affine)
        image.header.set_xyzt_units("mm")
        paths[stem] = settings.out / name / f"{stem}.nii.gz"
        volumes.save_like(stored, image, paths[stem])
    time1, time2, truth, brain_mask, *_ = paths.values()
    return Case(name, name, time1, time2, truth, brain_mask, split)
