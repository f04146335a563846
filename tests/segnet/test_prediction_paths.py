from pathlib import Path

import pytest

from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.layouts import Case
from segnet.config import PredictSettings
from segnet.prediction import paths_of
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


def test_two_cases_with_one_second_visit_are_not_written_over_each_other(bids, tmp_path):
    scans = [
        bids / "sub-01" / f"ses-0{n}" / "anat" / f"sub-01_ses-0{n}_FLAIR.nii.gz" for n in (1, 2)
    ]
    cases = [Case("a", "sub-01", *scans), Case("b", "sub-01", *scans)]
    settings = PredictSettings(cohort=bids, out=tmp_path / "found")
    with pytest.raises(InputError, match="cases a and b have the same second visit"):
        paths_of(settings, cases)
    assert len(paths_of(settings, cases[:1])) == 1
