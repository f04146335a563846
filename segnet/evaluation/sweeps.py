"""Scores against a threshold of the probability, and against a minimum lesion size; FROC."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from datagen.lesions import (
    Lesions,
    Rule,
    find_lesions,
    find_under_rules,
    score_kept,
)
from segnet.evaluation.pairs import MaskPair
from segnet.evaluation.voxelwise import dice_coefficient

Swept = Literal["threshold", "min_size_mm3"]


class SweepRow(NamedTuple):
    """Scores of one method on one case at one value of what is swept.

    `f1` is None under "msseg2" where the truth is empty.
    """

    case: str
    method: str
    rule: Rule
    swept: Swept
    value: float
    is_clean: bool
    dice: float
    ltpr: float
    lppv: float
    f1: float | None
    truth_lesions: int
    truth_hits: int
    predicted_lesions: int
    false_lesions: int


class SweepPoint(NamedTuple):
    """One method at one value of what is swept, over all cases.

    `dice`, `ltpr`, `lppv` and `f1` are means over the cases with new lesions, None where there is
    none. `pooled_ltpr` is the hit share of all truth lesions together, None where there is no
    lesion, and `false_lesions_per_patient` counts over all cases, clean ones too: the two axes of a
    FROC curve.
    """

    method: str
    rule: Rule
    swept: Swept
    value: float
    cases: int
    clean_cases: int
    dice: float | None
    ltpr: float | None
    lppv: float | None
    f1: float | None
    pooled_ltpr: float | None
    false_lesions_per_patient: float


class FrocPoint(NamedTuple):
    """A point of a FROC curve: false lesions per patient against the share of lesions found."""

    method: str
    rule: str
    threshold: float
    false_lesions_per_patient: float
    ltpr: float | None


def sweep_thresholds(
    case: str,
    method: str,
    pair: MaskPair,
    rules: Sequence[Rule],
    thresholds: Sequence[float],
    min_volume_mm3: float,
) -> list[SweepRow]:
    """Score the map at each threshold, without lesions up to a volume; none without a map."""
    rows: list[SweepRow] = []
    if pair.probability is None:
        return rows
    truths = find_under_rules(pair.truth, rules, pair.grid.spacing_mm)
    for threshold in thresholds:
        shown = find_lesions(pair.probability >= threshold)
        kept = shown.above(min_volume_mm3, pair.grid.voxel_volume_mm3)
        rows += _score((case, method), pair, truths, kept, "threshold", threshold)
    return rows


def sweep_min_sizes(
    case: str, method: str, pair: MaskPair, rules: Sequence[Rule], sizes_mm3: Sequence[float]
) -> list[SweepRow]:
    """Score the predicted mask without its lesions (26 neighbours) of up to each size."""
    rows: list[SweepRow] = []
    if not sizes_mm3:
        return rows
    truths = find_under_rules(pair.truth, rules, pair.grid.spacing_mm)
    predicted = find_lesions(pair.prediction)
    for size_mm3 in sizes_mm3:
        kept = predicted.above(size_mm3, pair.grid.voxel_volume_mm3)
        rows += _score((case, method), pair, truths, kept, "min_size_mm3", size_mm3)
    return rows


def summarise_sweep(rows: Sequence[SweepRow], swept: Swept) -> list[SweepPoint]:
    """Summarise over the cases: a point per value, by method and rule in their first order.

    A case that several trainings of a method predicted counts once, with the mean of its scores.
    """
    chosen = [row for row in rows if row.swept == swept]
    points = []
    for method, rule in dict.fromkeys((row.method, row.rule) for row in chosen):
        own = [row for row in chosen if (row.method, row.rule) == (method, rule)]
        for value in sorted({row.value for row in own}):
            points.append(_point([row for row in own if row.value == value]))
    return points


def _point(rows: Sequence[SweepRow]) -> SweepPoint:
    by_case: dict[str, list[SweepRow]] = {}
    for row in rows:
        by_case.setdefault(row.case, []).append(row)

    def means(name: str, cases: Iterable[Sequence[SweepRow]]) -> list[float]:
        return [float(np.mean([getattr(row, name) for row in case])) for case in cases]

    active = [case for case in by_case.values() if not case[0].is_clean]
    scores = {
        name: float(np.mean(means(name, active))) if active else None
        for name in ("dice", "ltpr", "lppv", "f1")
    }
    lesions, hits = (sum(means(n, by_case.values())) for n in ("truth_lesions", "truth_hits"))
    first = rows[0]
    return SweepPoint(
        method=first.method,
        rule=first.rule,
        swept=first.swept,
        value=first.value,
        cases=len(active),
        clean_cases=len(by_case) - len(active),
        **scores,
        pooled_ltpr=hits / lesions if lesions else None,
        false_lesions_per_patient=float(np.mean(means("false_lesions", by_case.values()))),
    )


def froc_point(point: SweepPoint) -> FrocPoint:
    """Return the two axes of a FROC curve at one threshold."""
    return FrocPoint(
        point.method, point.rule, point.value, point.false_lesions_per_patient, point.pooled_ltpr
    )


def _score(
    names: tuple[str, str],
    pair: MaskPair,
    truths: Mapping[Rule, Lesions],
    kept: Lesions,
    swept: Swept,
    value: float,
) -> list[SweepRow]:
    """Score the mask of the lesions that are kept as if no other had ever been in it."""
    dice, is_clean = dice_coefficient(pair.truth, kept.labels > 0), not pair.truth.any()
    rows = []
    for rule, score in score_kept(truths, kept, pair.grid.spacing_mm).items():
        rows.append(
            SweepRow(
                *names,
                rule,
                swept,
                float(value),
                is_clean,
                dice,
                score.ltpr,
                score.lppv,
                score.f1,
                score.truth_lesions,
                score.truth_hits,
                score.predicted_lesions,
                score.predicted_lesions - score.predicted_hits,
            )
        )
    return rows
