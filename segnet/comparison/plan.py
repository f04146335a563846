"""The cells of the table, where they lie, and which patients each fold trains on and tests."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datagen.cohort import read_cohort, split_by_patient, write_cohort
from datagen.config import require_own
from datagen.errors import InputError
from datagen.files import make_folder
from datagen.layouts import Case
from segnet.comparison.settings import SECTION, CompareSettings, find_name, read_method
from segnet.splits import with_active_validation


class Cell(NamedTuple):
    """One training, its predictions and their scores: a method on a fold with a seed."""

    method: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """The cell as --cell takes it."""
        return f"{self.method}/{self.fold}/{self.seed}"

    def folder(self, out: Path) -> Path:
        """Where everything of the cell lies."""
        return out / "cells" / self.method / f"fold{self.fold}_seed{self.seed}"


def list_cells(settings: CompareSettings) -> list[Cell]:
    """All cells, seed by seed, so that an early stop leaves whole comparisons.

    A baseline draws nothing and has the first seed alone. Raises InputError where a method cannot
    be used.
    """
    return _cells_of(settings, settings.methods)


def _cells_of(settings: CompareSettings, names: Iterable[str]) -> list[Cell]:
    methods = [read_method(settings, name) for name in names]
    return [
        Cell(method.name, fold, seed)
        for index, seed in enumerate(settings.seeds)
        for fold in range(settings.folds)
        for method in methods
        if index == 0 or method.baseline is None
    ]


def say_if_uneven(trained: Sequence[Cell]) -> str | None:
    """Sentence for trainings that not every method has, with the seeds that all have; else None."""
    owned: dict[str, set[tuple[int, int]]] = {}
    for cell in trained:
        owned.setdefault(cell.method, set()).add((cell.fold, cell.seed))
    of_any = set[tuple[int, int]]().union(*owned.values())
    of_all = of_any.intersection(*owned.values())
    if of_all == of_any:
        return None
    told = (
        "not every method has the same trainings, so their differences are those of seeds and "
        "folds, too"
    )
    seeds = sorted({seed for _, seed in of_all} - {seed for _, seed in of_any - of_all})
    if not seeds:
        return told
    flags = " ".join(f"--seeds {seed}" for seed in seeds)
    return f"{told}; {flags} compares by what all have"


def find_cell(settings: CompareSettings, name: str) -> Cell:
    """Return the cell of a name; InputError where the table has none."""
    method, *numbers = name.rsplit("/", 2)
    try:
        method = find_name(method, settings.methods)
    except ValueError as error:
        raise InputError(f"--cell {name}: {error}") from error
    # the other methods may need what this machine does not have
    cells = {cell.name: cell for cell in _cells_of(settings, [method])}
    wanted = "/".join([method, *numbers])
    if wanted not in cells:
        raise InputError(
            f"--cell {name} is not in the table; the method's first cell is {next(iter(cells))}"
        )
    return cells[wanted]


def fold_cohort(out: Path, fold: int) -> Path:
    """List of a fold's cases with their splits."""
    return out / "folds" / f"fold{fold}.csv"


def write_folds(settings: CompareSettings) -> None:
    """Write the cohort of each fold.

    Raises InputError where patients cannot be dealt out, a case has no truth, or the folder holds
    other folds: its finished cells would be about other patients. A folder of another command is
    refused too.
    """
    require_own(settings.out, SECTION)
    listed = read_cohort(settings.cohort)
    dealt = deal_folds(listed, settings.folds, settings.validation_fraction, settings.seed)
    if settings.folds > 1 or not any(case.split == "validation" for case in listed):
        dealt = [with_active_validation(cases) for cases in dealt]
    make_folder(settings.out / "folds")
    for fold, cases in enumerate(dealt):
        path = fold_cohort(settings.out, fold)
        with tempfile.TemporaryDirectory(dir=path.parent) as beside:
            fresh = Path(beside) / path.name
            write_cohort([_absolute(case) for case in cases], fresh)
            if not path.is_file():
                fresh.replace(path)
            elif path.read_bytes() != fresh.read_bytes():
                raise InputError(
                    f"{path} holds other cases or splits than {settings.cohort} gives now; "
                    "choose another --out"
                )


def deal_folds(
    cases: Sequence[Case], folds: int, validation_fraction: float, seed: int
) -> list[list[Case]]:
    """Return all cases with their splits for each fold; all cases of a patient stay together.

    One fold keeps the cohort's own test cases, and its validation cases where it has them. More
    folds leave the cohort's splits aside: each patient is tested once, and of the others a share is
    drawn for validation. Raises InputError where test cases or patients are missing.
    """
    unknown = next((case.name for case in cases if not case.truth), None)
    if unknown:
        raise InputError(f"case {unknown} has no truth to compare methods by")
    if folds == 1:
        return [_own_split(cases, validation_fraction, np.random.default_rng(seed))]
    patients = sorted({case.patient for case in cases})
    largest = -(-len(patients) // folds)
    if len(patients) < folds or len(patients) - largest < 2:
        raise InputError(
            f"{len(patients)} patients are too few for --folds {folds}: each fold needs one to "
            "test, one to train on and one to validate on"
        )
    order = np.random.default_rng(seed).permutation(patients).tolist()
    return [
        _one_fold(cases, set(order[fold::folds]), validation_fraction, [seed, fold])
        for fold in range(folds)
    ]


def _own_split(
    cases: Sequence[Case], validation_fraction: float, rng: np.random.Generator
) -> list[Case]:
    if not any(case.split == "test" for case in cases):
        raise InputError(
            "the cohort sets no test cases in its split column; give --folds 2 or more"
        )
    return split_by_patient(list(cases), validation_fraction, rng)


def _one_fold(
    cases: Sequence[Case], tested: set[str], validation_fraction: float, seed: list[int]
) -> list[Case]:
    others = [case._replace(split=None) for case in cases if case.patient not in tested]
    dealt = split_by_patient(others, validation_fraction, np.random.default_rng(seed))
    dealt += [case._replace(split="test") for case in cases if case.patient in tested]
    return sorted(dealt, key=lambda case: case.name)


def _absolute(case: Case) -> Case:
    return case._replace(
        time1=case.time1.absolute(),
        time2=case.time2.absolute(),
        truth=case.truth.absolute() if case.truth else None,
        brain_mask=case.brain_mask.absolute() if case.brain_mask else None,
    )
