"""Tables of scores, for the terminal and for the report."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

_ACTIVE = {"dice": "Dice", "ltpr": "LTPR", "lppv": "LPPV", "f1": "L-F1"}
_TEXT = ("method", "rule", "case")


class Sheet(NamedTuple):
    """A table as text: a title, a head per column, and rows of cells."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


def active_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Mean ± standard deviation over the cases with new lesions, from aggregated rows."""
    cells: list[tuple[str, ...]] = [
        (
            str(row["method"]),
            str(row["rule"]),
            f"{float(row['cases']):.0f}",
            *(_mean(row[f"{name}_mean"], row[f"{name}_std"]) for name in _ACTIVE),
        )
        for row in rows
    ]
    return Sheet("Cases with new lesions", ("method", "rule", "cases", *_ACTIVE.values()), cells)


def clean_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Mean number and volume of false lesions over the patients without new lesions."""
    heads = ("method", "rule", "patients", "without false", "false lesions", "false mm³")
    cells: list[tuple[str, ...]] = []
    for row in rows:
        share = row["clean_without_false"]
        lesions, volume = row["false_lesions_mean"], row["false_volume_mm3_mean"]
        shown = ("-",) * 3
        if share not in (None, ""):
            shown = (f"{float(share):.0%}", f"{float(lesions):.1f}", f"{float(volume):.0f}")
        patients = f"{float(row['clean_cases']):.0f}"
        cells.append((str(row["method"]), str(row["rule"]), patients, *shown))
    return Sheet("Patients without new lesions", heads, cells)


def case_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """One row per case, method and rule."""
    counts = ("truth_lesions", "truth_hits", "predicted_lesions", "predicted_hits")
    heads = (
        "case",
        "method",
        "rule",
        *_ACTIVE.values(),
        *(name.replace("_", " ") for name in counts),
    )
    cells = [
        (
            *(str(row[name]) for name in ("case", "method", "rule")),
            *(_fraction(row[name]) for name in _ACTIVE),
            *(str(row[name]) for name in counts),
        )
        for row in rows
    ]
    return Sheet("Every case", heads, cells)


def as_terminal_table(sheet: Sheet) -> Table:
    """Return the sheet as a table for the terminal."""
    table = Table(title=sheet.title, title_justify="left")
    for head in sheet.heads:
        table.add_column(head, justify="left" if head in _TEXT else "right", no_wrap=True)
    for row in sheet.rows:
        table.add_row(*row)
    return table


def _mean(mean: Any, deviation: Any) -> str:
    if mean in (None, ""):
        return "-"
    shown = f"{float(mean):.3f}"
    return shown if deviation in (None, "") else f"{shown} ± {float(deviation):.3f}"


def _fraction(value: Any) -> str:
    return "-" if value in (None, "") else f"{float(value):.3f}"
