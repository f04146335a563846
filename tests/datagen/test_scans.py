import nibabel as nib
import numpy as np
import pytest

from datagen import cohort
from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.scans import read_scans


@pytest.mark.parametrize("with_truth", [True, False])
def test_scans_are_normalised_inside_the_brain(tmp_path, visits, with_truth):
    time1, time2, truth = visits(tmp_path / "a")
    scans = read_scans(Case("a", "a", time1, time2, truth if with_truth else None), 1.0)
    assert scans.brain.sum() == 6**3
    assert scans.truth.sum() == with_truth
    assert np.median(scans.time1[scans.brain]) == 0
    np.testing.assert_allclose(scans.time1, scans.time2, atol=1e-5)  # an offset of 1 is forgotten


def test_a_scan_with_values_below_zero_needs_a_brain_mask(tmp_path, visits, save):
    time1, time2, truth = visits(tmp_path / "a")
    image = nib.load(time2)
    scan = image.get_fdata()
    scored = nib.Nifti1Image(np.where(scan > 0, scan - np.median(scan[scan > 0]), 0), image.affine)
    nib.save(scored, time2)
    with pytest.raises(InputError, match=r"time02.* has values below 0.*give a brain_mask"):
        read_scans(Case("a", "a", time1, time2, truth), 1.0)
    brain = save(scan > 0, tmp_path / "brain.nii.gz")
    assert read_scans(Case("a", "a", time1, time2, truth, brain), 1.0).brain.sum() == 6**3


def test_what_interpolation_leaves_below_zero_is_taken(tmp_path, visits):
    time1, time2, truth = visits(tmp_path / "a")
    image = nib.load(time2)
    scan = image.get_fdata()
    ringing = np.where(scan > 0, scan, -0.05 * scan.max())
    nib.save(nib.Nifti1Image(ringing, image.affine), time2)
    assert read_scans(Case("a", "a", time1, time2, truth), 1.0).brain.sum() == 6**3


def test_the_visit_without_signal_is_named(tmp_path, visits):
    time1, time2, truth = visits(tmp_path / "a")
    nib.save(nib.Nifti1Image(np.zeros((12, 12, 12)), nib.load(time2).affine), time2)
    with pytest.raises(InputError, match=r"time02.* is empty"):
        read_scans(Case("a", "a", time1, time2, truth), 1.0)


def test_a_given_brain_mask_is_the_brain(tmp_path, visits, save):
    time1, time2, truth = visits(tmp_path / "a", brain_edge=9)
    brain = np.zeros((12, 12, 12), bool)
    brain[4:7, 4:7, 4:7] = True
    path = save(brain, tmp_path / "brain.nii.gz")
    scans = read_scans(Case("a", "a", time1, time2, truth, path), 1.0)
    np.testing.assert_array_equal(scans.brain, brain)


def test_a_mask_of_lesions_is_no_mask_of_the_brain(tmp_path, visits):
    time1, time2, truth = visits(tmp_path / "a", brain_edge=12)
    with pytest.raises(
        InputError, match=r"covers 0\.\d% of what .*time02.*; is it a mask of the b"
    ):
        read_scans(Case("a", "a", time1, time2, None, truth), 1.0)


def test_a_case_on_thick_slices_is_read_onto_cubic_voxels(tmp_path, visits):
    time1, time2, truth = visits(tmp_path / "a", affine=np.diag([0.5, 0.5, 3.0, 1.0]))
    scans = read_scans(Case("a", "a", time1, time2, truth), 1.0)
    assert scans.grid.shape == scans.truth.shape == (6, 6, 36)
    assert scans.truth.any()


@pytest.mark.parametrize("broken", ["time1", "truth", "brain_mask"])
@pytest.mark.parametrize("how", ["shape", "place"])
def test_files_on_different_grids_are_refused_by_name(tmp_path, visits, save, broken, how):
    time1, time2, truth = visits(tmp_path / "a")
    shape, shift = ((12, 12, 11), 0.0) if how == "shape" else ((12, 12, 12), 2.0)
    affine = np.eye(4)
    affine[0, 3] = shift
    odd = save(np.ones(shape, bool), tmp_path / "odd.nii.gz", affine)
    case = Case("a", "a", time1, time2, truth)._replace(**{broken: odd})
    with pytest.raises(InputError, match=r"odd\.nii\.gz .*time02.* lie on different grids"):
        read_scans(case, 1.0)


def test_a_head_with_its_skull_needs_a_brain_mask(tmp_path, save, rng):
    scan = save(rng.integers(50, 99, (12, 12, 12)).astype(np.int16), tmp_path / "head.nii.gz")
    with pytest.raises(
        InputError, match=r"head\.nii\.gz is not skull-stripped: 100% .* brain_mask"
    ):
        read_scans(Case("a", "a", scan, scan), 1.0)


@pytest.mark.parametrize(("edge_mm", "is_head"), [(13.0, False), (14.0, True)])
def test_nobody_has_a_brain_of_three_litres(tmp_path, save, rng, edge_mm, is_head):
    """Air of 0 around a head says nothing of its skull: 10³ of 12³ voxels hold signal here."""
    head = np.pad(rng.integers(50, 99, (10, 10, 10)).astype(np.int16), 1)
    scan = save(head, tmp_path / "head.nii.gz", np.diag([edge_mm] * 3 + [1.0]))
    case = Case("a", "a", scan, scan)
    if not is_head:
        assert read_scans(case, edge_mm).brain.sum() == 1000
        return
    with pytest.raises(InputError, match=r"not skull-stripped: 58% of it, 2\.7 litres, are not 0"):
        read_scans(case, edge_mm)


def test_scans_without_signal_are_refused_by_name(tmp_path, save):
    scan = save(np.zeros((4, 4, 4), np.int16), tmp_path / "black.nii.gz")
    with pytest.raises(InputError, match=r"black\.nii\.gz is empty: it has no value above 0"):
        read_scans(Case("a", "a", scan, scan), 1.0)


def test_a_visit_of_one_intensity_is_refused_by_name(tmp_path, visits, save):
    _, time2, truth = visits(tmp_path / "a")
    brain = save(np.ones((12, 12, 12), bool), tmp_path / "brain.nii.gz")
    flat = save(np.full((12, 12, 12), 7, np.int16), tmp_path / "flat.nii.gz")
    with pytest.raises(InputError, match=r"flat\.nii\.gz holds one value beside 0; is it a mask"):
        read_scans(Case("a", "a", flat, time2, truth, brain), 1.0)
    edge = np.full((12, 12, 12), 7, np.int16)
    edge[0] = 5
    edge = save(edge, tmp_path / "edge.nii.gz")
    with pytest.raises(InputError, match=r"edge\.nii\.gz: the scan has one intensity"):
        read_scans(Case("a", "a", edge, time2, truth, brain), 1.0)


def test_real_visits_are_read_in_both_orders(shared):
    cases = cohort.with_reversed_visits(read_cohort(shared / "data" / "longitudinal"))
    assert [case.name for case in cases] == [
        f"patient{name}" for name in ("01", "01_reversed", "03", "03_reversed")
    ]
    scans = read_scans(cases[0], 1.5)
    truth = nib.load(cases[0].truth)
    volume_mm3 = np.count_nonzero(truth.dataobj) * np.prod(truth.header.get_zooms())
    assert scans.truth.sum() * 1.5**3 == pytest.approx(volume_mm3, rel=0.2)
    assert 0.8e6 < scans.brain.sum() * 1.5**3 < 1.8e6  # mm³, an adult brain
