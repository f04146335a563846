from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.balance import (
    CELLS,
    ONE,
    SCORE_BINS,
    ZERO,
    Counts,
    Quota,
    draw_counts,
    due_scores,
    score_bin,
    score_cell,
)

ATOMS = (0.06, 0.04)


@pytest.mark.parametrize(
    ("f1", "expected"), [(0.0, 0), (0.099, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.9, 9), (1.0, 9)]
)
def test_a_bin_holds_its_lower_edge_and_the_last_one_both(f1, expected):
    assert score_bin(f1) == expected


@pytest.mark.parametrize(
    ("f1", "expected"), [(0.0, ZERO), (0.01, 1), (0.1, 2), (0.99, 10), (1.0, ONE)]
)
def test_exact_scores_have_cells_of_their_own(f1, expected):
    assert score_cell(f1) == expected


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, CELLS - 1), st.integers(0, 1000))
def test_drawn_counts_score_in_the_wanted_cell(lesions, cell, seed):
    counts = draw_counts(lesions, cell, np.random.default_rng(seed))
    if counts is not None:
        total = lesions + counts.hits + counts.false
        f1 = 2 * counts.hits / total if total else 1.0
        assert counts.hits <= lesions
        assert score_cell(f1) == cell


def test_an_empty_truth_scores_one_or_zero_and_nothing_between(rng):
    assert draw_counts(0, ONE, rng) == Counts(hits=0, false=0)
    assert draw_counts(0, ZERO, rng).false > 0
    assert {draw_counts(0, cell, rng) for cell in range(1, CELLS - 1)} == {None}


def test_counts_stay_below_what_there_is(rng):
    drawn = [draw_counts(10, 5, rng, most=(6, 3)) for _ in range(50)]
    assert all(counts.hits <= 6 and counts.false <= 3 for counts in drawn)
    assert draw_counts(10, ONE, rng, most=(6, 3)) is None


def test_scores_are_due_evenly_in_every_style_and_every_stretch():
    for start in (0, 5000):
        due = Counter(due_scores(start, start + 1200, ("a", "b", "c"), ATOMS))
        for style in "abc":
            bins = [due[style, cell] for cell in range(CELLS)]
            assert bins[ZERO] == pytest.approx(0.06 * 400, abs=2)
            assert bins[ONE] == pytest.approx(0.04 * 400, abs=2)
            even = [bins[0] + bins[1], *bins[2:10], bins[10] + bins[11]]
            assert even == pytest.approx([40] * SCORE_BINS, abs=3)


def test_what_is_due_does_not_depend_on_where_a_part_begins():
    whole = due_scores(0, 90, ("a", "b"), ATOMS, ("net", 0.3))
    assert whole == [
        one
        for start in (0, 25, 60)
        for one in due_scores(
            start, {0: 25, 25: 60, 60: 90}[start], ("a", "b"), ATOMS, ("net", 0.3)
        )
    ]


def test_an_extra_style_has_its_share():
    due = due_scores(0, 1000, ("a", "b"), ATOMS, ("net", 0.3))
    styles = Counter(style for style, _ in due)
    assert styles["net"] == 300
    assert abs(styles["a"] - styles["b"]) <= 1


def test_a_quota_takes_what_is_due_and_nothing_else(rng):
    quota = Quota([("a", 3), ("a", 3), ("b", 4)])
    assert {quota.draw(rng) for _ in range(50)} == {("a", 3), ("b", 4)}
    assert not quota.take("a", 4)
    assert quota.take("a", 3)
    assert quota.take("a", 3)
    assert not quota.take("a", 3)
    assert {quota.draw(rng) for _ in range(9)} == {("b", 4)}
    assert len(quota) == 1
