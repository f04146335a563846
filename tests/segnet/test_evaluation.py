"""Scores of cases and of patients, as 'segnet evaluate' computes and writes them."""

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from datagen.errors import InputError
from datagen.files import read_table
from segnet.evaluation.case import Choices, evaluate_case
from segnet.evaluation.pairs import Found, Job, read_pair
from segnet.evaluation.patients import clean_cases, patient_level


@pytest.fixture
def score(case_of):
    """Score a mask against a truth under one rule."""

    def of(truth, prediction, rule="overlap"):
        job = Job(case_of(truth), "ours", prediction, None)
        return evaluate_case(job, Choices((rule,)))

    return of


@pytest.fixture
def evaluate(tmp_path, run):
    """Run the command and read one of its tables: evaluate(table, truth, prediction, options)."""

    def table_of(name, truth, prediction, *options):
        out = tmp_path / "scores"
        inputs = ["--truth", truth, "--prediction", prediction, "--out", out, "--workers", "1"]
        run("segnet", "evaluate", *inputs, *options)
        return read_table(out / f"{name}.csv")

    return table_of


def test_half_the_lesions_found_and_half_the_findings_false_scores_a_half(masks, score):
    result = score(masks["truth"], masks["prediction"])
    (of_rule,) = result.scores
    assert (of_rule.ltpr, of_rule.lppv, of_rule.f1) == (0.5, 0.5, 0.5)
    assert of_rule.dice == pytest.approx(2 * 8 / (9 + 16))
    assert of_rule.predicted_volume_mm3 == 16
    assert not of_rule.is_clean
    assert result.voxels.dice == of_rule.dice
    assert result.voxels.volume_difference_mm3 == 7


def test_the_challenge_rule_drops_the_lesion_of_one_voxel(masks, score):
    (of_rule,) = score(masks["truth"], masks["prediction"], "msseg2").scores
    assert (of_rule.truth_lesions, of_rule.ltpr, of_rule.lppv) == (1, 1.0, 0.5)


def test_the_volume_counts_lesions_of_the_rule_alone(masks, score):
    as_prediction = masks["truth"]  # eight voxels, and one that the challenge does not count
    volumes = {
        rule: score(masks["empty"], as_prediction, rule).scores[0].predicted_volume_mm3
        for rule in ("overlap", "msseg2")
    }
    assert volumes == {"overlap": 9.0, "msseg2": 8.0}


def test_patients_are_judged_by_having_any_lesion(masks, score):
    scores = score(masks["truth"], masks["prediction"]).scores
    scores += score(masks["truth"], masks["empty"]).scores
    scores += score(masks["empty"], masks["prediction"]).scores
    scores += score(masks["empty"], masks["empty"]).scores
    scores += score(masks["empty"], masks["empty"]).scores
    (level,) = patient_level(scores)
    assert (level.active_called_active, level.active_called_clean) == (1, 1)
    assert (level.clean_called_clean, level.clean_called_active) == (2, 1)
    assert level.sensitivity == 0.5
    assert level.specificity == pytest.approx(2 / 3)
    assert (level.false_lesions_mean, level.false_lesions_most) == (pytest.approx(2 / 3), 2)
    assert level.false_volume_mm3_mean == pytest.approx(16 / 3)
    assert [row.false_lesions for row in clean_cases(scores)] == [2, 0, 0]


def test_without_clean_patients_nothing_is_said_of_them(masks, score):
    (level,) = patient_level(score(masks["truth"], masks["prediction"]).scores)
    assert level.specificity is None
    assert level.false_lesions_mean is None


def test_a_prediction_on_another_grid_is_refused(masks, score, tmp_path):
    shifted = nib.Nifti1Image(np.zeros((10, 10, 10), np.uint8), np.diag([2.0, 1, 1, 1]))
    nib.save(shifted, tmp_path / "shifted.nii.gz")
    with pytest.raises(InputError, match="different grids"):
        score(masks["truth"], tmp_path / "shifted.nii.gz")


def test_the_scores_of_a_cut_pair_are_those_of_the_whole(masks, case_of):
    pair = read_pair(case_of(masks["truth"]), Found(masks["prediction"], None), 0.5)
    assert pair.truth.shape == (7, 7, 7)
    assert pair.grid.affine[:3, 3].tolist() == [1.0, 1.0, 1.0]
    assert pair.diagonal_mm == pytest.approx(np.sqrt(300))


def test_two_masks_are_scored_without_a_cohort(masks, evaluate):
    rules = ("--rule", "overlap", "--rule", "msseg2", "--rule", "geo")
    rows = evaluate("cases", masks["truth"], masks["prediction"], *rules)
    assert [(row["method"], row["rule"]) for row in rows] == [
        ("prediction", "overlap"),
        ("prediction", "msseg2"),
        ("prediction", "geo"),
    ]


def test_folders_of_masks_are_matched_by_name(masks, evaluate, tmp_path):
    for folder, name in (("truths", "truth"), ("found", "prediction")):
        (tmp_path / folder).mkdir()
        masks[name].rename(tmp_path / folder / "p1.nii.gz")
    (row,) = evaluate("cases", tmp_path / "truths", tmp_path / "found")
    assert (row["case"], row["method"], row["f1"]) == ("p1", "found", "0.5")


def test_a_method_is_named_by_its_folder_wherever_it_is_called_from(
    masks, evaluate, tmp_path, monkeypatch
):
    folder = tmp_path / "ours"
    folder.mkdir()
    shutil.copy(masks["prediction"], folder / "truth.nii.gz")
    monkeypatch.chdir(folder)
    assert {row["method"] for row in evaluate("cases", masks["truth"], Path())} == {"ours"}
    (tmp_path / "link").symlink_to(folder)
    named = evaluate("cases", masks["truth"], tmp_path / "link")
    assert {row["method"] for row in named} == {"link"}


def test_a_truth_that_is_scored_against_itself_is_told(masks, evaluate):
    (note,) = evaluate("notes", masks["truth"], masks["truth"])
    assert note["note"].endswith("truth.nii.gz is the truth itself")


def test_hidden_files_of_a_folder_are_no_masks(masks, evaluate, tmp_path):
    for folder, name in (("truths", "truth"), ("found", "prediction")):
        (tmp_path / folder).mkdir()
        for stem in ("p1", "._p1"):
            shutil.copy(masks[name], tmp_path / folder / f"{stem}.nii.gz")
    rows = evaluate("cases", tmp_path / "truths", tmp_path / "found")
    assert [row["case"] for row in rows] == ["p1"]


def test_a_mean_without_cases_is_empty_not_nan(masks, evaluate):
    rows = evaluate("aggregate", masks["empty"], masks["empty"], "--rule", "msseg2")
    assert {row["mean"] for row in rows} == {""}
    assert {row["cases"] for row in rows} == {"0"}


def test_no_table_holds_nan_or_infinity(masks, evaluate, tmp_path):
    for folder, names in {
        "truths": ("truth", "empty", "truth", "empty"),
        "found": ("prediction", "prediction", "empty", "empty"),
    }.items():
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            shutil.copy(masks[name], tmp_path / folder / f"p{number}.nii.gz")
    rules = ("--rule", "overlap", "--rule", "msseg2", "--rule", "geo", "--volume-hd95")
    rows = evaluate("cases", tmp_path / "truths", tmp_path / "found", *rules)
    assert len(rows) == 12  # no row is dropped
    for path in (tmp_path / "scores").glob("*.csv"):
        with path.open() as stream:
            cells = {cell.lower() for line in csv.reader(stream) for cell in line}
        assert not cells & {"nan", "inf", "-inf", "none"}, path.name


def test_the_volume_variant_is_an_option(masks, evaluate):
    (row,) = evaluate("voxelwise", masks["truth"], masks["prediction"])
    assert row["hd95_volume_mm"] == ""
    (row,) = evaluate("voxelwise", masks["truth"], masks["prediction"], "--volume-hd95")
    assert float(row["hd95_volume_mm"]) > 0


def test_a_map_for_each_prediction_may_be_given(masks, evaluate, tmp_path):
    voxels = np.asanyarray(nib.load(masks["prediction"]).dataobj) * np.float32(0.7)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "map.nii.gz")
    options = ("--probability", tmp_path / "map.nii.gz", "--threshold", "0.3", "--threshold", "0.8")
    rows = evaluate("thresholds", masks["truth"], masks["prediction"], *options)
    assert [(row["value"], row["ltpr"]) for row in rows] == [("0.3", "0.5"), ("0.8", "0.0")]


def test_two_workers_write_the_same_tables_as_one(tiny_cohort, tmp_path, run):
    found = tmp_path / "found"
    run("segnet", "predict", "--baseline", "subtraction", "--cohort", tiny_cohort, "--out", found)
    inputs = ["--truth", tiny_cohort, "--prediction", found]
    for workers in (1, 2):
        out = tmp_path / str(workers)
        run("segnet", "evaluate", *inputs, "--workers", workers, "--out", out)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def test_tables_of_an_evaluation_before_do_not_stay(masks, evaluate, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copy(masks["empty"], tmp_path / "other" / "truth.nii.gz")
    (tmp_path / "found").mkdir()
    shutil.copy(masks["prediction"], tmp_path / "found" / "truth.nii.gz")
    (tmp_path / "truths").mkdir()
    shutil.copy(masks["truth"], tmp_path / "truths" / "truth.nii.gz")
    truths, found = tmp_path / "truths", tmp_path / "found"
    evaluate("cases", truths, found, "--prediction", tmp_path / "other")
    assert (tmp_path / "scores" / "comparisons.md").is_file()
    evaluate("cases", truths, found)
    assert not (tmp_path / "scores" / "comparisons.md").exists()
    assert not (tmp_path / "scores" / "comparisons.tex").exists()


def test_a_stray_volume_in_a_cohorts_folder_changes_nothing(tiny_cohort, tmp_path, run):
    cohort = shutil.copytree(tiny_cohort, tmp_path / "cohort")
    run("segnet", "predict", "--baseline", "empty", "--cohort", cohort, "--out", tmp_path / "found")
    shutil.copy(next(cohort.glob("*/ground_truth.nii.gz")), cohort / "atlas.nii.gz")
    options = ["--prediction", tmp_path / "found", "--out", tmp_path / "scores", "--workers", "1"]
    run("segnet", "evaluate", "--truth", cohort, *options)
    assert len(read_table(tmp_path / "scores/cases.csv")) == 4


def test_maps_beside_the_masks_of_a_folder_are_found(masks, evaluate, tmp_path):
    for folder, name in (("truths", "truth"), ("found", "prediction")):
        (tmp_path / folder).mkdir()
        shutil.copy(masks[name], tmp_path / folder / "p1.nii.gz")
    shutil.copy(masks["prediction"], tmp_path / "found/p1_probability.nii.gz")
    assert evaluate("thresholds", tmp_path / "truths", tmp_path / "found")
    assert read_table(tmp_path / "scores/notes.csv") == []
