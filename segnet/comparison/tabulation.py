"""The tables of a comparison: the papers' table, tests against one method, seeds, and costs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from segnet.comparison.cells import Cost
from segnet.comparison.gathering import Finished
from segnet.evaluation.paired import Comparison, compare_two, corrected, has_better_side
from segnet.evaluation.summaries import NO_RULE, Summary, Values
from segnet.tables import Cell as Shown
from segnet.tables import Sheet, cell_of, sheet_of

# the papers' table: what is shown of each method, and as what
_VOXEL_COLUMNS = {"dice": "DSC"}
_RULE_COLUMNS = {"lppv": "LPPV", "ltpr": "LTPR", "f1": "L-F1"}
_SURFACE_COLUMNS = {"hd95_mm": "HD95 (mm)", "assd_mm": "ASD (mm)"}
_FALSE = "false_lesions_in_clean_patients"


class SeedMean(NamedTuple):
    """Mean of a score over the cases, of one seed; None where it is defined in none of them."""

    method: str
    rule: str
    metric: str
    seed: int
    mean: float | None


class MethodCost(NamedTuple):
    """What the cells of a method took, on average; memory is the most of them.

    None where no cell knows it.
    """

    method: str
    runs: int
    epochs: float | None
    train_seconds: float | None
    predict_seconds: float | None
    memory_gib: float | None
    gpu_memory_gib: float | None


def papers_sheet(summaries: Sequence[Summary], costs: Sequence[MethodCost]) -> Sheet:
    """One row per method: mean ± standard deviation over the cases with new lesions.

    Then false lesions per patient without new lesions, minutes of training, and memory.
    """
    rules = [rule for rule in dict.fromkeys(one.rule for one in summaries) if rule != NO_RULE]
    columns = {(NO_RULE, metric): name for metric, name in _VOXEL_COLUMNS.items()}
    for rule in rules:
        columns |= {(rule, metric): f"{name} {rule}" for metric, name in _RULE_COLUMNS.items()}
    columns |= {(NO_RULE, metric): name for metric, name in _SURFACE_COLUMNS.items()}
    columns |= {(rule, _FALSE): f"false lesions {rule}" for rule in rules}
    known = {(one.method, one.rule, one.metric): one for one in summaries}
    heads = ("method", "runs", *columns.values(), "training (min)", "memory (GiB)")
    rows = []
    for cost in costs:
        scores = [_mean(known.get((cost.method, *column))) for column in columns]
        minutes = None if cost.train_seconds is None else cost.train_seconds / 60
        taken = (_rounded(minutes, 1), _rounded(cost.memory_gib, 2))
        rows.append((Shown(cost.method), cell_of(cost.runs, "runs"), *scores, *taken))
    title = "Mean ± standard deviation over the cases with new lesions, each averaged over seeds"
    return Sheet(title, heads, rows)


def against(values: Sequence[Values], reference: str) -> list[Comparison]:
    """Compare every other method, as the first, with the reference by each score.

    `p_holm` is corrected for the number of methods that are compared with the reference, not for
    all pairs.
    """
    groups: dict[tuple[str, str], list[Comparison]] = {}
    base = {(one.rule, one.metric): one for one in values if one.method == reference}
    for one in values:
        other = base.get((one.rule, one.metric))
        if other is not None and one.method != reference and has_better_side(one.metric):
            groups.setdefault((one.rule, one.metric), []).append(compare_two(one, other))
    return [row for group in groups.values() for row in corrected(group)]


def against_sheet(rows: Sequence[Comparison], reference: str) -> Sheet:
    """Show the tests of the scores of the papers' table; the file holds those of all scores."""
    shown = {*_VOXEL_COLUMNS, *_RULE_COLUMNS, *_SURFACE_COLUMNS, _FALSE}
    columns = ("rule", "metric", "first", "cases", "mean_difference", "p", "p_holm", "effect_size")
    title = f"Against {reference}: Wilcoxon signed-rank test over cases"
    return sheet_of(
        title, "against", [row._asdict() for row in rows if row.metric in shown], columns
    )


def seed_means(by_seed: Mapping[int, Sequence[Values]]) -> list[SeedMean]:
    """Mean of every score for every seed."""
    return [
        SeedMean(one.method, one.rule, one.metric, seed, _mean_of(one.by_case.values()))
        for seed, values in by_seed.items()
        for one in values
    ]


def method_costs(finished: Sequence[Finished]) -> list[MethodCost]:
    """Add up what the cells took, by method in their first order."""
    costs = []
    for method in dict.fromkeys(one.cell.method for one in finished):
        own = [one.cost for one in finished if one.cell.method == method]
        costs.append(
            MethodCost(
                method,
                len(own),
                _mean_of(cost.epochs for cost in own),
                _mean_of(cost.train_seconds for cost in own),
                _mean_of(cost.predict_seconds for cost in own),
                _most(own, "memory_gib"),
                _most(own, "gpu_memory_gib"),
            )
        )
    return costs


def _mean(summary: Summary | None) -> Shown:
    if summary is None or summary.mean is None:
        return Shown("–")
    digits = 1 if summary.metric.endswith("_mm") or summary.metric == _FALSE else 3
    text = f"{summary.mean:.{digits}f}"
    if summary.std is not None:
        text += f" ± {summary.std:.{digits}f}"
    if summary.undefined:
        text += f" (of {summary.cases})"
    return Shown(text, str(summary.mean))


def _rounded(value: float | None, digits: int) -> Shown:
    return Shown("–") if value is None else Shown(f"{value:.{digits}f}", str(value))


def _mean_of(values: Any) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _most(costs: Sequence[Cost], name: str) -> float | None:
    return max(
        (value for cost in costs if (value := getattr(cost, name)) is not None), default=None
    )
