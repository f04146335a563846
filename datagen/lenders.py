"""Whose lesions a synthetic case was lent, so that no patient is learnt from who is held out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from datagen.errors import InputError
from datagen.files import read_table, write_table

FILE_NAME = "lenders.csv"
_COLUMNS = ("case", "patient")


def write_lenders(folder: Path, lenders: Mapping[str, Sequence[str]]) -> None:
    """Write the patients that lent lesions to each case, one row each."""
    rows = [{"case": case, "patient": name} for case, names in lenders.items() for name in names]
    write_table(folder / FILE_NAME, rows, _COLUMNS)


def read_lenders(cohort: Path) -> dict[str, set[str]]:
    """Patients that lent lesions to each case of a cohort's folder, or of its list.

    Empty where the folder does not say. Raises InputError where a column is missing.
    """
    path = (cohort if cohort.is_dir() else cohort.parent) / FILE_NAME
    if not path.is_file():
        return {}
    lenders: dict[str, set[str]] = {}
    for row in read_table(path):
        if not all(row.get(column) for column in _COLUMNS):
            raise InputError(f"{path}: the columns case and patient are needed; synthesise anew")
        lenders.setdefault(row["case"], set()).add(row["patient"])
    return lenders
