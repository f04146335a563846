import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.balance import SCORE_BINS, Balance, Counts, draw_counts, score_bin


@pytest.mark.parametrize(
    ("f1", "expected"), [(0.0, 0), (0.099, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.9, 9), (1.0, 9)]
)
def test_a_bin_holds_its_lower_edge_and_the_last_one_both(f1, expected):
    assert score_bin(f1) == expected


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, SCORE_BINS - 1), st.integers(0, 1000))
def test_drawn_counts_score_in_the_wanted_bin(truth_lesions, wanted, seed):
    counts = draw_counts(truth_lesions, wanted, np.random.default_rng(seed))
    if counts is not None:
        total = truth_lesions + counts.hits + counts.false
        f1 = 2 * counts.hits / total if total else 1.0
        assert counts.hits <= truth_lesions
        assert score_bin(f1) == wanted


def test_an_empty_truth_scores_one_or_zero_and_nothing_between(rng):
    assert draw_counts(0, 9, rng) == Counts(hits=0, false=0)
    assert draw_counts(0, 0, rng).false > 0
    assert {draw_counts(0, wanted, rng) for wanted in range(1, 9)} == {None}


def test_a_score_near_zero_cannot_be_reached_with_one_hit_of_one_lesion(rng):
    assert draw_counts(1, 0, rng).hits == 0


@settings(deadline=None)
@given(st.integers(0, 57))
def test_bins_end_even_to_one_pair(pairs):
    balance, rng = Balance(pairs), np.random.default_rng(0)
    filled = np.zeros(SCORE_BINS, int)
    for _ in range(pairs):
        wanted = balance.wanted(rng, at_any_score=False)
        assert balance.accept((wanted + 0.5) / SCORE_BINS, at_any_score=False)
        filled[wanted] += 1
    assert np.ptp(filled) <= 1
    assert not balance.accept(0.5, at_any_score=False)


def test_the_bins_with_the_most_room_are_wanted_unless_any_score_will_do(rng):
    balance = Balance(10)
    for number in range(10):
        if number not in (3, 8):
            assert balance.accept((number + 0.5) / 10, at_any_score=False)
    assert {balance.wanted(rng, at_any_score=False) for _ in range(100)} == {3, 8}
    assert {balance.wanted(rng, at_any_score=True) for _ in range(300)} == set(range(SCORE_BINS))


def test_a_full_bin_refuses_unless_any_score_will_do():
    balance = Balance(10)
    assert balance.accept(0.05, at_any_score=False)
    assert not balance.accept(0.05, at_any_score=False)
    assert balance.accept(0.05, at_any_score=True)
    # the pair took the place of one in another bin: eight places are left
    left = [balance.accept((number + 0.5) / 10, at_any_score=False) for number in range(10)]
    assert sum(left) == 8
