import shutil

import nibabel as nib
import numpy as np
import pytest

from datagen.cohort import read_cohort, with_reversed_visits, write_cohort
from datagen.errors import InputError
from datagen.visits import as_cases, list_visits


@pytest.fixture
def singles(tmp_path):
    """A folder of two single visits, one of them with a brain mask."""
    mask = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    for name in ("a", "b"):
        (tmp_path / "singles" / name).mkdir(parents=True)
        for stem in ("flair", "ground_truth"):
            nib.save(mask, tmp_path / "singles" / name / f"{stem}.nii.gz")
    nib.save(mask, tmp_path / "singles/b/brain_mask.nii.gz")
    return tmp_path / "singles"


def test_a_folder_of_patients_is_listed(singles):
    first, second = list_visits(singles)
    assert (first.name, first.patient, first.brain_mask) == ("a", "a", None)
    assert second.lesions == singles / "b/ground_truth.nii.gz"
    assert second.brain_mask == singles / "b/brain_mask.nii.gz"


def test_a_scan_without_its_lesions_is_named(singles):
    (singles / "a/ground_truth.nii.gz").unlink()
    with pytest.raises(InputError, match=r"a/ground_truth\.nii\.gz is missing"):
        list_visits(singles)


def test_both_visits_of_a_cohort_with_lesion_masks_are_listed(tiny_cohort, tmp_path):
    for name in ("time1", "time2"):
        (tmp_path / f"{name}.nii.gz").symlink_to(
            next(tiny_cohort.glob(f"case0/flair_time0{name[-1]}*"))
        )
    (tmp_path / "lesions_time02.nii.gz").symlink_to(tiny_cohort / "case0/ground_truth.nii.gz")
    row = "x,time1.nii.gz,time2.nii.gz,validation\ny,time1.nii.gz,time2.nii.gz,test\n"
    (tmp_path / "cohort.csv").write_text("case,time1,time2,split\n" + row)
    (visit,) = list_visits(tmp_path)
    assert (visit.name, visit.split) == ("x_visit2", "validation")
    assert visit.flair == tmp_path / "time2.nii.gz"


def test_a_case_in_both_orders_shows_each_scan_under_its_own_mask(tmp_path, tiny_cohort):
    folder = tmp_path / "x"
    shutil.copytree(tiny_cohort / "case0", folder)
    for name in ("vanished_lesions", "lesions_time01", "lesions_time02"):
        shutil.copy(folder / "ground_truth.nii.gz", folder / f"{name}.nii.gz")
    write_cohort(with_reversed_visits(read_cohort(tmp_path)), tmp_path / "both.csv")
    assert len(read_cohort(tmp_path / "both.csv")) == 2
    first, second = list_visits(tmp_path / "both.csv")
    for number, visit in enumerate((first, second), start=1):
        assert visit.flair == folder / f"flair_time0{number}_on_middle_space.nii.gz"
        assert visit.lesions == folder / f"lesions_time0{number}.nii.gz"


def test_a_cohort_without_lesion_masks_holds_no_single_visit(tiny_cohort):
    with pytest.raises(InputError, match="holds no single visit"):
        list_visits(tiny_cohort)


def test_a_single_visit_stands_for_both_visits(singles):
    case = as_cases(list_visits(singles))[0]
    assert case.time1 == case.time2 == singles / "a/flair.nii.gz"
    assert case.truth == singles / "a/ground_truth.nii.gz"


def test_single_visits_become_a_cohort_to_train_on(singles, run, tmp_path):
    out = tmp_path / "singles.csv"
    run("datagen", "cohort", singles, "--single-visits", "--out", out)
    assert [case.name for case in read_cohort(out)] == ["a", "b"]
