import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError

from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.lesions import label_lesions
from datagen.simulation import PhantomSettings, simulate_cohort


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Three patients: one to train, one to validate, one to test."""
    out = tmp_path_factory.mktemp("simulated") / "cohort"
    return out, simulate_cohort(PhantomSettings(out=out, cases=3, workers=1))


def mask_of(path):
    return np.asanyarray(nib.load(path).dataobj) > 0


def test_the_cohort_is_read_back_as_it_was_returned(simulated):
    out, cases = simulated
    assert read_cohort(out) == cases
    assert [case.name for case in cases] == ["phantom001", "phantom002", "phantom003"]
    assert [case.split for case in cases] == ["train", "validation", "test"]


def test_each_case_is_a_folder_in_msseg2_layout(simulated):
    out, _ = simulated
    names = {path.name for path in (out / "phantom001").iterdir()}
    assert names >= {
        "flair_time01_on_middle_space.nii.gz",
        "flair_time02_on_middle_space.nii.gz",
        "ground_truth.nii.gz",
        "brain_mask.nii.gz",
    }


def test_the_second_list_gives_all_lesions_of_visit_two(simulated):
    out, cases = simulated
    for case, lesions in zip(cases, read_cohort(out / "all_lesions.csv"), strict=True):
        new, all_lesions = mask_of(case.truth), mask_of(lesions.truth)
        assert not (new & ~all_lesions).any()
        assert label_lesions(all_lesions)[1] > label_lesions(new)[1]


def test_three_in_ten_patients_have_no_new_lesion(simulated):
    _, cases = simulated
    assert [bool(mask_of(case.truth).any()) for case in cases].count(False) == 1


def test_a_folder_that_holds_a_cohort_is_not_overwritten(simulated):
    out, _ = simulated
    with pytest.raises(InputError, match="already holds a cohort; choose another --out"):
        simulate_cohort(PhantomSettings(out=out, cases=3))


@pytest.mark.parametrize("change", [{"cases": 2}, {"test_fraction": 0.5}, {"workers": 0}])
def test_a_setting_out_of_range_is_refused(change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        PhantomSettings(**change)


def test_shares_that_leave_no_patient_to_train_on_are_refused(tmp_path):
    settings = PhantomSettings(
        out=tmp_path / "c", cases=40, validation_fraction=0.49, test_fraction=0.49
    )
    with pytest.raises(InputError, match="leave none to train on"):
        simulate_cohort(settings)
