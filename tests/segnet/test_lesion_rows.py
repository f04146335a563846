import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from datagen.lesions import match_lesions, score_lesions
from datagen.volumes import Grid
from segnet.evaluation.lesion_rows import list_lesions, recall_by_size

PAIRS = st.tuples(*[st.integers(1, 6)] * 3).flatmap(
    lambda shape: st.tuples(*[npst.arrays(bool, shape)] * 2)
)


def rows_of(truth, prediction, rule="overlap", probability=None, spacing_mm=(1.0, 1.0, 1.0)):
    grid = Grid(truth.shape, np.diag([*spacing_mm, 1.0]))
    matching = match_lesions(truth, prediction, rule, spacing_mm)
    return list_lesions("case", "method", rule, matching, grid, probability)


def line(*runs):
    mask = np.zeros((1, 1, 20), bool)
    for start, stop in runs:
        mask[..., start:stop] = True
    return mask


def test_a_lesion_split_in_two_names_both_partners_the_larger_first():
    rows = rows_of(line((2, 10)), line((2, 4), (6, 10), (15, 17)))
    of = {(row.side, row.id): row for row in rows}
    assert of["truth", 1].partners == "2 1"
    assert of["truth", 1].overlap_mm3 == 6.0
    assert [of["predicted", lesion].outcome for lesion in (1, 2, 3)] == ["hit", "hit", "false"]
    assert of["predicted", 3].partners == ""


def test_volume_and_centroid_are_in_millimetres():
    (row,) = rows_of(line((2, 5)), line(), spacing_mm=(2.0, 1.0, 3.0))
    assert (row.outcome, row.volume_mm3) == ("missed", 18.0)
    assert (row.x_mm, row.y_mm, row.z_mm) == (0.0, 0.0, 9.0)
    assert row.peak_probability is None


def test_peak_and_mean_are_those_inside_the_lesion():
    probability = np.linspace(0, 1, 20, dtype=np.float32).reshape(1, 1, 20)
    rows = rows_of(line((2, 5)), line((10, 12)), probability=probability)
    assert [row.peak_probability for row in rows] == pytest.approx([4 / 19, 11 / 19])
    assert [row.mean_probability for row in rows] == pytest.approx([3 / 19, 10.5 / 19])


@given(PAIRS, st.sampled_from(["overlap", "geo", "msseg2"]))
def test_the_rows_add_up_to_the_score(pair, rule):
    rows, score = rows_of(*pair, rule), score_lesions(*pair, rule)
    outcomes = [(row.side, row.outcome) for row in rows]
    assert outcomes.count(("truth", "hit")) == score.truth_hits
    assert outcomes.count(("predicted", "hit")) == score.predicted_hits
    assert len(rows) == score.truth_lesions + score.predicted_lesions
    bins = recall_by_size(rows, (3.0, 10.0))
    assert sum(one.truth_lesions for one in bins) == score.truth_lesions
    false = score.predicted_lesions - score.predicted_hits
    assert sum(one.false_lesions for one in bins) == false


def test_a_lesion_of_exactly_an_edge_falls_below_it():
    rows = rows_of(line((0, 3), (5, 9)), line((0, 1)))
    bins = recall_by_size(rows, (3.0, 10.0))
    assert [(one.truth_lesions, one.ltpr) for one in bins] == [(1, 1.0), (1, 0.0), (0, None)]
    assert [(one.above_mm3, one.up_to_mm3) for one in bins] == [(0, 3), (3, 10), (10, None)]


def test_two_empty_masks_have_no_rows():
    assert rows_of(line(), line()) == []
