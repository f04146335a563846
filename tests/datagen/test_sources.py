import numpy as np
import pytest

from datagen.cohort import write_cohort
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.sources import SourceFile, cases_to_test, list_sources, read_source


@pytest.fixture
def masks(tmp_path, save):
    """Folder of four masks, of which one lies deeper and one is not compressed."""
    for name in ("a.nii.gz", "deep/er/b.nii.gz", "c.nii", "d.nii.gz"):
        save(np.zeros((4, 4, 4), bool), tmp_path / "masks" / name)
    return tmp_path / "masks"


@pytest.fixture
def write_list(tmp_path, save):
    """Write a cohort.csv of (case, patient, split, has a truth); return its folder."""

    def write(*rows, folder="cohort"):
        path = save(np.ones((4, 4, 4), bool), tmp_path / folder / "scan.nii.gz")
        cases = [
            Case(name, patient, path, path, path if has_truth else None, None, split)
            for name, patient, split, has_truth in rows
        ]
        write_cohort(cases, tmp_path / folder / "cohort.csv")
        return tmp_path / folder

    return write


def test_each_file_of_a_folder_is_a_patient(masks, rng):
    files = list_sources([masks], 0.25, rng)
    assert [file.case for file in files] == ["a", "c", "d", "deep/er/b"]
    assert [file.patient for file in files] == [file.case for file in files]
    assert sorted(file.split for file in files) == ["train", "train", "train", "validation"]
    assert files[3].path == masks / "deep" / "er" / "b.nii.gz"


def test_truths_of_a_cohort_are_taken_without_its_test_cases(write_list, rng):
    folder = write_list(
        ("a", "a", "train", True),
        ("b", "b", "test", True),
        ("c", "c", "validation", True),
        ("d", "d", "train", False),
    )
    files = list_sources([folder], 0.5, rng)
    assert [(file.case, file.split) for file in files] == [("a", "train"), ("c", "validation")]


def test_cases_of_one_patient_are_on_one_side(write_list, rng):
    rows = [(f"{patient}{visit}", patient, None, True) for patient in "pqr" for visit in (1, 2)]
    files = list_sources([write_list(*rows)], 0.4, rng)
    assert len({(file.patient, file.split) for file in files}) == 3


def test_several_sources_are_joined(masks, write_list, rng):
    folder = write_list(("z", "z", None, True))
    assert len(list_sources([masks, folder], 0.2, rng)) == 5


def test_a_source_without_masks_is_refused_by_name(tmp_path, masks, write_list, rng):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", write_list(("a", "a", None, False))):
        with pytest.raises(InputError, match=rf"{source.name} holds no lesion mask"):
            list_sources([masks, source], 0.2, rng)
    with pytest.raises(InputError, match="does not exist"):
        list_sources([tmp_path / "nowhere"], 0.2, rng)


def test_one_patient_cannot_be_split(write_list, rng):
    with pytest.raises(InputError, match="two are needed"):
        list_sources([write_list(("a", "p", None, True), ("b", "p", None, True))], 0.2, rng)


def test_one_mask_is_a_source_of_one_patient(masks, rng):
    with pytest.raises(InputError, match="one patient to train on, a; two are needed"):
        list_sources([masks / "a.nii.gz"], 0.2, rng)
    files = list_sources([masks / "a.nii.gz", masks / "c.nii"], 0.2, rng)
    assert [(file.case, file.patient) for file in files] == [("a", "a"), ("c", "c")]


def test_a_folder_with_the_name_of_a_mask_is_none(masks, rng):
    (masks / "e.nii.gz").mkdir()
    assert "e" not in {file.case for file in list_sources([masks], 0.2, rng)}


def test_a_mask_is_read_as_it_is(tmp_path, save):
    data = np.zeros((8, 8, 8), bool)
    data[1:4, 1, 1] = True
    path = save(data, tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(read_source(SourceFile("a", "p", "train", path), 1.0), data)


def test_a_mask_on_thick_slices_is_brought_to_the_spacing(tmp_path, save):
    data = np.zeros((8, 8, 4), bool)
    data[2, 2, 1] = True
    path = save(data, tmp_path / "mask.nii.gz", np.diag([0.5, 0.5, 3.0, 1.0]))
    mask = read_source(SourceFile("a", "p", "train", path), 1.0)
    assert mask.shape == (4, 4, 12)
    assert mask.any()


def test_hidden_files_are_no_masks(masks, save, rng):
    save(np.ones((8, 8, 8), bool), masks / "._a.nii.gz")
    save(np.ones((8, 8, 8), bool), masks / ".cache" / "b.nii.gz")
    assert not any(file.case.startswith(".") for file in list_sources([masks], 0.2, rng))


def test_a_cohort_of_test_cases_alone_is_refused(write_list, rng):
    with pytest.raises(InputError, match="every case of --masks is kept for the test"):
        list_sources([write_list(("a", "p", "test", True))], 0.2, rng)


def test_patients_kept_for_the_test_are_told(masks, write_list):
    rows = ("a", "p", "test", True), ("b", "q", "train", True)
    assert {case.patient for case in cases_to_test([masks, write_list(*rows)])} == {"p"}
