import numpy as np
import pytest

from datagen.lesions import label_lesions, score_lesions
from segnet.evaluation.sweeps import summarise_sweep, sweep_min_sizes, sweep_thresholds
from segnet.evaluation.tabulation import as_rows


@pytest.fixture
def pair(pair_of):
    """Two true lesions; a sure hit, an unsure hit, an unsure false lesion, and a false voxel."""
    truth, prediction = np.zeros((2, 1, 1, 40), bool)
    probability = np.zeros((1, 1, 40), np.float32)
    truth[..., 0:5] = truth[..., 10:15] = True
    probability[..., 0:5] = 0.9
    probability[..., 10:15] = probability[..., 20:25] = 0.4
    probability[..., 30] = 0.95
    prediction[...] = probability >= 0.5
    return pair_of(truth, prediction, probability)


def test_a_lower_threshold_finds_more_and_invents_more(pair):
    rows = sweep_thresholds("case", "method", pair, ["overlap"], (0.3, 0.5), min_volume_mm3=3.0)
    found = [(row.truth_hits, row.false_lesions, row.ltpr) for row in rows]
    assert found == [(2, 1, 1.0), (1, 0, 0.5)]


def test_lesions_up_to_the_volume_are_dropped_at_every_threshold(pair):
    counts = [
        sweep_thresholds("case", "method", pair, ["overlap"], (0.5,), volume)[0].predicted_lesions
        for volume in (0.0, 1.0, 5.0)
    ]
    assert counts == [2, 1, 0]


def test_a_larger_minimum_drops_the_false_voxel_before_the_lesion(pair):
    rows = sweep_min_sizes("case", "method", pair, ["overlap"], (0.0, 1.0, 5.0))
    assert [(row.false_lesions, row.truth_hits) for row in rows] == [(1, 1), (0, 1), (0, 0)]


def test_without_a_map_there_is_no_sweep_over_thresholds(pair):
    bare = pair._replace(probability=None)
    assert sweep_thresholds("case", "method", bare, ["overlap"], (0.5,), 0.0) == []


def test_froc_counts_false_lesions_in_clean_patients_too(pair):
    clean = pair._replace(truth=np.zeros_like(pair.truth))
    rows = sweep_thresholds("a", "method", pair, ["overlap", "msseg2"], (0.3,), 3.0)
    rows += sweep_thresholds("b", "method", clean, ["overlap", "msseg2"], (0.3,), 3.0)
    point, challenge = summarise_sweep(rows, "threshold")
    assert (point.cases, point.clean_cases) == (1, 1)
    assert (point.pooled_ltpr, point.ltpr) == (1.0, 1.0)
    assert point.false_lesions_per_patient == (1 + 3) / 2
    assert (challenge.rule, challenge.f1) == ("msseg2", 0.8)


def test_without_any_truth_lesion_the_means_are_empty(pair):
    clean = pair._replace(truth=np.zeros_like(pair.truth))
    rows = sweep_min_sizes("case", "method", clean, ["overlap"], (0.0,))
    (point,) = as_rows(summarise_sweep(rows, "min_size_mm3"))
    assert {point[name] for name in ("dice", "ltpr", "lppv", "f1", "pooled_ltpr")} == {None}


def cleaned(mask, min_volume_mm3):
    """The mask without its lesions of up to a volume, one by one (voxels of 1 mm³)."""
    labels, count = label_lesions(mask)
    kept = [label for label in range(1, count + 1) if (labels == label).sum() > min_volume_mm3]
    return np.isin(labels, kept)


@pytest.mark.parametrize("min_volume_mm3", [0.0, 1.0, 3.0, 1000.0])
def test_every_point_of_a_sweep_is_the_score_of_that_mask_alone(pair_of, min_volume_mm3):
    rng = np.random.default_rng(3)
    probability = rng.random((12, 11, 10)).astype(np.float32) ** 4
    pair = pair_of(rng.random(probability.shape) > 0.95, probability >= 0.5, probability)
    rules = ("msseg2", "geo", "overlap")
    thresholds = (0.3, 0.5, 0.9)
    rows = sweep_thresholds("case", "method", pair, rules, thresholds, min_volume_mm3)
    rows += sweep_min_sizes("case", "method", pair, rules, (min_volume_mm3,))
    masks = [cleaned(probability >= value, min_volume_mm3) for value in (*thresholds, 0.5)]
    expected = [score_lesions(pair.truth, mask, rule) for mask in masks for rule in rules]
    assert [(row.ltpr, row.lppv, row.f1, row.predicted_lesions) for row in rows] == [
        (score.ltpr, score.lppv, score.f1, score.predicted_lesions) for score in expected
    ]


def test_a_case_that_two_trainings_predicted_counts_once(pair):
    rows = sweep_thresholds("a", "method", pair, ["overlap"], (0.3,), 3.0)
    rows += sweep_thresholds("a", "method", pair, ["overlap"], (0.3,), 3.0)
    (point,) = summarise_sweep(rows, "threshold")
    assert (point.cases, point.clean_cases) == (1, 0)


def test_a_case_that_more_trainings_predicted_weighs_no_more(pair):
    (found,) = sweep_thresholds("a", "method", pair, ["overlap"], (0.3,), 3.0)
    missed = found._replace(case="b", f1=0.0, truth_hits=0, false_lesions=4)
    found = found._replace(f1=1.0, truth_hits=found.truth_lesions, false_lesions=0)
    (point,) = summarise_sweep([found, found, found, missed], "threshold")
    assert point.f1 == point.pooled_ltpr == 0.5
    assert point.false_lesions_per_patient == 2
