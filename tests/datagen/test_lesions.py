import csv
import itertools
import math

import jaxtyping
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from datagen.lesions import label_lesions, match_lesions, score_lesions

RULES = ("overlap", "geo", "msseg2")
SHAPES = st.tuples(*[st.integers(1, 6)] * 3)
MASKS = SHAPES.flatmap(lambda shape: npst.arrays(bool, shape))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(*[npst.arrays(bool, shape)] * 2))


def line(length, *runs):
    """A mask of one row of voxels that is true in the runs (start, stop)."""
    mask = np.zeros((1, 1, length), bool)
    for start, stop in runs:
        mask[..., start:stop] = True
    return mask


def oracle(shared, pair):
    folder = shared / "oracle" / "matching"
    with (folder / "expected.csv").open() as stream:
        row = next(row for row in csv.DictReader(stream) if row["pair"] == pair)
    masks = [nib.load(folder / f"{pair}_{name}.nii.gz") for name in ("truth", "prediction")]
    truth, prediction = (np.asanyarray(mask.dataobj) > 0 for mask in masks)
    spacing_mm = tuple(float(zoom) for zoom in masks[0].header.get_zooms()[:3])
    return row, truth, prediction, spacing_mm


def is_printed_as(value, cell, decimals):
    """Tell whether the value rounds to the cell; a blank or nan cell says nothing."""
    if cell in ("", "nan"):
        return True
    return value is not None and abs(value - float(cell)) <= 0.5001 * 10.0**-decimals


ORACLE_PAIRS = [
    "p01_identical_mni18",
    "p03_erode1_mni03",
    "p05_addfp_mni27",
    "p07_shift2_mni17",
    "p09_mix_mni02",
    "p11_mix_mni08",
    "p13_mix_mni26",
    "p15_mix_mni01_full",
    "p17_split_mni15",
    "p18_emptygt_mni29",
    "p19_emptypred_mni29",
    "p21_onlytiny",
    "p23_alpha",
    "p25_gamma",
    "p27_bridge_split_syn",
    "p29_identical_lon13",
    "p31_erode1_lon02",
    "p33_mix_lon10",
    "p35_mix_lon09",
]


def test_every_row_of_the_reference_table_is_tested(shared):
    with (shared / "oracle" / "matching" / "expected.csv").open() as stream:
        assert [row["pair"] for row in csv.DictReader(stream)] == ORACLE_PAIRS


@pytest.mark.parametrize("pair", ORACLE_PAIRS)
def test_scores_equal_those_of_other_programs(shared, pair):
    row, truth, prediction, spacing_mm = oracle(shared, pair)
    overlap = score_lesions(truth, prediction, "overlap", spacing_mm)
    geo = score_lesions(truth, prediction, "geo", spacing_mm)
    msseg2 = score_lesions(truth, prediction, "msseg2", spacing_mm)
    printed = {
        "anyoverlap26.LTPR": (overlap.ltpr, 4),
        "anyoverlap26.LPPV": (overlap.lppv, 4),
        "anyoverlap26.LF1": (overlap.f1, 4),
        "wmhchallenge_26.f1": (overlap.f1, 4),
        "anyoverlap26.LPPV_geo": (geo.lppv, 4),
        "anyoverlap26.LF1_geo": (geo.f1, 4),
        "msseg2.default.SensL": (msseg2.ltpr, 6),
        "msseg2.default.PPVL": (msseg2.lppv, 6),
        "msseg2.default.F1_score": (msseg2.f1, 6),
        "msseg2.default.NbTestedLesions": (msseg2.predicted_lesions, 0),
        "msseg2.default.VolTestedLesions": (msseg2.predicted_volume_mm3, 2),
    }
    wrong = {
        column: (value, row[column])
        for column, (value, decimals) in printed.items()
        if not is_printed_as(value, row[column], decimals)
    }
    assert not wrong
    assert (msseg2.f1 is None) == (row["msseg2.default.F1_score"] == "")


def flood_fill(mask):
    """Components under 26 neighbours as sets of voxels, the obvious and slow way."""
    left = {tuple(int(place) for place in voxel) for voxel in np.argwhere(mask)}
    lesions = []
    while left:
        lesion, edge = set(), [left.pop()]
        while edge:
            voxel = edge.pop()
            lesion.add(voxel)
            for step in itertools.product((-1, 0, 1), repeat=3):
                near = tuple(place + move for place, move in zip(voxel, step, strict=True))
                if near in left:
                    left.remove(near)
                    edge.append(near)
        lesions.append(lesion)
    return lesions


@settings(deadline=None, max_examples=150)
@given(PAIRS)
def test_overlap_counts_equal_those_of_a_flood_fill(masks):
    truths, predictions = (flood_fill(mask) for mask in masks)
    score = score_lesions(*masks)
    assert (score.truth_lesions, score.predicted_lesions) == (len(truths), len(predictions))
    assert score.truth_hits == sum(any(a & b for b in predictions) for a in truths)
    assert score.predicted_hits == sum(any(a & b for a in truths) for b in predictions)


@settings(deadline=None)
@given(PAIRS)
def test_f1_is_the_harmonic_mean_of_the_two_rates(masks):
    score = score_lesions(*masks)
    if score.truth_hits:
        assert score.ltpr == score.truth_hits / score.truth_lesions
        assert score.lppv == score.predicted_hits / score.predicted_lesions
        assert math.isclose(1 / score.f1, (1 / score.ltpr + 1 / score.lppv) / 2)


@settings(deadline=None)
@given(MASKS)
def test_a_mask_detects_all_of_its_own_lesions(mask):
    for rule in ("overlap", "geo"):
        assert score_lesions(mask, mask, rule)[:3] == (1.0, 1.0, 1.0)
    official = score_lesions(mask, mask, "msseg2")
    assert official.truth_hits == official.truth_lesions == official.predicted_hits


@settings(deadline=None)
@given(PAIRS)
def test_swapping_the_masks_swaps_ltpr_and_lppv(masks):
    truth, prediction = masks
    forward, backward = score_lesions(truth, prediction), score_lesions(prediction, truth)
    assert (forward.ltpr, forward.lppv, forward.f1) == (backward.lppv, backward.ltpr, backward.f1)


@pytest.mark.parametrize("rule", ["overlap", "geo"])
def test_two_empty_masks_score_one(rule):
    empty = line(5)
    assert score_lesions(empty, empty, rule) == (1.0, 1.0, 1.0, 0, 0, 0, 0, None)


@pytest.mark.parametrize("rule", ["overlap", "geo"])
def test_one_empty_mask_scores_zero(rule):
    empty, full = line(9), line(9, (0, 5))
    assert score_lesions(empty, full, rule) == (0.0, 0.0, 0.0, 0, 1, 0, 0, None)
    assert score_lesions(full, empty, rule) == (0.0, 0.0, 0.0, 1, 0, 0, 0, None)


def test_empty_truth_has_no_f1_under_msseg2_but_a_count_and_a_volume():
    prediction = line(20, (0, 5), (6, 10), (11, 13))  # the last one is too small to count
    score = score_lesions(line(20), prediction, "msseg2", (1.0, 1.0, 2.0))
    assert (score.f1, score.predicted_lesions, score.predicted_volume_mm3) == (None, 3, 22.0)
    score = score_lesions(line(20), prediction, "msseg2")
    assert (score.f1, score.predicted_lesions, score.predicted_volume_mm3) == (None, 2, 9.0)


def test_empty_prediction_scores_zero_under_msseg2():
    score = score_lesions(line(9, (0, 5)), line(9), "msseg2")
    assert (score.ltpr, score.lppv, score.f1, score.predicted_volume_mm3) == (0.0, 0.0, 0.0, None)


def test_lesions_that_touch_by_a_corner_are_one_unless_faces_are_asked_for():
    diagonal = np.eye(4, dtype=bool)[None]
    assert label_lesions(diagonal)[1] == 1
    assert label_lesions(diagonal, 6)[1] == 4


def test_single_voxels_that_share_a_row_or_a_plane_are_counted():
    plane = np.zeros((1, 5, 5), bool)
    plane[:, ::2, ::2] = True
    assert label_lesions(plane)[1] == 9
    empty, both_ends = line(9), line(9, (3, 4), (5, 6))  # their bounding box is 3 voxels long
    assert score_lesions(empty, both_ends).predicted_lesions == 2


def test_a_volume_without_voxels_holds_no_lesion():
    nothing = np.zeros((0, 3, 3), bool)
    assert score_lesions(nothing, nothing).f1 == 1.0


def test_geo_counts_a_truth_split_in_two_as_half_a_precision():
    score = score_lesions(line(9, (0, 9)), line(9, (0, 4), (5, 9)), "geo")
    assert (score.ltpr, score.lppv) == (1.0, 0.5)


def test_geo_precision_exceeds_one_where_a_prediction_joins_two_lesions():
    assert score_lesions(line(9, (0, 4), (5, 9)), line(9, (0, 9)), "geo").lppv == 2.0


def test_matching_numbers_the_lesions_and_says_which_are_hit():
    matching = match_lesions(line(9, (1, 3), (6, 8)), line(9, (7, 9)))
    assert matching.truth_labels.ravel().tolist() == [0, 1, 1, 0, 0, 0, 2, 2, 0]
    assert matching.predicted_labels.ravel().tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert matching.truth_hit.tolist() == [False, True]
    assert matching.predicted_hit.tolist() == [True]


@pytest.fixture
def unchecked():
    """The annotations, which the test run checks, would refuse first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("rule", RULES)
def test_masks_of_different_shapes_are_refused(rule):
    with pytest.raises(ValueError, match=r"\(1, 1, 3\) and prediction \(1, 1, 4\)"):
        score_lesions(line(3), line(4), rule)


# the boundaries of the official rule


@pytest.mark.parametrize(("covered", "hits"), [(4, 0), (5, 1)])
def test_msseg2_needs_more_than_a_tenth_of_a_lesion(covered, hits):
    score = score_lesions(line(40, (0, 40)), line(40, (0, covered)), "msseg2")
    assert score.truth_hits == hits


@pytest.mark.parametrize(("end", "hits"), [(11, 1), (12, 0)])
def test_msseg2_allows_seven_tenths_of_a_component_outside(end, hits):
    # three voxels of the prediction lie inside the truth, 7 or 8 outside
    score = score_lesions(line(12, (0, 4)), line(12, (1, end)), "msseg2")
    assert score.truth_hits == hits


@pytest.mark.parametrize(("first", "hits"), [(13, 1), (12, 0)])
def test_msseg2_stops_looking_once_65_percent_of_the_overlap_is_explained(first, hits):
    # the second component lies mostly outside and is looked at when the first explains 12 / 19
    truth = line(41, (0, first + 8))
    prediction = line(41, (0, first), (first + 1, first + 28))
    assert score_lesions(truth, prediction, "msseg2").truth_hits == hits


def test_msseg2_looks_at_the_largest_overlap_first():
    # of 20 shared voxels the second component holds 13, and it lies inside
    truth = line(60, (20, 41))
    prediction = line(60, (0, 27), (28, 41))
    assert score_lesions(truth, prediction, "msseg2").truth_hits == 1


@pytest.mark.parametrize(
    ("spacing_mm", "voxels"),
    [((1.0, 1.0, 1.0), 3), ((0.5, 0.5, 1.0), 12), ((0.1, 0.3, 1.0), 100)],
)
def test_msseg2_drops_three_cubic_millimetres_and_keeps_more(spacing_mm, voxels):
    smallest, larger = line(120, (0, voxels)), line(120, (0, voxels + 1))
    assert score_lesions(smallest, smallest, "msseg2", spacing_mm).truth_lesions == 0
    assert score_lesions(larger, larger, "msseg2", spacing_mm).truth_lesions == 1


def test_msseg2_counts_a_dropped_lesion_as_outside():
    # 11 predicted voxels: 3 in the lesion, 1 in a speck that is no lesion, 7 in the background
    truth, prediction = line(20, (0, 4), (8, 9)), line(20, (1, 12))
    assert score_lesions(truth, prediction, "msseg2").truth_hits == 0


def test_msseg2_joins_voxels_by_faces():
    corner = np.zeros((2, 2, 8), bool)
    corner[0, 0, :4] = corner[1, 1, 4:] = True
    assert score_lesions(corner, corner, "msseg2").truth_lesions == 2


@pytest.mark.parametrize("places", [[], [(3, 60, 119)], [(0, 0, 0), (100, 50, 7), (119, 119, 119)]])
def test_lesions_of_a_large_volume_are_labelled_where_they_are(places):
    mask = np.zeros((120, 120, 120), bool)
    for place in places:
        mask[place] = True
    labels, count = label_lesions(mask)
    assert count == len(places)
    np.testing.assert_array_equal(labels > 0, mask)
