"""Threshold and smallest lesion, chosen on cases whose map is known voxel by voxel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from datagen.errors import InputError
from datagen.files import read_table
from datagen.layouts import Case
from datagen.lesions import score_lesions
from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.config import PredictSettings
from segnet.data import LabelledScans
from segnet.inference import lesion_mask
from segnet.operating_point import (
    OperatingPoint,
    choose_point,
    point_of,
    read_point,
    save_point,
    score_points,
    settle_point,
)

TRUE, FALSE = np.s_[2:5, 2:5, 2:5], np.s_[10:12, 10:12, 10:12]  # 27 and 8 mm³
LARGE = np.s_[9:13, 9:13, 9:13]  # 64 mm³


def case_with(truth, probability):
    """A case whose second visit holds the logits that the network below hands on."""
    grid = Grid(truth.shape, np.eye(4))
    logits = np.log(probability / (1 - probability)).astype(np.float32)
    brain = np.ones(truth.shape, bool)
    scans = Scans(np.zeros_like(logits), logits, brain, truth, grid)
    box = (slice(None),) * 3
    case = Case("a", "a", Path("time1"), Path("time2"))
    labels = truth.astype(np.uint8)
    return LabelledScans(case, scans, labels, labels, box)


def hands_on(visits: torch.Tensor) -> torch.Tensor:
    return visits[:, 1:]


@pytest.fixture
def truth():
    truth = np.zeros((16, 16, 16), bool)
    truth[TRUE] = True
    return truth


def test_a_faint_lesion_beside_a_small_bright_false_one_moves_both_choices(truth):
    probability = np.full(truth.shape, 0.01)
    probability[TRUE], probability[FALSE] = 0.35, 0.93
    point = choose_point(hands_on, [case_with(truth, probability)] * 2, 16, "32")
    assert point == OperatingPoint(0.3, 10.0, 1.0, 2)


def test_where_all_points_are_equally_good_the_usual_one_is_kept(truth):
    point = choose_point(hands_on, [case_with(truth, np.where(truth, 0.99, 0.01))], 16, "32")
    assert point[:2] == (0.5, 3.0)


def test_a_case_without_new_lesions_is_right_when_nothing_is_found(truth):
    clean, probability = np.zeros_like(truth), np.full(truth.shape, 0.01)
    probability[FALSE] = 0.75
    point = choose_point(hands_on, [case_with(clean, probability)] * 2, 16, "32")
    assert point == OperatingPoint(0.5, 10.0, 1.0, 2)


def test_where_cases_contradict_each_other_the_mean_decides(truth):
    faint, loud = (np.full(truth.shape, 0.01) for _ in range(2))
    faint[TRUE] = 0.35  # asks for less than 0.5: L-F1 0 there, 1 below
    loud[TRUE], loud[LARGE] = 0.93, 0.45  # below 0.5 a false lesion comes in: 1 there, 2/3 below
    asks, warns = case_with(truth, faint), case_with(truth, loud)
    assert choose_point(hands_on, [asks, warns], 16, "32")[:3] == (0.3, 3.0, pytest.approx(5 / 6))
    often = [asks, *[warns] * 3]
    assert choose_point(hands_on, often, 16, "32")[:3] == (0.5, 3.0, pytest.approx(0.75))


@pytest.mark.parametrize("is_clean", [False, True])
def test_shared_labels_score_every_point_as_its_mask_alone_does(truth, is_clean, rng):
    truth[7:9, 7:9, 7] = truth[12, 12, 12] = True  # of 4 voxels, and of one
    probability = ndimage.gaussian_filter(rng.normal(0.4, 1.2, truth.shape), 1.0) + 0.3 * truth
    probability = np.clip(probability, 0.01, 0.99).astype(np.float32)
    grid = Grid(truth.shape, np.diag([1.0, 1.0, 2.0, 1.0]))
    wanted = truth & (not is_clean)
    scores = score_points(probability, case_with(wanted, probability).scans._replace(grid=grid))
    for (threshold, min_volume_mm3), score in scores.items():
        mask = lesion_mask(probability, threshold, min_volume_mm3, grid)
        overlap, official = (
            score_lesions(wanted, mask, rule, grid.spacing_mm).f1 for rule in ("overlap", "msseg2")
        )
        alone = float(not mask.any()) if official is None else official
        assert score == np.mean([overlap, alone])
    assert len(scores) == 66
    assert is_clean or len(set(scores.values())) > 10


def test_the_map_is_made_in_the_precision_that_is_asked_for(truth):
    kinds = []

    def notes(visits: torch.Tensor) -> torch.Tensor:
        kinds.append((visits[:, 1:].flatten(1) @ torch.ones(visits[0, 0].numel(), 1)).dtype)
        return visits[:, 1:]

    case = case_with(truth, np.where(truth, 0.99, 0.01))
    for precision in ("32", "bf16"):
        choose_point(notes, [case], 16, precision)
    assert kinds == [torch.float32, torch.bfloat16]


def test_flags_win_over_the_run_and_the_run_over_the_usual_point(tmp_path):
    save_point(tmp_path, OperatingPoint(0.3, 10.0, 0.6, 8))
    plain = PredictSettings(model=(tmp_path,))
    assert point_of(plain) == (0.5, 3.0)
    settled, said = settle_point(plain, [read_point(tmp_path)])
    assert point_of(settled) == (0.3, 10.0)
    assert said.endswith("threshold and volume chosen on 8 validation cases")
    given = PredictSettings(model=(tmp_path,), threshold=0.7)
    settled, said = settle_point(given, [read_point(tmp_path)])
    assert point_of(settled) == (0.7, 10.0)
    assert said.endswith("volume chosen on 8 validation cases")
    assert "threshold chosen" not in said
    settled, said = settle_point(PredictSettings(baseline="empty"), [])
    assert point_of(settled) == (0.5, 3.0)
    assert "chosen" not in said


def test_of_several_models_the_mean_of_their_points_counts():
    points = [OperatingPoint(0.3, 3.0, 0.6, 8), OperatingPoint(0.6, 10.0, 0.6, 8)]
    settled, said = settle_point(PredictSettings(), points)
    assert point_of(settled) == pytest.approx((0.45, 6.5))
    assert "threshold and volume, the mean over the models, chosen on 8 validation" in said
    settled, said = settle_point(PredictSettings(), [*points, None])
    assert point_of(settled) == (0.5, 3.0)
    assert "chosen" not in said


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"threshold": 0.5}', '{"threshold": 2, "min_volume_mm3": 3, "f1": 1, "cases": 1}'],
)
def test_a_damaged_point_is_refused(tmp_path, text):
    (tmp_path / "operating_point.json").write_text(text)
    with pytest.raises(InputError, match=r"operating_point\.json"):
        read_point(tmp_path)


def test_a_training_saves_the_point_and_predict_says_that_it_uses_it(
    tiny_cohort, tiny_run, tmp_path, run
):
    point = read_point(tiny_run)
    assert point is not None
    options = ["--model", tiny_run, "--cohort", tiny_cohort]
    said = run("segnet", "predict", *options, "--out", tmp_path / "own")
    assert f"threshold {point.threshold:g}, " in said
    assert "chosen on 1 validation case)" in said
    words = ["--threshold", point.threshold, "--min-volume-mm3", point.min_volume_mm3]
    assert "chosen on" not in run(
        "segnet", "predict", *options, *words, "--out", tmp_path / "given"
    )
    for case in ("case0", "case1", "case2", "case3"):
        own, given = (
            read_table(tmp_path / name / case / "lesions.csv") for name in ("own", "given")
        )
        assert own == given
