"""Scans and brain masks that cannot be used, as `segnet predict` meets them."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

PREDICT = "segnet predict --baseline subtraction --out new.nii.gz"


def store(path, data, affine=None):
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)


def store_header(path, data, affine):
    """Write a volume whose header states an affine that nibabel itself would not write."""
    store(path, data)
    content = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.load(path).header.copy()
    header["qform_code"], header["sform_code"] = 0, 1
    for name, row in zip(("srow_x", "srow_y", "srow_z"), affine[:3], strict=True):
        header[name] = row
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)))


def store_with(path, data, value):
    data = data.astype(np.float32)
    data[16, 16, 16] = value
    store(path, data)


def cut_off(path, data):
    store(path, data)
    path.write_bytes(path.read_bytes()[:9000])


def flip_a_bit(path, data):
    # stored, not deflated: the damage shows in the checksum at the end alone
    store(path, data)
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


KINDS = {
    "missing": lambda path, data: None,
    "text": lambda path, data: path.write_text("no scan"),
    "cut off": cut_off,
    "one bit wrong": flip_a_bit,
    "4D": lambda path, data: store(path, np.stack([data, data], axis=-1)),
    "no voxel": lambda path, data: store(path, data[:0]),
    "NaN": lambda path, data: store_with(path, data, np.nan),
    "constant": lambda path, data: store(path, np.full_like(data, 7)),
    "one slice less": lambda path, data: store(path, data[:-1]),
    "shifted": lambda path, data: store(path, data, np.eye(4) + 3 * np.eye(4, k=3)),
    "NaN affine": lambda path, data: store_header(path, data, np.full((4, 4), np.nan)),
    "complex": lambda path, data: store(path, data.astype(np.complex64)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_predict_refuses_a_scan_that_is(kind, refuses, load):
    KINDS[kind](Path("bad.nii.gz"), load("one/time1.nii.gz"))
    refuses(f"{PREDICT} --time1 bad.nii.gz --time2 one/time2.nii.gz", "bad.nii.gz")


def test_predict_refuses_a_cut_off_uncompressed_scan_in_one_line(refuses, load):
    store("bad.nii", load("one/time1.nii.gz"))
    Path("bad.nii").write_bytes(Path("bad.nii").read_bytes()[:5000])
    refuses(f"{PREDICT} --time1 bad.nii --time2 one/time2.nii.gz", "bad.nii")


def test_predict_refuses_two_visits_of_one_singular_affine(refuses, load):
    store_header(Path("bad.nii.gz"), load("one/time1.nii.gz"), np.diag([1.0, 1, 0, 1]))
    refuses(f"{PREDICT} --time1 bad.nii.gz --time2 bad.nii.gz", "bad.nii.gz", "affine")


def test_predict_names_the_scan_whose_voxels_are_too_large_for_the_memory(refuses, load):
    # micrometres that were stored as millimetres: at 1 mm the volume would fill the memory
    data, affine = load("one/time2.nii.gz"), np.diag([1000.0, 1000.0, 1000.0, 1.0])
    for name in ("a.nii.gz", "b.nii.gz"):
        store(name, data, affine)
    refuses(f"{PREDICT} --time1 a.nii.gz --time2 b.nii.gz", "b.nii.gz", "too large")


VISITS = "--time1 one/time1.nii.gz --time2 one/time2.nii.gz"


def test_predict_names_a_brain_mask_that_is_empty(refuses):
    store("none.nii.gz", np.zeros((32, 32, 32), np.uint8))
    refuses(f"{PREDICT} {VISITS} --brain-mask none.nii.gz", "none.nii.gz")


def test_predict_refuses_a_scan_as_brain_mask(refuses):
    refuses(f"{PREDICT} {VISITS} --brain-mask one/time1.nii.gz", "one/time1.nii.gz", "mask")


def test_predict_refuses_scans_with_the_skull_and_no_brain_mask(refuses, load):
    for name in ("a.nii.gz", "b.nii.gz"):
        store(name, load("one/time1.nii.gz") + np.int16(9))
    refuses(f"{PREDICT} --time1 a.nii.gz --time2 b.nii.gz", "b.nii.gz", "brain_mask", "skull")
