"""Validation patients that can tell a good epoch from an empty one."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from datagen.cohort import read_cohort, write_cohort
from datagen.errors import InputError
from datagen.layouts import Case
from segnet import preparation
from segnet.config import TrainSettings
from segnet.data import read_labelled_cases
from segnet.splits import with_active_validation


@pytest.fixture
def case_of(tmp_path):
    """A case of a split whose truth is empty or not; no scan is there."""

    def build(name: str, split: str | None, is_active: bool) -> Case:
        truth = np.zeros((4, 4, 4), np.uint8)
        truth[1, 1, 1] = is_active
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(truth, np.eye(4)), path)
        return Case(name, name, Path("1.nii"), Path("2.nii"), path, None, split)

    return build


def test_a_patient_with_new_lesions_takes_the_place_of_a_clean_one(case_of):
    cases = [
        case_of("clean", "validation", False),
        case_of("old", "train", False),
        case_of("first", "train", True),
        case_of("second", "train", True),
        case_of("tested", "test", True),
    ]
    splits = {case.name: case.split for case in with_active_validation(cases)}
    assert splits == {
        "clean": "train",
        "old": "train",
        "first": "validation",
        "second": "train",
        "tested": "test",
    }


@pytest.mark.parametrize("active", [("a", "b"), ("b",), ()])
def test_nothing_is_swapped_where_it_need_not_or_cannot_be(case_of, active):
    cases = [
        case_of("a", "validation", "a" in active),
        case_of("b", "train", "b" in active),
        case_of("c", "train", False),
    ]
    assert with_active_validation(cases) == cases


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_validation_has_new_lesions_whatever_the_seed(tiny_cohort, seed):
    # the last of its four patients is clean
    settings = TrainSettings(cohort=tiny_cohort, alpha=0, seed=seed, validation_fraction=0.2)
    training, validation = preparation.read_splits(settings)
    assert (len(training), len(validation)) == (3, 1)
    assert preparation.choose_judges(validation) == validation


def test_clean_validation_patients_that_a_cohort_sets_are_refused(tiny_cohort, tmp_path):
    folders = sorted(path for path in tiny_cohort.iterdir() if path.is_dir())
    cases = [
        Case(
            folder.name,
            folder.name,
            *(folder / f"flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2)),
            folder / "ground_truth.nii.gz",
            split="validation" if folder.name == "case3" else "train",
        )
        for folder in folders
    ]
    write_cohort(cases, tmp_path / "cohort.csv")
    settings = TrainSettings(cohort=tmp_path / "cohort.csv", alpha=0)
    _, validation = preparation.read_splits(settings)
    with pytest.raises(InputError, match="none of the 1 validation cases has a new lesion"):
        preparation.choose_judges(validation)


def test_it_is_said_where_no_case_can_be_reversed(tiny_cohort):
    cases = read_labelled_cases(read_cohort(tiny_cohort), 1.0, 2)
    asked, plain = (TrainSettings(cohort=tiny_cohort, reverse_visits=on) for on in (True, False))
    said = preparation.say_of_cases(asked, cases, [], cases)
    assert "--reverse-visits adds none, as no vanished_lesions.nii.gz is there" in said
    assert "--reverse-visits" not in preparation.say_of_cases(plain, cases, [], cases)
    vanished = cases[0].case._replace(truth=cases[0].case.truth.parent / "vanished_lesions.nii.gz")
    both = [*cases, cases[0]._replace(case=vanished)]
    assert "--reverse-visits" not in preparation.say_of_cases(asked, both, [], cases)


def test_cases_and_an_estimator_are_known_again(tiny_cohort, tiny_estimator, tmp_path):
    copied = shutil.copytree(tiny_cohort, tmp_path / "cohort")
    cases = read_labelled_cases(read_cohort(copied), 1.0, 2)
    settings = TrainSettings(cohort=copied, alpha=0)
    few, more = (
        preparation.checksums_of(settings, cases[:3], cases[:count])["--synthetic"]
        for count in (2, 3)
    )
    assert few != more
    known = preparation.checksums_of(settings, cases[:3], cases[1::-1])
    assert known.keys() == {"--cohort", "--synthetic"}
    assert known["--synthetic"] == few
    # under the same names, another scan
    shutil.copy(cases[0].case.time1, cases[1].case.time2)
    again = preparation.checksums_of(settings, cases[:3], cases[1::-1])
    assert all(again[name] != known[name] for name in known)
    # the estimator of the package counts as well
    with_term = preparation.checksums_of(TrainSettings(cohort=copied), cases, [])
    assert with_term.keys() == {"--cohort", "--estimator"}
    replaced = shutil.copytree(tiny_estimator, tmp_path / "estimator")
    known = [
        preparation.checksums_of(settings.model_copy(update={"estimator": path}), [], [])
        for path in (tiny_estimator, replaced)
    ]
    assert known[0] == known[1]
    assert known[0]["--estimator"] != with_term["--estimator"]
    with (replaced / "estimator.safetensors").open("ab") as stream:
        stream.write(b"0")
    changed = settings.model_copy(update={"estimator": replaced})
    assert preparation.checksums_of(changed, [], []) != known[0]
