import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from datagen.boxes import foreground_box
from segnet.evaluation.surfaces import score_surfaces, surface_of, volume_hd95_mm
from segnet.evaluation.voxelwise import dice_coefficient, score_voxels

SHAPES = st.tuples(*[st.integers(1, 6)] * 3)
MASKS = SHAPES.flatmap(lambda shape: npst.arrays(bool, shape))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(*[npst.arrays(bool, shape)] * 2))
SPACING_MM = (1.0, 1.0, 3.0)


def points(*places):
    mask = np.zeros((9, 9, 9), bool)
    for place in places:
        mask[place] = True
    return mask


@given(MASKS)
def test_the_box_holds_every_voxel_and_touches_the_outermost(mask):
    box = foreground_box(mask)
    assert mask[box].sum() == mask.sum()
    if mask.any():
        assert mask[box].any(axis=(1, 2))[[0, -1]].all()
        assert mask[box].any(axis=(0, 2))[[0, -1]].all()
        assert mask[box].any(axis=(0, 1))[[0, -1]].all()
    else:
        assert mask[box].size == 1


@given(MASKS)
def test_the_surface_is_what_erosion_takes_away(mask):
    assert np.array_equal(surface_of(mask), mask & ~ndimage.binary_erosion(mask))


@given(PAIRS)
def test_swapping_the_masks_swaps_sensitivity_and_ppv_and_keeps_distances(pair):
    one, other = score_voxels(*pair, 1.0), score_voxels(*pair[::-1], 1.0)
    assert (one.sensitivity, one.ppv, one.dice) == (other.ppv, other.sensitivity, other.dice)
    assert one.volume_difference_mm3 == -other.volume_difference_mm3
    distances = (score_surfaces(*masks, SPACING_MM) for masks in (pair, pair[::-1]))
    for first, second in zip(*distances, strict=True):
        assert first == pytest.approx(second)


@given(PAIRS)
def test_a_larger_tolerance_never_lowers_boundary_dice(pair):
    relaxed = score_surfaces(*pair, (1.0, 1.0, 1.0))[2:]
    assert list(relaxed) == sorted(relaxed)
    assert relaxed[0] >= 0
    assert relaxed[-1] <= 1


@given(PAIRS)
def test_distances_are_those_of_a_distance_map(pair):
    if not all(mask.any() for mask in pair):
        return
    edges = [surface_of(mask) for mask in pair]
    maps = [ndimage.distance_transform_edt(~edge, sampling=SPACING_MM) for edge in edges]
    directed = [maps[1][edges[0]], maps[0][edges[1]]]
    score = score_surfaces(*pair, SPACING_MM)
    assert score.assd_mm == pytest.approx(np.concatenate(directed).mean())
    assert score.hd95_mm == pytest.approx(max(np.percentile(side, 95) for side in directed))


def test_one_voxel_against_its_neighbour_is_one_voxel_off():
    score = score_surfaces(points((4, 4, 4)), points((4, 4, 5)), SPACING_MM)
    assert (score.hd95_mm, score.assd_mm) == (3.0, 3.0)
    assert (score.boundary_dice, score.boundary_dice_1) == (0.0, 1.0)  # tolerances count voxels


def test_two_empty_masks_agree_and_one_has_no_distance():
    empty, one = points(), points((1, 1, 1))
    assert dice_coefficient(empty, empty) == 1.0
    assert score_surfaces(empty, empty, SPACING_MM) == (0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert score_surfaces(one, empty, SPACING_MM) == (None, None, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert score_voxels(one, empty, 2.0) == (0.0, 0.0, 0.0, -2.0)


def test_the_volume_variant_counts_voxels_inside_as_0():
    block = np.zeros((9, 9, 9), bool)
    block[:5] = True
    larger = block.copy()
    larger[5, 4, 4] = True
    assert score_surfaces(block, larger, (1.0, 1.0, 1.0)).hd95_mm == 0.0
    assert volume_hd95_mm(block, larger, (1.0, 1.0, 1.0), 9.0) == 0.0
    assert volume_hd95_mm(block, points(), (1.0, 1.0, 1.0), 9.0) == 9.0
    assert volume_hd95_mm(points(), points(), (1.0, 1.0, 1.0), 9.0) == 0.0
    far = points((0, 0, 0), (8, 8, 8))
    assert volume_hd95_mm(points((0, 0, 0)), far, (1.0, 1.0, 1.0), 9.0) == pytest.approx(
        0.95 * np.sqrt(3 * 64)
    )
