import gzip
from importlib import metadata

import nibabel as nib
import numpy as np
import pytest

from datagen import volumes
from datagen.errors import InputError

PERMUTED = np.array([[0, 0, 3.0, 5], [0.7, 0, 0, -9], [0, -0.7, 0, 2], [0, 0, 0, 1]])
OBLIQUE = np.array([[0.69, -0.12, 0, 4], [0.12, 0.69, 0, -7], [0, 0, 3.0, 2], [0, 0, 0, 1]])


def image_of(data, affine):
    return nib.Nifti1Image(np.asarray(data).astype(np.uint8), affine)


# reading


def test_an_image_comes_back_as_it_was_written(tmp_path, save, rng):
    data = rng.normal(size=(3, 4, 5)).astype(np.float32)
    image = volumes.read_image(save(data, tmp_path / "scan.nii.gz", PERMUTED))
    np.testing.assert_array_equal(image.dataobj, data)
    np.testing.assert_allclose(image.affine, PERMUTED)


def test_a_fourth_axis_of_one_volume_is_dropped(tmp_path, save):
    image = volumes.read_image(save(np.ones((3, 4, 5, 1), np.int16), tmp_path / "scan.nii"))
    assert image.shape == (3, 4, 5)


@pytest.mark.parametrize("value", [1, 255])
def test_one_and_255_both_mark_the_foreground(tmp_path, save, value):
    data = np.array([0, value, 0, value], np.uint8).reshape(1, 1, 4)
    mask = volumes.read_mask(save(data, tmp_path / "mask.nii.gz"))
    assert np.asanyarray(mask.dataobj).ravel().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("shape", [(2, 2, 2), (0, 2, 2)])
def test_an_empty_mask_is_a_mask(tmp_path, save, shape):
    mask = volumes.read_mask(save(np.zeros(shape, np.uint8), tmp_path / "mask.nii"))
    assert mask.shape == shape
    assert not np.asanyarray(mask.dataobj).any()


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 0.5, 1), (-1, 0, 0), (-1, 0, 1)])
def test_a_mask_of_other_values_is_refused(tmp_path, save, values):
    path = save(np.array(values, np.float32).reshape(1, 1, 3), tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match=r"mask\.nii\.gz: a mask of 0 and one positive value"):
        volumes.read_mask(path)


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [
        ((2, 2, 2, 3), 1.0, r"a 3D volume is needed, this one has shape \(2, 2, 2, 3\)"),
        ((2, 2), 1.0, "a 3D volume is needed"),
        ((2, 2, 2), np.nan, "NaN, infinite or huge"),
        ((2, 2, 2), np.inf, "NaN, infinite or huge"),
        ((2, 2, 2), 1e39, "NaN, infinite or huge"),
        ((2, 2, 2), 1j, "real numbers are needed, this volume holds complex64"),
    ],
)
def test_a_volume_of_other_axes_or_without_numbers_is_refused(tmp_path, save, shape, value, words):
    dtype = {1j: np.complex64, 1e39: np.float64}.get(value, np.float32)
    path = save(np.full(shape, value, dtype), tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match=words):
        volumes.read_image(path)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.txt"])
def test_a_file_that_is_no_nifti_is_refused(tmp_path, name):
    (tmp_path / name).write_text("not a volume")
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        volumes.read_image(tmp_path / name)


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, save, rng, name, kept):
    path = save(rng.integers(0, 9999, (20, 20, 20)).astype(np.int16), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        volumes.read_image(path)


def test_one_wrong_bit_in_a_compressed_file_is_refused(tmp_path, save, rng):
    path = save(rng.integers(0, 9999, (20, 20, 20)).astype(np.int16), tmp_path / "scan.nii.gz")
    # stored, not deflated: the damage shows in the checksum at the end alone
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read as NIfTI .*CRC"):
        volumes.read_image(path)


@pytest.mark.parametrize("rows", [np.diag([1.0, 1.0, 0.0]), np.full((3, 3), np.nan)])
def test_an_affine_that_spans_no_space_is_refused(tmp_path, rows):
    image = nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), None)
    header = image.header.copy()
    header["sform_code"], header["vox_offset"] = 1, 352
    for name, row in zip(("srow_x", "srow_y", "srow_z"), rows, strict=True):
        header[name] = [*row, 0.0]
    content = header.binaryblock + bytes(4) + np.asarray(image.dataobj).tobytes()
    (tmp_path / "scan.nii").write_bytes(content)
    with pytest.raises(InputError, match="its affine does not span a space"):
        volumes.read_image(tmp_path / "scan.nii")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        volumes.read_image(tmp_path / "none.nii.gz")
    with pytest.raises(InputError, match="is a folder"):
        volumes.read_mask(tmp_path)


# writing


@pytest.mark.parametrize(("qform", "sform"), [(1, 0), (1, 1), (0, 2), (4, 4)])
def test_a_saved_volume_lies_where_its_reference_lies(tmp_path, save, qform, sform):
    reference = image_of(np.zeros((3, 4, 5)), OBLIQUE)
    reference.header.set_qform(reference.affine, qform)
    reference.header.set_sform(reference.affine, sform)
    reference.header.set_xyzt_units("mm", "sec")
    reference.header.set_slope_inter(0.01, 5.0)
    nib.save(nib.Nifti1Image(reference.dataobj, None, reference.header), tmp_path / "in.nii.gz")
    reference = nib.load(tmp_path / "in.nii.gz")
    data = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    volumes.save_like(data, reference, tmp_path / "out" / "probability.nii.gz")
    saved = nib.load(tmp_path / "out" / "probability.nii.gz")
    np.testing.assert_array_equal(saved.get_fdata(), data)
    assert saved.get_data_dtype() == np.float32
    np.testing.assert_allclose(saved.affine, reference.affine, atol=1e-6)
    assert (int(saved.header["qform_code"]), int(saved.header["sform_code"])) == (qform, sform)
    assert saved.header.get_zooms() == reference.header.get_zooms()
    assert saved.header.get_xyzt_units() == ("mm", "sec")


def test_a_saved_volume_says_who_made_it(tmp_path):
    reference = image_of(np.zeros((3, 4, 5)), OBLIQUE)
    reference.header["descrip"] = b"scanner 7"
    for made_by, told in (("", ""), ("above 3 mm³", ": above 3 mm?"), ("x" * 99, ": " + "x" * 60)):
        volumes.save_like(np.ones((3, 4, 5), np.uint8), reference, tmp_path / "a.nii", made_by)
        description = bytes(nib.load(tmp_path / "a.nii").header["descrip"]).rstrip(b"\0").decode()
        assert description.startswith(f"lesionwise {metadata.version('lesionwise')}{told}")
        assert len(description) <= 79


def test_a_mask_read_and_saved_on_its_own_grid_is_unchanged(tmp_path, save, rng):
    path = save(rng.random((4, 5, 6)) > 0.5, tmp_path / "mask.nii.gz", PERMUTED)
    image = volumes.read_mask(path)
    volumes.save_like(np.asanyarray(image.dataobj), image, tmp_path / "copy.nii.gz")
    copy = volumes.read_mask(tmp_path / "copy.nii.gz")
    np.testing.assert_array_equal(copy.dataobj, image.dataobj)
    assert volumes.same_grid(copy, image)


def test_a_volume_that_cannot_be_saved_leaves_nothing_behind(tmp_path):
    reference = image_of(np.zeros((2, 2, 2)), np.eye(4))
    too_long = tmp_path / f"{'long' * 60}.nii.gz"
    with pytest.raises(OSError, match="too long"):
        volumes.save_like(np.zeros((2, 2, 2), np.uint8), reference, too_long)
    with pytest.raises(InputError, match=r"must end in \.nii\.gz or \.nii"):
        volumes.save_like(np.zeros((2, 2, 2), np.uint8), reference, tmp_path / "mask.mha")
    assert not list(tmp_path.iterdir())
