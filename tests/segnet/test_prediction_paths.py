from pathlib import Path

import pytest

from datagen.cohort import read_cohort
from datagen.layouts import Case
from segnet.prediction_paths import cohort_paths


@pytest.fixture
def bids(tmp_path) -> Path:
    """A data set of one subject with two sessions, without masks."""
    (tmp_path / "dataset_description.json").write_text("{}")
    for session in ("ses-01", "ses-02"):
        scan = tmp_path / "sub-01" / session / "anat" / f"sub-01_{session}_FLAIR.nii.gz"
        scan.parent.mkdir(parents=True)
        scan.touch()
    return tmp_path


def test_a_prediction_beside_a_data_set_is_not_its_truth(bids):
    (case,) = read_cohort(bids)
    mask = cohort_paths(bids / "derivatives" / "lesionwise", case).mask
    mask.parent.mkdir(parents=True)
    mask.touch()
    assert read_cohort(bids) == [case]
    assert case.truth is None


def test_cases_of_other_layouts_lie_below_their_names():
    case = Case("a", "p", Path("visit1.nii.gz"), Path("visit2.nii.gz"))
    assert cohort_paths(Path("out"), case).mask == Path("out/a/new_lesions.nii.gz")
