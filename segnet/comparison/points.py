"""Methods at thresholds that their validation cases did not choose: the same for all, or the best.

An operating point that is chosen on a few cases is noise in every score. What a method gains at its
own point, and not at these, it owes to the point.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from segnet.comparison.gathering import Finished, over_seeds
from segnet.comparison.tabulation import against
from segnet.config import MIN_VOLUME_MM3
from segnet.evaluation.summaries import NO_RULE, Values
from segnet.evaluation.sweeps import SweepRow
from segnet.operating_point import THRESHOLD
from segnet.tables import Cell, Sheet

Point = Literal["usual", "best"]


class AtPoint(NamedTuple):
    """A score of a method at one threshold, lesions up to 3 mm³ dropped; tests as `against`.

    `point` is "usual", a threshold of 0.5, or "best": each training at that threshold of the sweep
    at which its mean L-F1 under the rule is the highest in the test cases themselves, which no
    choice beforehand can beat. The score is L-F1, at the usual threshold Dice as well. `mean` is
    over the cases with new lesions, each averaged over seeds.
    """

    point: Point
    rule: str
    metric: str
    method: str
    cases: int
    mean: float
    mean_difference: float | None
    p: float | None
    p_holm: float | None


def at_points(finished: Sequence[Finished], reference: str) -> list[AtPoint]:
    """Score every method at the usual threshold and at its best; none without probability maps."""
    chosen: dict[Point, Callable[[Sequence[SweepRow]], list[SweepRow]]] = {
        "usual": _at_usual,
        "best": _at_best,
    }
    rows = []
    for point, choose in chosen.items():
        values = over_seeds(
            _values(
                [row for one in finished if one.cell.seed == seed for row in choose(one.sweep)],
                with_dice=point == "usual",
            )
            for seed in dict.fromkeys(one.cell.seed for one in finished)
        )
        tests = {(test.rule, test.metric, test.first): test for test in against(values, reference)}
        for one in values:
            test = tests.get((one.rule, one.metric, one.method))
            scores = [score for score in one.by_case.values() if score is not None]
            rows.append(
                AtPoint(
                    point,
                    one.rule,
                    one.metric,
                    one.method,
                    len(scores),
                    float(np.mean(scores)),
                    test and test.mean_difference,
                    test and test.p,
                    test and test.p_holm,
                )
            )
    return rows


def points_sheet(rows: Sequence[AtPoint], reference: str) -> Sheet:
    """One row per method: Dice at the usual threshold, and L-F1 under each rule at both points."""
    columns = list(dict.fromkeys((row.point, row.rule, row.metric) for row in rows))
    known = {(row.point, row.rule, row.metric, row.method): row for row in rows}
    shown_at = dict(zip(get_args(Point), (f"at {THRESHOLD:g}", "at its best"), strict=True))
    heads = [
        f"{'DSC' if rule == NO_RULE else f'L-F1 {rule}'} {shown_at[point]}"
        for point, rule, _ in columns
    ]
    title = (
        f"All at threshold {THRESHOLD:g}, and each at its best one in these cases, lesions up to "
        f"{MIN_VOLUME_MM3:g} mm³ dropped: difference from {reference}, p corrected by Holm"
    )
    return Sheet(
        title,
        ("method", *heads),
        [
            (Cell(method), *(_shown(known.get((*column, method))) for column in columns))
            for method in dict.fromkeys(row.method for row in rows)
        ],
    )


def _shown(row: AtPoint | None) -> Cell:
    if row is None:
        return Cell("–")
    text = f"{row.mean:.3f}"
    if row.mean_difference is not None and row.p_holm is not None:
        p = "p < 0.001" if row.p_holm < 0.001 else f"p {row.p_holm:.3f}"
        text += f" ({row.mean_difference:+.3f}, {p})"
    return Cell(text, str(row.mean))


def _values(rows: Sequence[SweepRow], with_dice: bool) -> list[Values]:
    """Gather the scores of the cases with new lesions; Dice where no rule chose the threshold."""
    gathered: dict[tuple[str, str, str], dict[str, float | None]] = {}
    for row in rows:
        if not row.is_clean:
            if with_dice:
                gathered.setdefault((row.method, NO_RULE, "dice"), {})[row.case] = row.dice
            gathered.setdefault((row.method, row.rule, "f1"), {})[row.case] = row.f1
    return [Values(*key, by_case) for key, by_case in gathered.items()]


def _at_usual(sweep: Sequence[SweepRow]) -> list[SweepRow]:
    return [row for row in sweep if row.swept == "threshold" and row.value == THRESHOLD]


def _at_best(sweep: Sequence[SweepRow]) -> list[SweepRow]:
    best = []
    for rule in dict.fromkeys(row.rule for row in sweep):
        own = [row for row in sweep if (row.swept, row.rule) == ("threshold", rule)]
        by_value: dict[float, list[float]] = {}
        for row in own:
            if not row.is_clean and row.f1 is not None:
                by_value.setdefault(row.value, []).append(row.f1)
        if by_value:
            value = max(by_value, key=lambda value: float(np.mean(by_value[value])))
            best += [row for row in own if row.value == value]
    return best
