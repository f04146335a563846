"""F̂ beside the exact score: rows of patches, of cases, and the distribution of the gap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class PatchEstimate(NamedTuple):
    """Estimated and exact L-F1 of one patch; `x`, `y`, `z` count the patch along each axis."""

    case: str
    method: str
    x: int
    y: int
    z: int
    estimated_f1: float
    exact_f1: float
    gap: float


class CaseEstimate(NamedTuple):
    """Means over the patches of a case that hold a lesion of truth or prediction."""

    case: str
    method: str
    patches: int
    estimated_f1: float
    exact_f1: float
    gap: float
    absolute_gap: float


class GapSummary(NamedTuple):
    """Distribution of the gap, F̂ - exact L-F1, over all patches of a method."""

    method: str
    patches: int
    mean: float
    std: float | None
    mean_absolute: float
    percentile_5: float
    lower_quartile: float
    median: float
    upper_quartile: float
    percentile_95: float


def by_case(patches: Sequence[PatchEstimate]) -> list[CaseEstimate]:
    """Average the patches of each case and method."""
    rows = []
    for case, method in dict.fromkeys((row.case, row.method) for row in patches):
        chosen = [row for row in patches if (row.case, row.method) == (case, method)]
        numbers = np.array([(row.estimated_f1, row.exact_f1, row.gap) for row in chosen])
        estimated, exact, gap = (float(mean) for mean in numbers.mean(axis=0))
        absolute = float(np.abs(numbers[:, 2]).mean())
        rows.append(CaseEstimate(case, method, len(chosen), estimated, exact, gap, absolute))
    return rows


def gap_summaries(patches: Sequence[PatchEstimate]) -> list[GapSummary]:
    """Describe how far the estimates lie from the exact scores, for each method."""
    rows = []
    for method in dict.fromkeys(row.method for row in patches):
        gaps = np.array([row.gap for row in patches if row.method == method])
        spread = [float(value) for value in np.percentile(gaps, [5, 25, 50, 75, 95])]
        std = float(gaps.std(ddof=1)) if gaps.size > 1 else None
        absolute = float(np.abs(gaps).mean())
        rows.append(GapSummary(method, gaps.size, float(gaps.mean()), std, absolute, *spread))
    return rows
