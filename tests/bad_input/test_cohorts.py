"""Cohorts that cannot be listed, predicted or trained on."""

import shutil
from pathlib import Path

import numpy as np
import pytest

FILES = ("time1.nii.gz", "time2.nii.gz", "truth.nii.gz", "brain.nii.gz")
HEADER = "case,time1,time2,truth,brain_mask,split,patient\n"
TRAIN = "segnet train --alpha 0 --out new --cohort"
TIME2, TRUTH = "flair_time02_on_middle_space.nii.gz", "ground_truth.nii.gz"


def row(name, split="", patient="", folder="one"):
    return f"{name},{','.join(f'{folder}/{file}' for file in FILES)},{split},{patient}\n"


TABLES = {
    "is UTF-16": ((HEADER + row("a")).encode("utf-16"), "CSV"),
    "names no such file": (HEADER + row("a", folder="two"), "two/time1.nii.gz"),
    "names two cases alike": (HEADER + row("a") + row("a"), "'a'"),
    "has a nameless case": (HEADER + row(""), "case"),
    "has a name that leads out": (HEADER + row("../../a"), "../../a"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_cohort_refuses_a_list_that(kind, refuses):
    content, named = TABLES[kind]
    Path("list.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    refuses("datagen cohort list.csv --out new.csv", "list.csv", named)


def test_predict_refuses_a_broken_list_too(refuses):
    Path("list.csv").write_text(HEADER + row("a", folder="two"))
    command = "segnet predict --baseline empty --cohort list.csv --out new"
    refuses(command, "list.csv", "two/time1.nii.gz")


def test_cohort_refuses_a_bids_subject_with_one_session(refuses):
    scan = Path("bids/sub-1/ses-01/anat/sub-1_ses-01_FLAIR.nii.gz")
    scan.parent.mkdir(parents=True)
    shutil.copy("one/time1.nii.gz", scan)
    Path("bids/dataset_description.json").write_text("{}")
    refuses("datagen cohort bids --out new.csv", "sub-1", "two sessions")


@pytest.mark.parametrize("command", ["datagen cohort --out new.csv", TRAIN])
def test_a_missing_and_an_empty_folder_are_refused(command, refuses):
    refuses(f"{command} none", "none")
    Path("none").mkdir()
    refuses(f"{command} none", "none")


def test_cohort_refuses_a_case_without_visit_2(refuses):
    Path(f"cohort/p1/{TIME2}").unlink()
    refuses("datagen cohort cohort --out new.csv", "p1", TIME2)


def test_train_refuses_a_cohort_of_one_patient(refuses):
    Path("list.csv").write_text(HEADER + row("a", patient="x") + row("b", patient="x"))
    refuses(f"{TRAIN} list.csv", "one patient")


def test_train_refuses_a_cohort_without_validation_cases(refuses):
    Path("list.csv").write_text(HEADER + row("a", split="train") + row("b"))
    refuses(f"{TRAIN} list.csv", "'validation'")


def test_train_refuses_cases_without_truth(refuses):
    for case in Path("cohort").iterdir():
        (case / TRUTH).unlink()
    refuses(f"{TRAIN} cohort", "p0", "truth")


def test_train_refuses_a_cohort_without_any_new_lesion(refuses, write):
    for case in Path("cohort").iterdir():
        write(case / TRUTH, np.zeros((32, 32, 32), np.uint8))
    refuses(f"{TRAIN} cohort", "new lesion")


MASKS = {
    "three values": lambda mask: mask + (np.arange(32) < 4).astype(np.uint8) * 5,
    "another shape": lambda mask: mask[:-1],
}


@pytest.mark.parametrize("kind", MASKS)
def test_train_refuses_a_truth_with(kind, refuses, write, load):
    path = Path("cohort/p1") / TRUTH
    write(path, MASKS[kind](load(path)))
    refuses(f"{TRAIN} cohort", str(path))


def test_predict_keeps_the_cases_before_a_broken_one_whole(work, call, load):
    Path(f"cohort/p2/{TIME2}").write_text("no scan")
    result = call("segnet predict --baseline subtraction --cohort cohort --out new")
    assert result.exit_code == 2
    assert f"cohort/p2/{TIME2}" in result.stderr
    assert sorted(path.name for path in Path("new").iterdir()) == ["p0", "p1"]
    for case in ("p0", "p1"):
        for name in ("new_lesions.nii.gz", "probability.nii.gz"):
            np.testing.assert_array_equal(
                load(f"new/{case}/{name}"), load(f"predictions/{case}/{name}")
            )
