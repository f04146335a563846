"""Methods at the usual threshold, and at the best of each in the test cases."""

import pytest

from segnet.comparison.cells import Cost
from segnet.comparison.gathering import Finished
from segnet.comparison.plan import Cell
from segnet.comparison.points import at_points, points_sheet
from segnet.evaluation.summaries import NO_RULE
from segnet.evaluation.sweeps import SweepRow

COST = Cost(*(None for _ in Cost._fields))


def training(method, seed, f1_by_threshold, swept="threshold"):
    """A finished training of a method: L-F1 of three cases by threshold, and a clean case's."""
    rows = []
    for value, scores in f1_by_threshold.items():
        for case, f1 in scores.items():
            clean = case == "clean"
            shown = None if clean else f1
            rows.append(
                SweepRow(
                    case, method, "overlap", swept, value, clean, f1 / 2, 0, 0, shown, 1, 0, 1, 0
                )
            )
    return Finished(Cell(method, 0, seed), COST, [], [], rows, {}, None)


def cases(a, b, c):
    return {"a": a, "b": b, "c": c, "clean": 1.0}


TRAININGS = [
    training("ours", 0, {0.2: cases(0.0, 0.0, 0.1), 0.5: cases(0.5, 0.6, 0.7)}),
    training("ours", 1, {0.2: cases(0.8, 0.8, 0.8), 0.5: cases(0.3, 0.4, 0.5)}),
    training("theirs", 0, {0.2: cases(0.5, 0.5, 0.5), 0.5: cases(0.3, 0.3, 0.3)}),
    training("theirs", 1, {0.2: cases(0.3, 0.3, 0.3), 0.5: cases(0.1, 0.1, 0.1)}),
]


@pytest.fixture
def found():
    rows = at_points(TRAININGS, "theirs")
    return {(row.point, row.rule, row.metric, row.method): row for row in rows}


def test_all_are_scored_at_the_same_threshold(found):
    ours = found["usual", "overlap", "f1", "ours"]
    assert (ours.cases, ours.mean) == (3, pytest.approx(0.5))
    assert ours.mean_difference == pytest.approx(0.3)
    assert ours.p == ours.p_holm == pytest.approx(0.25)  # the least that three cases can give
    theirs = found["usual", "overlap", "f1", "theirs"]
    assert theirs.mean == pytest.approx(0.2)
    assert (theirs.mean_difference, theirs.p, theirs.p_holm) == (None, None, None)
    assert found["usual", NO_RULE, "dice", "ours"].mean == pytest.approx(0.25)


def test_no_dice_is_given_at_thresholds_that_a_rule_chose(found):
    assert {key[:3] for key in found if key[2] == "dice"} == {("usual", NO_RULE, "dice")}


def test_each_training_has_a_best_threshold_of_its_own(found):
    # 0.5 for the first seed, 0.2 for the second
    assert found["best", "overlap", "f1", "ours"].mean == pytest.approx((0.6 + 0.8) / 2)
    assert found["best", "overlap", "f1", "theirs"].mean == pytest.approx((0.5 + 0.3) / 2)


def test_the_sheet_has_a_row_for_each_method(found):
    sheet = points_sheet(list(found.values()), "theirs")
    assert sheet.heads == (
        "method",
        "DSC at 0.5",
        "L-F1 overlap at 0.5",
        "L-F1 overlap at its best",
    )
    assert [[cell.text for cell in row] for row in sheet.rows] == [
        ["ours", "0.250 (+0.150, p 0.250)", "0.500 (+0.300, p 0.250)", "0.700 (+0.300, p 0.250)"],
        ["theirs", "0.100", "0.200", "0.400"],
    ]


def test_a_sweep_of_lesion_sizes_has_no_threshold():
    assert at_points([training("a", 0, {0.5: cases(1, 1, 1)}, "min_size_mm3")], "a") == []
    assert at_points([], "a") == []
