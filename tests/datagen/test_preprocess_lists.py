"""What is listed of a folder of prepared cases, whatever becomes of a further call."""

import shutil

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner

from datagen.cli import main
from datagen.cohort import read_cohort, write_cohort
from datagen.files import read_table

VISITS = tuple(f"flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2))


@pytest.fixture
def place(tmp_path):
    """Two patients in `raw`."""
    scan = np.zeros((12, 12, 12), np.int64)  # a type that some programs write
    scan[3:9, 3:9, 3:9] = np.arange(1, 217).reshape(6, 6, 6)
    for name in ("a", "b"):
        for visit in VISITS:
            path = tmp_path / "raw" / name / visit
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(scan, np.eye(4), dtype=np.int64), path)
    return tmp_path


def preprocess(raw, out, *words):
    plain = ["--no-bias", "--no-register", "--no-strip"]
    command = ["preprocess", raw, "--out", out, *plain, *words]
    return CliRunner().invoke(main, [str(word) for word in command])


def listed(out):
    return [(case.name, case.split) for case in read_cohort(out)]


def into_test(out, name):
    """Edit the list by hand: a case is for the test."""
    cases = [
        case._replace(split="test") if case.name == name else case for case in read_cohort(out)
    ]
    write_cohort(cases, out / "cohort.csv")


def test_a_case_that_cannot_be_used_does_not_stop_the_others(place):
    out = place / "out"
    (place / "raw/a" / VISITS[0]).write_text("no scan")
    result = preprocess(place / "raw", out)
    assert result.exit_code == 3, result.output
    assert "case a: " in result.stderr
    assert "wrote 1 case to" in result.stdout
    assert "1 failed" in result.stdout
    (case,) = read_cohort(out)
    assert case.name == "b"
    assert np.asanyarray(nib.load(case.time2).dataobj).max() == 216
    # another patient comes into the same folder, whose list was edited meanwhile
    into_test(out, "b")
    shutil.copytree(place / "raw/b", place / "more/c")
    assert preprocess(place / "more", out, "--resume").exit_code == 0
    assert listed(out) == [("b", "test"), ("c", None)]
    assert [row["case"] for row in read_table(out / "preprocess.csv")] == ["b", "c"]


def test_a_further_call_that_fails_leaves_the_finished_cases_listed(place):
    out = place / "out"
    assert preprocess(place / "raw", out).exit_code == 0
    into_test(out, "a")
    shutil.copytree(place / "raw/a", place / "raw/c")
    result = preprocess(place / "raw", out, "--spacing-mm", "2", "--resume")
    assert result.exit_code == 3
    assert result.stderr.count("was made with other options") == 2
    assert listed(out) == [("a", "test"), ("b", None), ("c", None)]
    assert [row["case"] for row in read_table(out / "preprocess.csv")] == ["a", "b", "c"]


def test_a_deleted_case_is_made_again_and_keeps_its_split(place):
    out = place / "out"
    assert preprocess(place / "raw", out).exit_code == 0
    into_test(out, "a")
    shutil.rmtree(out / "a")
    result = preprocess(place / "raw", out, "--resume")
    assert result.exit_code == 0, result.output
    assert listed(out) == [("a", "test"), ("b", None)]


def test_a_deleted_case_that_fails_is_no_longer_listed(place):
    out = place / "out"
    assert preprocess(place / "raw", out).exit_code == 0
    shutil.rmtree(out / "a")
    (place / "raw/a" / VISITS[0]).write_text("no scan")
    assert preprocess(place / "raw", out, "--resume").exit_code == 3
    assert listed(out) == [("b", None)]
