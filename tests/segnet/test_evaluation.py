import csv

import nibabel as nib
import numpy as np
import pytest

from datagen.errors import InputError
from datagen.layouts import Case
from segnet.evaluation import aggregate, dice_coefficient, score_case


@pytest.fixture
def masks(tmp_path):
    """A truth of two lesions, a prediction of one of them and a false one, an empty mask."""
    truth, prediction, empty = np.zeros((3, 10, 10, 10), np.uint8)
    truth[1:3, 1:3, 1:3] = truth[7, 7, 7] = 1
    prediction[1:3, 1:3, 1:3] = prediction[5, 1:3, 1:5] = 1
    paths = {}
    for name, mask in {"truth": truth, "prediction": prediction, "empty": empty}.items():
        paths[name] = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(mask, np.eye(4)), paths[name])
    return paths


def case_of(truth) -> Case:
    return Case("case", "case", truth, truth, truth=truth)


def test_half_the_lesions_found_and_half_the_findings_false_scores_a_half(masks):
    score, *_ = score_case(case_of(masks["truth"]), "ours", masks["prediction"], ["overlap"])
    assert (score.ltpr, score.lppv, score.f1) == (0.5, 0.5, 0.5)
    assert score.dice == pytest.approx(2 * 8 / (9 + 16))
    assert score.predicted_volume_mm3 == 16
    assert not score.is_clean


def test_the_challenge_rule_drops_the_lesion_of_one_voxel(masks):
    score, *_ = score_case(case_of(masks["truth"]), "ours", masks["prediction"], ["msseg2"])
    assert (score.truth_lesions, score.ltpr, score.lppv) == (1, 1.0, 0.5)


def test_clean_patients_have_columns_of_their_own(masks):
    rows = score_case(case_of(masks["truth"]), "ours", masks["prediction"], ["overlap"])
    rows += score_case(case_of(masks["empty"]), "ours", masks["prediction"], ["overlap"])
    rows += score_case(case_of(masks["empty"]), "ours", masks["empty"], ["overlap"])
    (row,) = aggregate(rows)
    assert (row["cases"], row["clean_cases"]) == (1, 2)
    assert row["f1_mean"] == 0.5
    assert row["f1_std"] is None
    assert row["clean_without_false"] == 0.5
    assert (row["false_lesions_mean"], row["false_volume_mm3_mean"]) == (1.0, 8.0)


def test_a_column_without_cases_is_empty_not_nan(masks):
    rows = score_case(case_of(masks["empty"]), "ours", masks["empty"], ["msseg2"])
    (row,) = aggregate(rows)
    assert row["dice_mean"] is None
    assert row["f1_mean"] is None


def test_two_empty_masks_agree():
    empty = np.zeros((3, 3, 3), bool)
    assert dice_coefficient(empty, empty) == 1.0


def test_a_prediction_on_another_grid_is_refused(masks, tmp_path):
    shifted = nib.Nifti1Image(np.zeros((10, 10, 10), np.uint8), np.diag([2.0, 1, 1, 1]))
    nib.save(shifted, tmp_path / "shifted.nii.gz")
    with pytest.raises(InputError, match="different grids"):
        score_case(case_of(masks["truth"]), "ours", tmp_path / "shifted.nii.gz", ["overlap"])


def test_two_masks_are_scored_without_a_cohort(masks, tmp_path, run):
    options = ["--rule", "overlap", "--rule", "msseg2", "--out", tmp_path / "scores"]
    run(
        "segnet",
        "evaluate",
        "--truth",
        masks["truth"],
        "--prediction",
        masks["prediction"],
        *options,
    )
    with (tmp_path / "scores/cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["method"], row["rule"]) for row in rows] == [
        ("prediction", "overlap"),
        ("prediction", "msseg2"),
    ]


def test_folders_of_masks_are_matched_by_name(masks, tmp_path, run):
    for folder, name in (("truths", "truth"), ("found", "prediction")):
        (tmp_path / folder).mkdir()
        masks[name].rename(tmp_path / folder / "p1.nii.gz")
    truths, found = tmp_path / "truths", tmp_path / "found"
    run("segnet", "evaluate", "--truth", truths, "--prediction", found, "--out", tmp_path / "s")
    with (tmp_path / "s/cases.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["case"], row["method"], row["f1"]) == ("p1", "found", "0.5")
