import numpy as np
import pytest

from datagen.cohort import read_cohort
from datagen.errors import InputError

STEMS = (
    "flair_time01_on_middle_space",
    "flair_time02_on_middle_space",
    "ground_truth",
    "brain_mask",
)


@pytest.fixture
def unpacked(tmp_path, save):
    """A cohort of one case in MSSEG-2 layout, whose four files are not compressed."""
    for stem in STEMS:
        save(np.ones((2, 2, 2), bool), tmp_path / "a" / f"{stem}.nii")
    return tmp_path


def test_files_of_msseg2_may_be_unpacked(unpacked):
    (case,) = read_cohort(unpacked)
    found = (case.time1, case.time2, case.truth, case.brain_mask)
    assert found == tuple(unpacked / "a" / f"{stem}.nii" for stem in STEMS)


@pytest.mark.parametrize("stem", STEMS)
def test_a_file_that_is_there_packed_and_unpacked_leaves_the_choice_to_the_user(
    stem, unpacked, save
):
    save(np.ones((2, 2, 2), bool), unpacked / "a" / f"{stem}.nii.gz")
    both = rf"case a: .*{stem}\.nii\.gz and .*{stem}\.nii are both there"
    with pytest.raises(InputError, match=both):
        read_cohort(unpacked)


def test_subjects_without_a_description_are_told_what_makes_them_bids(tmp_path):
    scan = tmp_path / "sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.touch()
    with pytest.raises(InputError, match=r"dataset_description\.json is missing"):
        read_cohort(tmp_path)


def list_of(folder, header, *rows):
    (folder / "scan.nii").touch()
    (folder / "cohort.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "cohort.csv"


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("Split", "split"),
        (" split", "split"),
        ("brainmask", "brain_mask"),
        ("Brain-Mask", "brain_mask"),
        ("brain mask", "brain_mask"),
        ("PATIENT", "patient"),
    ],
)
def test_a_known_column_in_another_spelling_is_refused(column, meant, tmp_path):
    path = list_of(tmp_path, f"case,time1,time2,{column}", "a,scan.nii,scan.nii,")
    with pytest.raises(InputError, match=rf"column '{column}' is not known; write it as '{meant}'"):
        read_cohort(path)


def test_a_needed_column_in_another_spelling_is_not_called_missing(tmp_path):
    path = list_of(tmp_path, "Case,time_1,time2", "a,scan.nii,scan.nii")
    with pytest.raises(InputError, match="write it as 'case'"):
        read_cohort(path)


def test_a_column_of_the_users_own_is_allowed(tmp_path):
    path = list_of(tmp_path, "case,time1,time2,scanner", "a,scan.nii,scan.nii,3 T")
    assert [case.name for case in read_cohort(path)] == ["a"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("b,scan.nii,scan.nii,test,x", "row 2 below the header, case 'b', has more cells"),
        ("b,scan.nii,scan.nii", "row 2 below the header, case 'b', has fewer cells"),
    ],
)
def test_a_row_of_another_length_than_the_header_is_refused(row, words, tmp_path):
    path = list_of(tmp_path, "case,time1,time2,split", "a,scan.nii,scan.nii,train", row)
    with pytest.raises(InputError, match=words):
        read_cohort(path)
