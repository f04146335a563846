"""Run folders, scores and reports that cannot be read, resumed or made."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datagen.files import read_table

TRAIN = "segnet train --cohort cohort --alpha 0"
SCORE = "segnet evaluate --out new --truth"


def rewrite(name, old, new):
    def change():
        path = Path(name)
        path.write_text(path.read_text().replace(old, new))

    return change


def cut(name):
    def change():
        path = Path(name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return change


RUNS = {
    "has no run": (Path("run/config.toml").unlink, "config.toml"),
    "has broken settings": (rewrite("run/config.toml", "=", "["), "config.toml"),
    "has other settings": (rewrite("run/config.toml", "channels = 8", "channels = 16"), "run"),
    "is an estimator": (rewrite("run/config.toml", "[segnet.train]", "[metricnet.train]"), "run"),
    "has no weights": (Path("run/best.ckpt").unlink, "best.ckpt"),
    "has weights cut off": (cut("run/best.ckpt"), "best.ckpt"),
    "has code for weights": (
        lambda: torch.save({"state_dict": Path("x")}, "run/best.ckpt"),
        "best.ckpt",
    ),
}


@pytest.mark.parametrize("kind", RUNS)
def test_predict_refuses_a_model_that(kind, refuses):
    change, named = RUNS[kind]
    change()
    refuses("segnet predict --model run --cohort cohort --out new", named)


# runs to go on with


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (TRAIN, ("run", "--resume")),
        (f"{TRAIN} --resume --seed 7", ("seed", "7")),
        ("metricnet train --pairs pairs.h5 --resume", ("run",)),
    ],
    ids=["again", "with another seed", "as another command"],
)
def test_a_run_is_not_begun(command, named, refuses):
    refuses(f"{command} --out run", *named)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.toml", lambda: Path("run/config.toml").write_text("broken [")),
        ("last.ckpt", cut("run/last.ckpt")),
    ],
    ids=["settings", "checkpoint"],
)
def test_train_refuses_to_resume_from_broken(name, change, refuses):
    change()
    refuses(f"{TRAIN} --out run --resume", name)


@pytest.mark.parametrize("is_added", [True, False])
def test_train_refuses_to_resume_on_other_cases(is_added, refuses):
    if is_added:
        shutil.copytree("cohort/p0", "cohort/p9")
    else:
        shutil.rmtree("cohort/p2")
    refuses(f"{TRAIN} --out run --resume", "is new, gone or in another split", "run/cohort.csv")


def test_a_run_on_a_cohort_with_an_emoji_in_its_path_can_be_used(work, call):
    Path("cohort").rename("cohort 🧠")
    assert call("segnet train --cohort 'cohort 🧠' --alpha 0 --out new").exit_code == 0
    result = call("segnet predict --model new --cohort 'cohort 🧠' --out predicted")
    assert result.exit_code == 0, result.stderr


# scores


@pytest.mark.parametrize(
    ("truth", "prediction", "named"),
    [
        ("cohort", "none", "none"),
        ("one/truth.nii.gz", "pairs.h5", "pairs.h5"),
        ("one/truth.nii.gz", "one/time1.nii.gz", "one/time1.nii.gz"),
        ("one/truth.nii.gz", "predictions/p0/probability.nii.gz", "probability.nii.gz"),
        ("cohort", "one/truth.nii.gz", "one/truth.nii.gz"),
        ("cohort", "predictions --split test", "test"),
    ],
    ids=[
        "no prediction",
        "no NIfTI",
        "a scan as prediction",
        "a probability as prediction",
        "one mask for all cases",
        "a split without cases",
    ],
)
def test_evaluate_refuses(truth, prediction, named, refuses):
    refuses(f"{SCORE} {truth} --prediction {prediction}", named)


def test_evaluate_refuses_a_prediction_on_another_grid(refuses, write, load):
    write(Path("other.nii.gz"), load("one/truth.nii.gz"), np.eye(4)[[1, 0, 2, 3]])
    refuses(f"{SCORE} one/truth.nii.gz --prediction other.nii.gz", "other.nii.gz", "grid")


def test_evaluate_scores_the_others_where_a_prediction_is_missing(work, call):
    shutil.rmtree("predictions/p1")
    result = call(f"{SCORE} cohort --prediction predictions")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert "case p1: no prediction" in result.stderr
    assert "2 cases" in result.stdout
    assert "1 failed" in result.stdout
    assert [row["case"] for row in read_table(Path("new/cases.csv"))] == ["p0", "p2"]
    (failure,) = read_table(Path("new/failures.csv"))
    assert (failure["case"], failure["method"]) == ("p1", "predictions")
    assert call("segnet report --scores new --out new.html").exit_code == 0
    assert "1 predictions could not be scored" in Path("new.html").read_text()


def test_evaluate_refuses_where_no_prediction_can_be_scored(refuses):
    for case in ("p0", "p1", "p2"):
        shutil.rmtree(f"predictions/{case}")
    refuses(f"{SCORE} cohort --prediction predictions", "p0")


# reports

HISTORY = Path("run/history.csv")
REPORTS = {
    "no history": (HISTORY.unlink, "history.csv"),
    "a history of words": (lambda: HISTORY.write_text("epoch,validation/dice\n1,half\n"), "half"),
    "a history without scores": (lambda: HISTORY.write_text("epoch,speed\n1,2\n"), "history.csv"),
    "no scores": (lambda: shutil.rmtree("scores"), "scores"),
    "no cases": (Path("scores/cases.csv").unlink, "cases.csv"),
    "no columns": (rewrite("scores/sources.csv", "time1", "visit1"), "scores"),
}


@pytest.mark.parametrize("kind", REPORTS)
def test_report_refuses(kind, refuses):
    change, named = REPORTS[kind]
    change()
    refuses("segnet report run --scores scores --out new.html", named)


def test_report_refuses_to_be_about_nothing(refuses):
    refuses("segnet report --out new.html", "RUN", "--scores")


def test_report_names_a_prediction_that_has_gone(refuses, call):
    # the table names absolute paths: score again, here
    call("segnet evaluate --truth cohort --prediction predictions --out again")
    shutil.rmtree("predictions/p0")
    refuses("segnet report run --scores again --out new.html", "predictions/p0")
