"""Methods compared on the same cases: Wilcoxon tests, effect sizes and mean ranks."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from segnet.evaluation.patients import CleanCase
from segnet.evaluation.summaries import Values

_DIGITS = 9  # equal scores may differ in the last bits, and would tie no more
_MOST_PERMUTED = 13  # cases; for ties among more scipy takes the normal approximation
_CLEAN_SCORES = ("false_lesions", "false_volume_mm3")


class Comparison(NamedTuple):
    """Two methods on the cases where both have the score.

    `p` is that of the two-sided Wilcoxon signed-rank test (1 where all differences are 0),
    `p_holm` the same after Holm's correction over all pairs of methods under one rule and score.
    `effect_size` is the matched-pairs rank-biserial correlation in [-1, 1]: positive where `first`
    has the larger values. All are None where no case is shared. The test takes cases for
    independent, those of one patient too.
    """

    rule: str
    metric: str
    first: str
    second: str
    cases: int
    mean_difference: float | None
    p: float | None
    p_holm: float | None
    effect_size: float | None


class MeanRank(NamedTuple):
    """Mean rank of a method over the cases where all methods have the score; 1 is the best.

    Ties share a rank. None where no such case exists.
    """

    rule: str
    metric: str
    method: str
    cases: int
    mean_rank: float | None


def clean_values(clean: Sequence[CleanCase]) -> list[Values]:
    """Gather false lesions over the patients without new lesions, as scores to compare."""
    return [
        Values(
            method,
            rule,
            f"{name}_in_clean_patients",
            {
                row.case: float(getattr(row, name))
                for row in clean
                if (row.method, row.rule) == (method, rule)
            },
        )
        for method, rule in dict.fromkeys((row.method, row.rule) for row in clean)
        for name in _CLEAN_SCORES
    ]


def compare(values: Sequence[Values]) -> list[Comparison]:
    """Compare all pairs of methods by every score; none where there is only one method."""
    compared = []
    for family in _families(values):
        compared += corrected(
            [compare_two(one, other) for one, other in itertools.combinations(family, 2)]
        )
    return compared


def corrected(pairs: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p values of comparisons for their number; those without a test stay."""
    p_holm = iter(holm(np.array([pair.p for pair in pairs if pair.p is not None], float)))
    return [pair if pair.p is None else pair._replace(p_holm=float(next(p_holm))) for pair in pairs]


def mean_ranks(values: Sequence[Values]) -> list[MeanRank]:
    """Rank the methods on each case by every score; none where there is only one method."""
    ranked = []
    for family in _families(values):
        if len(family) < 2:
            continue
        rule, metric = family[0].rule, family[0].metric
        shared = _shared(family)
        sign = 1 if is_lower_better(metric) else -1
        table = np.round([[sign * of[case] for case in shared] for of in _numbers(family)], _DIGITS)
        ranks = stats.rankdata(table, axis=0).mean(axis=1) if shared else [None] * len(family)
        ranked += [
            MeanRank(rule, metric, one.method, len(shared), None if rank is None else float(rank))
            for one, rank in zip(family, ranks, strict=True)
        ]
    return ranked


def holm(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Correct p values for their number by Holm's step-down procedure.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    factors = np.arange(p.size, 0, -1)
    corrected = np.empty(p.size)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return corrected


def is_lower_better(metric: str) -> bool:
    """Tell whether small values of a score are the good ones: distances, errors, false lesions."""
    return metric.endswith(("_mm", "_mm3")) or metric.startswith(("absolute", "false"))


def has_better_side(metric: str) -> bool:
    """Tell whether a score can be compared: a signed difference is best in the middle."""
    return metric != "volume_difference_mm3"


def compare_two(one: Values, other: Values) -> Comparison:
    """Compare two methods by one score, on the cases where both have it; p is not corrected."""
    head = (one.rule, one.metric, one.method, other.method)
    shared = _shared([one, other])
    first, second = _numbers([one, other])
    differences = np.round([first[case] - second[case] for case in shared], _DIGITS)
    if not shared:
        return Comparison(*head, 0, None, None, None, None)
    nonzero = differences[differences != 0]
    p, effect_size = 1.0, 0.0
    if nonzero.size:
        signed_ranks = stats.rankdata(np.abs(nonzero)) * np.sign(nonzero)
        p = _p_value(nonzero, signed_ranks)
        effect_size = float(signed_ranks.sum() / np.abs(signed_ranks).sum())
    return Comparison(*head, len(shared), float(differences.mean()), p, None, effect_size)


def _p_value(
    differences: Float[np.ndarray, " cases"], signed_ranks: Float[np.ndarray, " cases"]
) -> float:
    """Two-sided p of the Wilcoxon signed-rank test, as `scipy.stats.wilcoxon` chooses its form.

    Few cases with ties are its slow one: it ranks anew for each of all changes of sign, which
    leave the ranks as they are. Here each is a sum, the same p in a fortieth of the time.
    """
    has_ties = np.unique(np.abs(signed_ranks)).size < signed_ranks.size
    if not has_ties or signed_ranks.size > _MOST_PERMUTED:
        return float(stats.wilcoxon(differences).pvalue)
    tested = stats.permutation_test(
        (signed_ranks,),
        lambda ranks, axis: np.maximum(ranks, 0).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**_MOST_PERMUTED,
    )
    return float(tested.pvalue)


def _families(values: Sequence[Values]) -> list[list[Values]]:
    """Group what the methods have under one rule and score that has a better side."""
    groups: dict[tuple[str, str], list[Values]] = {}
    for one in values:
        if has_better_side(one.metric):
            groups.setdefault((one.rule, one.metric), []).append(one)
    return list(groups.values())


def _shared(family: Sequence[Values]) -> list[str]:
    """Cases in which each of the methods has the score, in a settled order."""
    known = [set(of) for of in _numbers(family)]
    return sorted(set.intersection(*known))


def _numbers(family: Sequence[Values]) -> list[dict[str, float]]:
    return [
        {case: value for case, value in one.by_case.items() if value is not None} for one in family
    ]
