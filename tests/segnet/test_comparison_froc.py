"""Methods at the same number of false lesions."""

import pytest

from segnet.comparison.cells import Cost
from segnet.comparison.froc import found_at, found_sheet, ltpr_at
from segnet.comparison.gathering import Finished
from segnet.comparison.plan import Cell
from segnet.evaluation.sweeps import FrocPoint, SweepRow

COST = Cost(*(None for _ in Cost._fields))


def curve(*points):
    """A curve of (threshold, false lesions per patient, LTPR)."""
    return [FrocPoint("ours", "overlap", *point) for point in points]


def training(method, seed, counts, fold=0):
    """A training with a patient of ten lesions and a clean one: (hits, false ones) by threshold."""
    rows = []
    for threshold, (hits, false) in counts.items():
        for clean in (False, True):
            lesions, found, wrong = (0, 0, 0) if clean else (10, hits, false)
            rows.append(
                SweepRow(
                    f"{fold}{'clean' if clean else 'patient'}",
                    method,
                    "overlap",
                    "threshold",
                    threshold,
                    clean,
                    0.0,
                    1.0 if clean else hits / 10,
                    0.0,
                    0.0,
                    lesions,
                    found,
                    found + wrong,
                    wrong,
                )
            )
    return Finished(Cell(method, fold, seed), COST, [], [], rows, {}, None)


def test_a_share_between_two_thresholds_is_interpolated():
    found = curve((0.2, 6.0, 0.9), (0.5, 3.0, 0.8), (0.8, 1.0, 0.4))
    assert ltpr_at(found, 2.0) == pytest.approx(0.6)
    assert ltpr_at(found, 3.0) == pytest.approx(0.8)
    assert ltpr_at(found, 1.0) == pytest.approx(0.4)
    assert ltpr_at(found, 6.0) == pytest.approx(0.9)


def test_where_lesions_grow_together_the_higher_threshold_counts():
    # at 0.2 there are fewer false lesions again, as what was several is one
    found = curve((0.2, 2.0, 0.3), (0.5, 4.0, 0.8), (0.8, 1.0, 0.5))
    assert ltpr_at(found, 2.0) == pytest.approx(0.6)


def test_the_highest_threshold_of_a_number_counts():
    assert ltpr_at(curve((0.7, 3.0, 0.6), (0.9, 3.0, 0.4)), 3.0) == pytest.approx(0.4)
    assert ltpr_at(curve((0.9, 3.0, 0.4)), 3.0) == pytest.approx(0.4)


def test_a_highest_threshold_with_more_false_lesions_leaves_a_number_open():
    assert ltpr_at(curve((0.9, 5.0, 0.4), (0.7, 2.0, 0.6), (0.5, 4.0, 0.8)), 3.0) is None


@pytest.mark.parametrize("false_lesions", [0.5, 7.0])
def test_a_number_that_no_threshold_leads_to_is_left_open(false_lesions):
    assert ltpr_at(curve((0.2, 6.0, 0.9), (0.8, 1.0, 0.4)), false_lesions) is None


def test_without_a_lesion_to_find_there_is_no_share():
    assert ltpr_at(curve((0.2, 6.0, None), (0.8, 1.0, None)), 3.0) is None
    assert ltpr_at([], 3.0) is None


def test_seeds_are_averaged_and_folds_are_one_curve():
    both = [
        training("ours", 0, {0.2: (10, 8), 0.8: (4, 0)}),
        training("ours", 1, {0.2: (8, 8), 0.8: (4, 0)}),
        # two folds, of which the first has all false lesions, over twice the patients
        training("theirs", 0, {0.2: (10, 16), 0.8: (2, 0)}),
        training("theirs", 0, {0.2: (6, 0), 0.8: (2, 0)}, fold=1),
    ]
    rows = {(row.method, row.false_lesions_per_patient): row for row in found_at(both)}
    ours = rows["ours", 2]  # of two patients each, half of the way to 8 false lesions
    assert (ours.rule, ours.seeds) == ("overlap", 2)
    assert (ours.ltpr, ours.lowest, ours.highest) == pytest.approx((0.65, 0.6, 0.7))
    assert rows["theirs", 2].ltpr == pytest.approx(0.5)  # 2 to 8 of 10
    assert {number for _, number in rows} == {1, 2, 3, 4}


def test_a_number_that_one_seed_does_not_reach_has_no_mean():
    both = [
        training("ours", 0, {0.2: (10, 8), 0.8: (4, 0)}),
        training("ours", 1, {0.2: (8, 8), 0.8: (4, 4)}),
    ]
    rows = {row.false_lesions_per_patient: row for row in found_at(both)}
    assert rows[1][3:] == (2, None, None, None)
    assert rows[2].ltpr == pytest.approx((0.7 + 0.4) / 2)
    assert [cell.text for cell in found_sheet(list(rows.values())).rows[0]] == [
        "ours",
        "–",
        "0.550 (0.400 to 0.700)",
        "0.725 (0.600 to 0.850)",
        "0.900 (0.800 to 1.000)",
    ]


def test_without_probability_maps_there_is_nothing_to_read():
    assert found_at([training("ours", 0, {})]) == []
    assert found_at([]) == []
