import numpy as np
import pytest

from segnet.postprocessing import close_gaps, keep_largest

MM = (1.0, 1.0, 1.0)


@pytest.fixture
def gap() -> np.ndarray:
    """Two slabs of one class with a gap of one voxel, and a voxel of another class."""
    labels = np.zeros((9, 5, 5), np.uint8)
    labels[1:4], labels[5:8] = 1, 1
    labels[8, 4, 4] = 2
    return labels


def test_a_gap_within_the_ball_is_closed(gap):
    closed = close_gaps(gap, 1.0, MM)
    assert (closed[4] == 1).all()
    assert closed[8, 4, 4] == 2
    assert (closed[0] == 0).all()


def test_a_gap_wider_than_the_ball_stays_open(gap):
    assert np.array_equal(close_gaps(gap, 1.0, (1.5, 1.0, 1.0)), gap)
    assert np.array_equal(close_gaps(gap, 0.0, MM), gap)


def test_closing_takes_no_voxel_from_another_class(gap):
    gap[4, 2, 2] = 2
    closed = close_gaps(gap, 1.0, MM)
    assert closed[4, 2, 2] == 2
    assert (closed[4] == 1).sum() == 24


def test_closing_does_not_eat_what_touches_the_border():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:2] = 1
    assert np.array_equal(close_gaps(labels, 2.0, MM), labels)


def test_the_largest_components_stay_whatever_their_class():
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[0, 0, :5], labels[3, 3, :3], labels[6, 6, :4] = 1, 1, 2
    kept = keep_largest(labels, 2)
    assert (kept == 1).sum() == 5
    assert (kept == 2).sum() == 4
    assert np.array_equal(keep_largest(labels, 9), labels)


def test_touching_bones_are_components_of_their_own():
    labels = np.zeros((6, 3, 3), np.uint8)
    labels[:3], labels[3:] = 1, 2
    labels[3, 0, 0] = 0
    assert set(np.unique(keep_largest(labels, 1))) == {0, 1}


def test_nothing_is_the_largest_of_nothing():
    assert not keep_largest(np.zeros((3, 3, 3), np.uint8), 3).any()


def test_a_spacing_that_is_rounded_closes_what_the_exact_one_closes(gap):
    rounded = (1.0000001, 1.0, 1.0)
    assert np.array_equal(close_gaps(gap, 1.0, rounded), close_gaps(gap, 1.0, MM))
    assert not np.array_equal(close_gaps(gap, 1.0, rounded), gap)
