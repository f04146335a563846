"""Scores over cases: mean, deviation, quartiles, and a bootstrap interval of the mean."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from segnet.evaluation.case import CaseScore, VoxelRow

NO_RULE = "voxel-wise"  # what stands in the column of rules for scores that know none
_LESION_SCORES = ("ltpr", "lppv", "f1")
_VOXEL_SCORES = (*VoxelRow._fields[3:], "absolute_volume_difference_mm3")


class Values(NamedTuple):
    """One score of one method over the cases with new lesions; None where it is not defined."""

    method: str
    rule: str
    metric: str
    by_case: dict[str, float | None]


class Summary(NamedTuple):
    """One score of one method over the cases with new lesions.

    `undefined` counts the cases where the score is not defined: they are left out of all that
    follows. The interval holds 95 % of the means of resampled patients. Whatever cannot be computed
    from the cases there are is None.
    """

    method: str
    rule: str
    metric: str
    cases: int
    undefined: int
    mean: float | None
    std: float | None
    median: float | None
    lower_quartile: float | None
    upper_quartile: float | None
    ci_low: float | None
    ci_high: float | None


def values_of(scores: Sequence[CaseScore], voxels: Sequence[VoxelRow]) -> list[Values]:
    """Gather every score of every method over the cases with new lesions.

    Lesion-wise scores come under their rule, voxel-wise and surface scores under "voxel-wise". A
    score that was not asked for is left out.
    """
    gathered = []
    for method, rule in dict.fromkeys((score.method, score.rule) for score in scores):
        chosen = [s for s in scores if (s.method, s.rule) == (method, rule) and not s.is_clean]
        for metric in _LESION_SCORES:
            by_case = {score.case: getattr(score, metric) for score in chosen}
            gathered.append(Values(method, rule, metric, by_case))
    with_volume = any(row.hd95_volume_mm is not None for row in voxels)
    for method in dict.fromkeys(row.method for row in voxels):
        active = [row for row in voxels if row.method == method and not row.is_clean]
        for metric in _VOXEL_SCORES:
            if metric != "hd95_volume_mm" or with_volume:
                by_case = {row.case: _score(row, metric) for row in active}
                gathered.append(Values(method, NO_RULE, metric, by_case))
    return gathered


def summarise(values: Values, patients: Mapping[str, str], resamples: int, seed: int) -> Summary:
    """Summarise one score; `patients` tells whose case each is.

    The bootstrap draws patients, not cases: the visit pairs of one patient are no independent
    evidence.
    """
    names = [case for case, value in values.by_case.items() if value is not None]
    numbers = np.array([value for value in values.by_case.values() if value is not None], float)
    head = (values.method, values.rule, values.metric, numbers.size)
    undefined = len(values.by_case) - numbers.size
    if not numbers.size:
        return Summary(*head, undefined, *[None] * 7)
    lower, median, upper = (float(q) for q in np.percentile(numbers, [25, 50, 75]))
    std = float(numbers.std(ddof=1)) if numbers.size > 1 else None
    interval = bootstrap_interval(numbers, [patients[name] for name in names], resamples, seed)
    return Summary(
        *head,
        undefined,
        float(numbers.mean()),
        std,
        median,
        lower,
        upper,
        *(interval or (None,) * 2),
    )


def bootstrap_interval(
    values: Float[np.ndarray, " cases"], groups: Sequence[str], resamples: int, seed: int
) -> tuple[float, float] | None:
    """95 % percentile interval of the mean over resampled groups; None for a single group."""
    _, of_case = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(of_case, values), np.bincount(of_case)
    if sums.size < 2:
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.integers(sums.size, size=(resamples, sums.size))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _score(row: VoxelRow, metric: str) -> float | None:
    if metric == "absolute_volume_difference_mm3":
        return abs(row.volume_difference_mm3)
    score: float | None = getattr(row, metric)
    return score
