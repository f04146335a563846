"""Scans that are taken apart, and those that cannot be."""

import nibabel as nib
import numpy as np
import pytest

from datagen.decomposition import read_parts
from datagen.errors import InputError
from datagen.visits import list_visits


@pytest.fixture
def singles(save, rng, tmp_path):
    """A folder of one stripped scan with a lesion, without a brain mask."""
    signal = np.zeros((30, 30, 30), np.int16)
    signal[5:-5, 5:-5, 5:-5] = rng.normal(500, 20, (20, 20, 20))
    lesions = np.zeros(signal.shape, bool)
    lesions[14:18, 14:18, 14:18] = True
    save(signal + np.int16(300) * lesions, tmp_path / "singles/p0/flair.nii.gz")
    save(lesions, tmp_path / "singles/p0/ground_truth.nii.gz")
    return tmp_path / "singles"


def test_a_stripped_scan_is_taken_apart(singles):
    parts = read_parts(list_visits(singles)[0], 1.0, np.random.default_rng(0))
    (lesion,) = parts.lesions
    assert lesion.patch.mask.sum() == 64
    assert 0.9 * 20**3 < parts.brain.sum() <= 20**3  # its edges are rounded


def test_a_scan_with_its_skull_is_refused(singles):
    path = singles / "p0/flair.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + np.int16(200), np.eye(4)), path)
    with pytest.raises(InputError, match=r"is not skull-stripped: .* give a brain_mask"):
        read_parts(list_visits(singles)[0], 1.0, np.random.default_rng(0))


def test_a_scan_with_values_below_zero_needs_a_brain_mask(singles):
    path = singles / "p0/flair.nii.gz"
    scan = np.asarray(nib.load(path).dataobj, np.float32)
    nib.save(nib.Nifti1Image(scan - np.median(scan[scan > 0]) * (scan > 0), np.eye(4)), path)
    with pytest.raises(InputError, match=r"has values below 0, .* give a brain_mask"):
        read_parts(list_visits(singles)[0], 1.0, np.random.default_rng(0))


def test_a_mask_on_another_grid_is_refused(singles):
    path = singles / "p0/ground_truth.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)), path)
    with pytest.raises(InputError, match="lie on different grids"):
        read_parts(list_visits(singles)[0], 1.0, np.random.default_rng(0))


def test_real_scans_are_taken_apart(shared):
    visit = list_visits(shared / "data/cross_sectional")[0]
    parts = read_parts(visit, 2.0, np.random.default_rng(0))
    assert 0.8e6 < parts.brain.sum() * 8 < 1.8e6  # mm³ of a brain
    assert len(parts.lesions) > 5
    excess = [lesion.patch.excess[lesion.patch.mask].mean() for lesion in parts.lesions]
    assert np.median(excess) > 0.5
