import numpy as np
import pytest
from scipy import stats

from segnet.evaluation.paired import compare, holm, is_lower_better, mean_ranks
from segnet.evaluation.summaries import Values, bootstrap_interval, summarise


def values(method, *numbers, metric="f1"):
    return Values(method, "overlap", metric, {f"p{i}": n for i, n in enumerate(numbers)})


def test_what_is_not_defined_is_counted_and_left_out():
    patients = {f"p{i}": f"p{i}" for i in range(4)}
    summary = summarise(values("m", 1.0, None, 2.0, 4.0), patients, 500, 0)
    assert (summary.cases, summary.undefined) == (3, 1)
    assert summary.mean == pytest.approx(7 / 3)
    assert summary.std == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert (summary.lower_quartile, summary.median, summary.upper_quartile) == (1.5, 2.0, 3.0)
    assert summary.ci_low < summary.mean < summary.ci_high


def test_a_score_without_cases_is_empty():
    assert set(summarise(values("m", None), {"p0": "p0"}, 500, 0)[5:]) == {None}


def test_the_interval_is_that_of_the_mean():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=200)
    low, high = bootstrap_interval(numbers, [str(i) for i in range(200)], 4000, 1)
    half = 1.96 * numbers.std(ddof=1) / np.sqrt(200)
    assert low == pytest.approx(numbers.mean() - half, abs=0.02)
    assert high == pytest.approx(numbers.mean() + half, abs=0.02)


def test_cases_of_one_patient_are_drawn_together():
    numbers = np.array([0.0, 0.0, 1.0, 1.0])
    assert bootstrap_interval(numbers, ["a", "a", "b", "b"], 500, 0) == (0.0, 1.0)
    assert bootstrap_interval(numbers, ["a"] * 4, 500, 0) is None


def test_the_test_is_that_of_scipy_and_the_effect_is_1_when_one_always_wins():
    first, second = [0.9, 0.8, 0.7, 0.6, 0.9], [0.5, 0.3, 0.6, 0.2, 0.1]
    (row,) = compare([values("a", *first), values("b", *second)])
    assert row.p == pytest.approx(stats.wilcoxon(first, second).pvalue)
    assert row.p_holm == row.p
    assert row.effect_size == 1.0
    assert row.mean_difference == pytest.approx(np.mean(first) - np.mean(second))


@pytest.mark.parametrize("cases", [2, 6, 9, 13, 14])
def test_ties_are_tested_as_scipy_tests_them(cases, rng):
    differences = rng.choice([-0.2, -0.1, 0.1, 0.2, 0.3], cases)
    (row,) = compare([values("a", *differences), values("b", *np.zeros(cases))])
    assert row.p == pytest.approx(stats.wilcoxon(np.round(differences, 9)).pvalue, abs=1e-12)


def test_equal_methods_do_not_differ():
    (row,) = compare([values("a", 0.5, 0.6), values("b", 0.5, 0.6)])
    assert (row.p, row.p_holm, row.effect_size) == (1.0, 1.0, 0.0)


def test_cases_that_one_method_lacks_are_not_compared():
    (row,) = compare([values("a", 0.5, None, 0.3), values("b", 0.4, 0.6, None)])
    assert row.cases == 1
    (row,) = compare([values("a", 0.5, None), values("b", None, 0.6)])
    assert (row.cases, row.p, row.p_holm) == (0, None, None)
    (first, second) = mean_ranks([values("a", 0.5, None), values("b", None, 0.6)])
    assert first.mean_rank is second.mean_rank is None


def test_holm_multiplies_the_smallest_by_their_number():
    assert holm(np.array([0.02, 0.01, 0.9])).tolist() == pytest.approx([0.04, 0.03, 0.9])
    methods = [values("a", 0.9, 0.8, 0.7), values("b", 0.5, 0.3, 0.6), values("c", 0.1, 0.1, 0.2)]
    rows = compare(methods)
    assert len(rows) == 3
    assert all(row.p_holm == pytest.approx(min(1, 3 * 0.25)) for row in rows)


@pytest.mark.parametrize(("metric", "winner"), [("f1", "a"), ("hd95_mm", "b")])
def test_rank_1_is_the_best_whether_scores_or_distances(metric, winner):
    methods = [values("a", 0.9, 0.8, metric=metric), values("b", 0.5, 0.8, metric=metric)]
    ranks = {row.method: row.mean_rank for row in mean_ranks(methods)}
    assert ranks[winner] == 1.25  # a tie shares ranks 1 and 2
    assert is_lower_better(metric) == (winner == "b")


def test_one_method_is_compared_with_nothing():
    assert compare([values("a", 0.5)]) == []
    assert mean_ranks([values("a", 0.5)]) == []


def test_differences_that_tie_but_for_rounding_tie():
    rng = np.random.default_rng(0)
    first = rng.integers(2, 9, 12).astype(float)
    second = first + rng.choice([-2.0, 2.0], 12)
    whole = compare([values("a", *first.tolist()), values("b", *second.tolist())])[0]
    tenths = [[number / 10 for number in numbers] for numbers in (first, second)]
    parts = compare([values("a", *tenths[0]), values("b", *tenths[1])])[0]
    assert (parts.p, parts.effect_size) == (whole.p, whole.effect_size)


def test_ranks_tie_where_scores_differ_by_rounding_alone():
    ranks = mean_ranks([values("a", 0.1 + 0.2), values("b", 0.3)])
    assert [row.mean_rank for row in ranks] == [1.5, 1.5]
