import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.bank import signed_distance
from datagen.strokes import Stroke, capsule, logit, paint_logits, paint_mask, sigmoid

SHAPE = (12, 12, 12)
PLACES = st.tuples(*[st.integers(-9, 20)] * 3)


def cube(edge=3, corner=(2, 2, 2)):
    """A cube lesion of `edge` voxels in a box with a margin of four."""
    return Stroke(signed_distance(np.pad(np.ones((edge,) * 3, bool), 4)), corner)


def voxel_at(place):
    return np.array(place, float)


def test_a_stroke_is_drawn_where_it_lies():
    mask = paint_mask([cube(corner=(-2, 0, 3))], SHAPE)
    assert mask.sum() == 27
    assert mask[2:5, 4:7, 7:10].all()


@settings(deadline=None)
@given(PLACES)
def test_what_lies_outside_of_the_patch_is_cut_off(corner):
    stroke = cube(corner=corner)
    wide = paint_mask([stroke.shifted((24, 24, 24))], (60, 60, 60))
    np.testing.assert_array_equal(paint_mask([stroke], SHAPE), wide[24:36, 24:36, 24:36])


def test_a_grown_stroke_gains_its_neighbours_and_a_shrunk_one_keeps_its_core():
    stroke = cube(corner=(0, 0, 0))
    assert paint_mask([stroke.grown(0.6)], SHAPE).sum() == 27 + 6 * 9
    assert paint_mask([stroke.grown(-9.0)], SHAPE).sum() == 1


def test_a_thin_stroke_is_drawn_as_thick_as_asked_and_a_thick_one_as_it_is():
    thin, thick = cube(1), cube(5)
    assert paint_mask([thin.at_least(2.0)], SHAPE).sum() > 7
    assert thick.at_least(2.0) == thick


def test_probability_inside_reaches_the_peak_and_no_more():
    stroke = cube()._replace(peak=0.7)
    probability = sigmoid(paint_logits([stroke], SHAPE))
    assert probability.max() == pytest.approx(0.7, abs=1e-4)
    assert probability[0, 0, 0] < 1e-3
    assert ((probability >= 0.5) == paint_mask([stroke], SHAPE)).all()


def test_a_soft_edge_falls_slowly():
    soft = sigmoid(paint_logits([cube()], SHAPE, gain=1.0))
    assert 0.3 < soft[5, 7, 7] < 0.5 < soft[6, 7, 7]


def test_a_capsule_joins_its_ends():
    rod = paint_mask([capsule(voxel_at((2, 2, 2)), voxel_at((9, 2, 2)), 1.1)], SHAPE)
    assert rod[1:11, 2, 2].all()
    assert rod[5, 1:4, 2].all()
    assert not rod[5, 5, 2]


def test_a_capsule_of_no_length_is_a_ball():
    ball = paint_mask([capsule(voxel_at((5, 5, 5)), voxel_at((5, 5, 5)), 1.2)], SHAPE)
    assert ball.sum() == 7


@settings(deadline=None)
@given(st.floats(0.001, 0.999))
def test_logit_is_the_inverse_of_the_sigmoid(probability):
    volume = np.full((1, 1, 1), logit(probability), np.float32)
    assert sigmoid(volume).item() == pytest.approx(probability, abs=1e-4)


def test_certainty_has_a_finite_logit():
    assert logit(1.0) == pytest.approx(-logit(0.0))
    assert logit(1.0) < 10
