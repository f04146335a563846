import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from datagen.balance import Counts
from datagen.lesions import label_lesions, score_lesions
from datagen.perturb import perturb

EDGE = 24
SHAPES = (np.ones((2, 2, 2), bool), np.ones((3, 1, 2), bool))
CUBE = np.ones((3, 3, 3), bool)
SEEDS = st.integers(0, 10_000)


def labelled(*corners, size=3):
    """Numbered cube lesions of the given size."""
    truth = np.zeros((EDGE,) * 3, bool)
    for x, y, z in corners:
        truth[x : x + size, y : y + size, z : z + size] = True
    return label_lesions(truth)[0]


SIX = labelled((4, 4, 4), (4, 4, 16), (4, 16, 4), (16, 4, 4), (16, 16, 16), (4, 16, 16))
NONE = labelled()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 6), st.integers(0, 12), SEEDS)
def test_a_prediction_is_a_map_between_zero_and_one_and_spares_the_truth(hits, false, seed):
    before = SIX.copy()
    drawn = perturb(SIX, Counts(hits, false), SHAPES, np.random.default_rng(seed))
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    np.testing.assert_array_equal(SIX, before)
    again = perturb(SIX, Counts(hits, false), SHAPES, np.random.default_rng(seed))
    np.testing.assert_array_equal(drawn, again)


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_missed_lesions_stay_below_one_half_where_they_are(seed):
    drawn = perturb(SIX, Counts(0, 0), SHAPES, np.random.default_rng(seed))
    assert drawn.max() < 0.5
    assert not drawn[SIX == 0].any()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), SEEDS)
def test_kept_lesions_are_hit_and_no_others(hits, seed):
    drawn = perturb(SIX, Counts(hits, 0), SHAPES, np.random.default_rng(seed))
    score = score_lesions(SIX > 0, drawn >= 0.5)
    # a lesion that lies on the way between two joined ones may be hit too; a cube of 3 voxels that
    # moves by up to 2 still overlaps with itself
    assert hits <= score.truth_hits <= hits + 1


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 12), SEEDS)
def test_invented_lesions_lie_apart_from_the_truth_and_from_each_other(false, seed):
    drawn = perturb(SIX, Counts(0, false), SHAPES, np.random.default_rng(seed)) >= 0.5
    assert label_lesions(drawn)[1] == false
    assert not (drawn & ndimage.binary_dilation(SIX > 0, CUBE)).any()


def test_nothing_becomes_nothing(rng):
    assert not perturb(NONE, Counts(0, 0), SHAPES, rng).any()
    assert not perturb(NONE, Counts(0, 5), (), rng).any()


def test_an_empty_truth_can_get_false_lesions(rng):
    drawn = perturb(NONE, Counts(0, 3), SHAPES, rng)
    assert label_lesions(drawn >= 0.5)[1] == 3


def test_shapes_of_more_than_half_the_patch_are_not_invented(rng):
    assert not perturb(NONE, Counts(0, 5), (np.ones((1, 1, 13), bool),), rng).any()


def test_a_patch_without_room_gets_fewer_false_lesions(rng):
    full = labelled((0, 0, 0), size=EDGE)
    assert perturb(full, Counts(0, 5), SHAPES, rng).max() < 0.5


@pytest.mark.parametrize("corner", [(8, 8, 8), (0, 8, 18), (0, 0, 0), (18, 18, 18)])
def test_a_found_lesion_stays_within_two_voxels_of_its_place(corner):
    labels = labelled(corner, size=6)
    near = ndimage.binary_dilation(labels > 0, CUBE, iterations=2)
    for seed in range(150):
        drawn = perturb(labels, Counts(1, 0), SHAPES, np.random.default_rng(seed))
        assert (drawn >= 0.5).any()
        assert not drawn[~near].any()


def test_edits_are_of_several_kinds():
    labels = labelled((8, 8, 8), size=6)
    pieces, voxels = set(), set()
    for seed in range(100):
        drawn = perturb(labels, Counts(1, 0), SHAPES, np.random.default_rng(seed)) >= 0.5
        pieces.add(label_lesions(drawn)[1])
        voxels.add(int(drawn.sum()))
    assert pieces == {1, 2}  # whole, and split
    assert min(voxels) < 6**3 < max(voxels)  # shrunk, and grown


def test_lesions_are_merged_now_and_then():
    merged = [
        label_lesions(perturb(SIX, Counts(6, 0), SHAPES, np.random.default_rng(seed)) >= 0.5)[1] < 6
        for seed in range(60)
    ]
    assert 0 < sum(merged) < 60
