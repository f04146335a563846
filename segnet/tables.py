"""Tables for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from segnet.evaluation import ACTIVE_SCORES, CaseScore, aggregate


def active_table(scores: Sequence[CaseScore]) -> Table:
    """Mean ± standard deviation of each score over the cases with new lesions."""
    table = Table(title="Cases with new lesions", title_justify="left")
    for head in ("method", "rule", "cases", "Dice", "LTPR", "LPPV", "L-F1"):
        table.add_column(head, justify="left" if head in ("method", "rule") else "right")
    for row in aggregate(scores):
        cells = [_mean(row[f"{name}_mean"], row[f"{name}_std"]) for name in ACTIVE_SCORES]
        table.add_row(row["method"], row["rule"], str(row["cases"]), *cells)
    return table


def clean_table(scores: Sequence[CaseScore]) -> Table:
    """Mean number and volume of false lesions over the patients without new lesions."""
    table = Table(title="Patients without new lesions", title_justify="left")
    for head in ("method", "rule", "patients", "without false", "false lesions", "false mm³"):
        table.add_column(head, justify="left" if head in ("method", "rule") else "right")
    for row in aggregate(scores):
        names = ("clean_without_false", "false_lesions_mean", "false_volume_mm3_mean")
        share, lesions, volume = (row[name] for name in names)
        cells = ("–",) * 3
        if share is not None:
            cells = (f"{share:.0%}", f"{lesions:.1f}", f"{volume:.0f}")
        table.add_row(row["method"], row["rule"], str(row["clean_cases"]), *cells)
    return table


def _mean(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.3f}" if deviation is None else f"{mean:.3f} ± {deviation:.3f}"
