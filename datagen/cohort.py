"""Cohorts of two-visit cases, their splits, and the list in which they are written."""

from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path
from typing import get_args

import numpy as np

from datagen.bids import from_bids
from datagen.errors import InputError
from datagen.files import write_table
from datagen.layouts import COLUMNS, Case, Split, from_msseg2, from_table

VANISHED = "vanished_lesions.nii.gz"


def read_cohort(source: Path, to_be_made: Container[str] = ()) -> list[Case]:
    """List the cases of a cohort, sorted by name.

    `source` is a folder in MSSEG-2 layout, a BIDS data set, a folder with `cohort.csv`, or a CSV
    file with the columns case, time1, time2 and optionally truth, brain_mask, split, patient;
    paths in it are relative to it. Listed cases `to_be_made` may miss files. Raises InputError that
    names a broken case and what it misses.
    """
    if source.is_file():
        cases = from_table(source, to_be_made)
    elif not source.is_dir():
        raise InputError(f"{source} does not exist; give a cohort folder or a cohort.csv")
    elif own := own_list(source):
        cases = from_table(own, to_be_made)
    elif (source / "dataset_description.json").is_file():
        cases = from_bids(source)
    else:
        cases = from_msseg2(source)
    _require_names(cases, source)
    return sorted(cases, key=lambda case: case.name)


def own_list(folder: Path) -> Path | None:
    """The `cohort.csv` of a folder, which is read in place of what else lies there."""
    path = folder / "cohort.csv"
    return path if path.is_file() else None


def _require_names(cases: list[Case], source: Path) -> None:
    """Refuse names that results cannot be filed under."""
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{source}: two cases are named '{name}'; give each its own name")
        if not name or "/" in name or "\\" in name or name in (".", ".."):
            raise InputError(f"{source}: '{name}' cannot name a case; it becomes a folder's name")


def write_cohort(cases: Iterable[Case], path: Path) -> None:
    """Write a cohort as CSV, with paths relative to the file where they lie below its folder."""

    def shown(value: object) -> object:
        if isinstance(value, Path):
            value, folder = value.absolute(), path.parent.absolute()
            return value.relative_to(folder) if value.is_relative_to(folder) else value
        return value

    rows = [dict(zip(("case", *Case._fields[1:]), map(shown, case), strict=True)) for case in cases]
    write_table(path, rows, COLUMNS)


def require_new(path: Path) -> None:
    """Refuse to overwrite a list, which may have been edited by hand."""
    if path.is_file():
        raise InputError(f"{path} is there already; delete it, or choose another --out")


def describe(cases: list[Case]) -> str:
    """Count what the cases hold; splits are counted where a case has one."""
    truths = sum(case.truth is not None for case in cases)
    brains = sum(case.brain_mask is not None for case in cases)
    of_splits = Counter(case.split for case in cases)
    splits = ", ".join(
        f"{of_splits[split]} {split}" for split in get_args(Split) if of_splits[split]
    )
    shown = f", splits: {splits}" if splits else ""
    return f"{truths} with a truth, {brains} with a brain mask{shown}"


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

    A cohort that sets validation cases is returned as it is, with cases without a split in "train".
    Otherwise the fraction of the patients that are not tested, at least one, is drawn for
    "validation". Raises InputError where only one patient is there to draw from, or one is in two
    splits.
    """
    _require_one_side([case._replace(split=case.split or "train") for case in cases])
    drawn_from = sorted({case.patient for case in cases if case.split != "test"})
    validation = set[str]()
    if drawn_from and not any(case.split == "validation" for case in cases):
        if len(drawn_from) < 2:
            raise InputError(
                f"the cohort has one patient to train on, {drawn_from[0]}; two are needed, one of "
                "them to validate on"
            )
        held_out = min(max(1, round(validation_fraction * len(drawn_from))), len(drawn_from) - 1)
        validation = set(rng.permutation(drawn_from)[:held_out].tolist())
    return [
        case._replace(split="validation" if case.patient in validation else case.split or "train")
        for case in cases
    ]


def _require_one_side(cases: list[Case]) -> None:
    split_of = {case.patient: case.split for case in cases}
    for case in cases:
        if case.split != split_of[case.patient]:
            raise InputError(
                f"patient {case.patient} is in the splits '{case.split}' and "
                f"'{split_of[case.patient]}'; a patient belongs to one"
            )


def is_reversed(case: Case) -> bool:
    """Tell whether a case has its visits swapped: its truth is what vanished."""
    return case.truth is not None and case.truth.name == VANISHED


def with_reversed_visits(cases: list[Case]) -> list[Case]:
    """Add each case with its visits swapped: what vanished is then new.

    The truth of the swapped case is `vanished_lesions.nii.gz` beside visit 2; cases without that
    file are not swapped, nor those that are swapped already, or listed in both orders. Both orders
    keep the patient and the split. Raises InputError where it would be that of two visits.
    """
    swapped, owners = [], dict[Path, Case]()
    listed = {(case.time1, case.time2) for case in cases}
    for case in cases:
        vanished = case.time2.parent / VANISHED
        is_swapped = is_reversed(case) or (case.time2, case.time1) in listed
        if vanished.is_file() and not is_swapped:
            if (owner := owners.setdefault(vanished, case)).time2 != case.time2:
                raise InputError(
                    f"{vanished} lies beside visit 2 of {owner.name} and of {case.name}, and "
                    "cannot be the truth of both swapped; give each visit a folder of its own"
                )
            backward = case._replace(name=f"{case.name}_reversed", truth=vanished)
            swapped.append(backward._replace(time1=case.time2, time2=case.time1))
    return sorted([*cases, *swapped], key=lambda case: case.name)
