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


def test_cohort_refuses_a_bids_data_set_with_one_session_per_subject(refuses):
    scan = Path("bids/sub-1/ses-01/anat/sub-1_ses-01_FLAIR.nii.gz")
    scan.parent.mkdir(parents=True)
    shutil.copy("one/time1.nii.gz", scan)
    Path("bids/dataset_description.json").write_text("{}")
    refuses("datagen cohort bids --out new.csv", "sub-1", "two sessions")


def test_cohort_refuses_to_overwrite_a_list(refuses):
    Path("list.csv").write_text("edited by hand")
    refuses("datagen cohort cohort --out list.csv", "list.csv is there already", "another --out")


@pytest.mark.parametrize(
    "command",
    ["datagen cohort masks --single-visits --out new.csv", "datagen synthesise --scans masks"],
)
def test_a_folder_without_scans_holds_no_single_visit(command, refuses):
    Path("masks").mkdir()
    shutil.copy("one/truth.nii.gz", "masks/p0.nii.gz")
    refuses(command, "masks holds no single visit", "<patient>/flair.nii.gz")


def test_cohort_counts_what_it_found(work, call):
    result = call("datagen cohort cohort --out new.csv")
    counts = "3 with a truth, 3 with a brain mask"
    assert result.stdout == f"wrote 3 cases of 3 patients to new.csv: {counts}\n"
    assert result.stderr == ""


def test_cohort_says_that_it_reads_the_list_of_a_folder(work, call):
    Path("cohort.csv").write_text(HEADER + row("a", "train") + row("b", "test"))
    result = call("datagen cohort . --out new.csv")
    assert "cases are those of cohort.csv" in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout.endswith(", splits: 1 train, 1 test\n")


def test_cohort_reads_single_visits_beside_a_list_without_a_word_on_it(work, call):
    Path("singles/p0").mkdir(parents=True)
    shutil.copy("one/time1.nii.gz", "singles/p0/flair.nii.gz")
    shutil.copy("one/truth.nii.gz", "singles/p0/ground_truth.nii.gz")
    Path("singles/cohort.csv").write_text(HEADER)
    result = call("datagen cohort singles --single-visits --out new.csv")
    assert (result.exit_code, result.stderr) == (0, "")


def test_cohort_says_that_no_case_could_be_swapped(work, call):
    result = call("datagen cohort cohort --both-orders --out new.csv")
    assert "no case could be swapped: vanished_lesions.nii.gz lies beside none" in result.stderr
    assert result.stdout.startswith("wrote 3 cases ")
    shutil.copy(f"cohort/p0/{TRUTH}", "cohort/p0/vanished_lesions.nii.gz")
    assert call("datagen cohort cohort --both-orders --out both.csv").stderr == ""


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


def test_train_refuses_a_cohort_without_cases_to_train_on(refuses):
    Path("list.csv").write_text(HEADER + row("a", split="validation") + row("b", split="test"))
    refuses(f"{TRAIN} list.csv", "'train'")


def test_train_refuses_one_patient_beside_those_to_test(refuses):
    Path("list.csv").write_text(HEADER + row("a") + row("b", split="test"))
    refuses(f"{TRAIN} list.csv", "one patient to train on, a")


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


def test_predict_goes_on_after_a_broken_case(work, call, load):
    Path(f"cohort/p1/{TIME2}").write_text("no scan")
    result = call("segnet predict --baseline subtraction --cohort cohort --out new")
    assert result.exit_code == 3
    assert f"case p1: cohort/p1/{TIME2}" in result.stderr
    assert sorted(path.name for path in Path("new").glob("p*")) == ["p0", "p2"]
    for case in ("p0", "p2"):
        for name in ("new_lesions.nii.gz", "probability.nii.gz"):
            np.testing.assert_array_equal(
                load(f"new/{case}/{name}"), load(f"predictions/{case}/{name}")
            )
