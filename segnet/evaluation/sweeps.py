"""Scores against a threshold of the probability, and against a minimum lesion size; FROC."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool

from datagen.lesions import Rule, label_lesions, score_lesions
from segnet.evaluation.pairs import MaskPair
from segnet.evaluation.voxelwise import dice_coefficient, foreground_box

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
    for threshold in thresholds:
        above: np.ndarray = pair.probability >= threshold
        mask = without_small(above, min_volume_mm3, pair)
        rows += _score((case, method), pair, mask, rules, "threshold", threshold)
    return rows


def sweep_min_sizes(
    case: str, method: str, pair: MaskPair, rules: Sequence[Rule], sizes_mm3: Sequence[float]
) -> list[SweepRow]:
    """Score the predicted mask without its lesions of up to each size."""
    rows: list[SweepRow] = []
    for size_mm3 in sizes_mm3:
        mask = without_small(pair.prediction, size_mm3, pair)
        rows += _score((case, method), pair, mask, rules, "min_size_mm3", size_mm3)
    return rows


def without_small(
    mask: Bool[np.ndarray, "x y z"], min_volume_mm3: float, pair: MaskPair
) -> Bool[np.ndarray, "x y z"]:
    """Return the mask without its 26-connected components of up to a volume."""
    smallest = min_volume_mm3 / pair.grid.voxel_volume_mm3 * (1 + 1e-6)
    if smallest < 1:
        return mask
    box = foreground_box(mask)
    labels, count = label_lesions(mask[box])
    keep = np.bincount(labels.ravel(), minlength=count + 1) > smallest
    keep[0] = False
    kept = np.zeros_like(mask)
    kept[box] = keep[labels]
    return kept


def summarise_sweep(rows: Sequence[SweepRow], swept: Swept) -> list[SweepPoint]:
    """Summarise over the cases: a point per value, by method and rule in their first order."""
    chosen = [row for row in rows if row.swept == swept]
    points = []
    for method, rule in dict.fromkeys((row.method, row.rule) for row in chosen):
        own = [row for row in chosen if (row.method, row.rule) == (method, rule)]
        for value in sorted({row.value for row in own}):
            points.append(_point([row for row in own if row.value == value]))
    return points


def _point(rows: Sequence[SweepRow]) -> SweepPoint:
    active = [row for row in rows if not row.is_clean]
    lesions = sum(row.truth_lesions for row in rows)
    first = rows[0]
    means = {
        name: float(np.mean([getattr(row, name) for row in active])) if active else None
        for name in ("dice", "ltpr", "lppv", "f1")
    }
    return SweepPoint(
        method=first.method,
        rule=first.rule,
        swept=first.swept,
        value=first.value,
        cases=len(active),
        clean_cases=len(rows) - len(active),
        **means,
        pooled_ltpr=sum(row.truth_hits for row in rows) / lesions if lesions else None,
        false_lesions_per_patient=sum(row.false_lesions for row in rows) / len(rows),
    )


def _score(
    names: tuple[str, str],
    pair: MaskPair,
    mask: Bool[np.ndarray, "x y z"],
    rules: Sequence[Rule],
    swept: Swept,
    value: float,
) -> list[SweepRow]:
    box = foreground_box(mask | pair.truth)
    truth, found = pair.truth[box], mask[box]
    dice, is_clean = dice_coefficient(truth, found), not truth.any()
    rows = []
    for rule in rules:
        score = score_lesions(truth, found, rule, pair.grid.spacing_mm)
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
