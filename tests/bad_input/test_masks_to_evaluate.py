"""Masks, maps and folders that 'segnet evaluate' is given, good and bad ones."""

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from datagen.files import read_table

TRUTH = "one/truth.nii.gz"
SCORE = f"segnet evaluate --truth {TRUTH} --prediction"
OUT = "--out new"


@pytest.fixture
def truth(work, load) -> np.ndarray:
    return load(TRUTH)


def shear(amount):
    affine = np.eye(4)
    affine[0, 1] = amount
    return affine


def shift(millimetres):
    affine = np.eye(4)
    affine[:3, 3] = millimetres
    return affine


ARRAYS = {
    "of another shape": (lambda mask: mask[:-1], np.eye(4), ("(31, 32, 32)", "(32, 32, 32)")),
    "that is flat": (lambda mask: mask[..., 0], np.eye(4), ("3D",)),
    "with two volumes": (lambda mask: np.stack([mask] * 2, -1), np.eye(4), ("3D", "2)")),
    "with two labels": (
        lambda mask: mask + (mask > 0) * (np.indices(mask.shape)[0] > 15).astype(np.uint8),
        np.eye(4),
        ("one positive value", "found 1"),
    ),
    "with a negative label": (lambda mask: -mask.astype(np.int16), np.eye(4), ("positive", "-1")),
    "that is a probability": (
        lambda mask: mask * np.linspace(0.1, 0.9, 32, dtype=np.float32),
        np.eye(4),
        ("a mask",),
    ),
    "with NaN": (
        lambda mask: np.where(mask, np.nan, 0).astype(np.float32),
        np.eye(4),
        ("NaN",),
    ),
    "with infinity": (
        lambda mask: np.where(mask, np.inf, 0).astype(np.float32),
        np.eye(4),
        ("infinite",),
    ),
    "of complex numbers": (lambda mask: mask.astype(np.complex64), np.eye(4), ("real",)),
    "with an affine a millimetre off": (
        lambda mask: mask,
        shift([1.0, 0, 0]),
        ("grids, up to 1 mm apart; resample one onto the other",),
    ),
    "with an affine a twentieth off": (
        lambda mask: mask,
        shift([0, 0.05, 0]),
        ("grids, up to 0.05 mm apart",),
    ),
    "with a sheared affine": (lambda mask: mask, shear(0.01), ("grids",)),
    "with voxels of 2 mm": (lambda mask: mask, np.diag([2.0, 2, 2, 1]), ("grids",)),
    "with mirrored axes": (
        lambda mask: mask,
        np.diag([-1.0, 1, 1, 1]),
        ("grids, LAS and RAS; write both in one orientation",),
    ),
    "with reordered axes": (
        lambda mask: mask,
        np.eye(4)[[1, 0, 2, 3]],
        ("grids, ARS and RAS; write both in one orientation",),
    ),
    "with a flat affine": (lambda mask: mask, np.diag([1.0, 1, 0, 1]), ("affine",)),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_evaluate_refuses_a_mask(kind, truth, write, refuses):
    change, affine, named = ARRAYS[kind]
    image = nib.Nifti1Image(change(truth), np.eye(4))
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    nib.save(image, "mask.nii.gz")
    refuses(f"{SCORE} mask.nii.gz {OUT}", "mask.nii.gz", *named)


FILES = {
    "that is empty": lambda path: path.write_bytes(b""),
    "that is text": lambda path: path.write_text("no picture"),
    "that is cut off": lambda path: path.write_bytes(Path(TRUTH).read_bytes()[:200]),
    "that is plain but named gz": lambda path: path.write_bytes(
        gzip.decompress(Path(TRUTH).read_bytes())
    ),
    "that does not exist": lambda path: None,
    "that is a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", FILES)
def test_evaluate_refuses_a_file(kind, work, refuses):
    FILES[kind](Path("mask.nii.gz"))
    refuses(f"{SCORE} mask.nii.gz {OUT}", "mask.nii.gz")


@pytest.mark.parametrize("dtype", ["<i8", ">i2", ">f8", "<f4", "u1", "<i4"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_width_and_byte_order_scores_the_same(dtype, suffix, truth, call):
    image = nib.Nifti1Image(truth.astype(np.dtype(dtype)), np.eye(4), dtype=np.dtype(dtype))
    nib.save(image, f"mask{suffix}")
    assert call(f"{SCORE} mask{suffix} {OUT}").exit_code == 0
    (row,) = read_table(Path("new/cases.csv"))
    assert (row["dice"], row["f1"]) == ("1.0", "1.0")


def test_255_marks_the_foreground_as_1_does(truth, write, call):
    write(Path("mask.nii.gz"), truth * np.uint8(255))
    assert call(f"{SCORE} mask.nii.gz {OUT}").exit_code == 0
    assert read_table(Path("new/cases.csv"))[0]["dice"] == "1.0"


@pytest.mark.parametrize("affine", [shear(1e-4), shift(1e-4), shift(5e-3)], ids=str)
def test_a_small_difference_of_affines_is_accepted_with_a_note(affine, truth, write, call):
    write(Path("mask.nii.gz"), truth, affine)
    result = call(f"{SCORE} mask.nii.gz {OUT}")
    assert result.exit_code == 0
    assert "affine of mask.nii.gz differs" in result.stderr
    (note,) = read_table(Path("new/notes.csv"))
    assert note["note"] == result.stderr.strip()


def test_equal_affines_are_not_noted(truth, write, call):
    write(Path("mask.nii.gz"), truth)
    assert call(f"{SCORE} mask.nii.gz {OUT}").stderr == ""


# maps


@pytest.mark.parametrize(
    ("factor", "named"), [(2.0, "found 2"), (-0.5, "found -0.5"), (np.nan, "NaN")]
)
def test_evaluate_refuses_a_map_that_is_no_probability(factor, named, truth, write, refuses):
    write(Path("map.nii.gz"), np.where(truth, factor, 0).astype(np.float32))
    refuses(f"{SCORE} {TRUTH} --probability map.nii.gz {OUT}", "map.nii.gz", named)


def test_evaluate_refuses_a_map_on_another_grid(truth, write, refuses):
    write(Path("map.nii.gz"), truth[1:].astype(np.float32))
    refuses(f"{SCORE} {TRUTH} --probability map.nii.gz {OUT}", "map.nii.gz", "grids")


def test_evaluate_refuses_another_number_of_maps_than_predictions(refuses):
    maps = f"--probability {TRUTH} --probability {TRUTH}"
    refuses(f"{SCORE} {TRUTH} {maps} {OUT}", "2 --probability", "1 --prediction")


# folders


def folder_of(name, *masks):
    for mask in masks:
        Path(name).mkdir(exist_ok=True)
        shutil.copy(TRUTH, f"{name}/{mask}.nii.gz")


def test_evaluate_refuses_two_truths_of_one_name(work, refuses):
    folder_of("truths", "p1")
    Path("truths/p1.nii").write_bytes(gzip.decompress(Path(TRUTH).read_bytes()))
    refuses(f"segnet evaluate --truth truths --prediction truths {OUT}", "truths", "'p1'")


def test_evaluate_refuses_swapped_folders(refuses):
    refuses(f"segnet evaluate --truth predictions --prediction cohort {OUT}", "swapped")


@pytest.mark.parametrize("kind", ["empty", "missing"])
def test_evaluate_refuses_a_folder_of_truths_that_is(kind, work, refuses):
    if kind == "empty":
        Path("truths").mkdir()
    refuses(f"segnet evaluate --truth truths --prediction predictions {OUT}", "truths")


def test_evaluate_refuses_a_split_of_plain_masks(work, refuses):
    folder_of("truths", "p1", "p2")
    command = f"segnet evaluate --truth truths --prediction truths --split test {OUT}"
    refuses(command, "--split test", "truths have no splits", "cohort")


@pytest.mark.parametrize("flag", ["--prediction", "--prediction predictions --probability"])
def test_evaluate_says_that_a_folder_does_not_exist(flag, refuses):
    refuses(f"segnet evaluate --truth cohort {flag} runs/nope {OUT}", "runs/nope does not exist")


def test_a_prediction_without_truth_is_noted(work, call):
    folder_of("truths", "p1")
    folder_of("found", "p1", "p2")
    result = call(f"segnet evaluate --truth truths --prediction found {OUT}")
    assert result.exit_code == 0
    assert result.stderr == "found: 'p2' has no truth and is not scored\n"
    assert len(read_table(Path("new/cases.csv"))) == 1


def test_one_broken_case_does_not_stop_the_others(work, call):
    folder_of("truths", "p1", "p2", "p3")
    folder_of("found", "p1", "p3")
    Path("found/p2.nii.gz").write_text("no picture")
    result = call(f"segnet evaluate --truth truths --prediction found {OUT}")
    assert result.exit_code == 3
    assert "p2.nii.gz cannot be read" in result.stderr
    assert [row["case"] for row in read_table(Path("new/cases.csv"))] == ["p1", "p3"]


# flags


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--threshold 1.5", "--threshold"),
        ("--min-size-mm3 -1", "--min-size-mm3"),
        ("--size-edge-mm3 -3", "--size-edge-mm3"),
        ("--resamples 3", "--resamples"),
        ("--workers 0", "--workers"),
        ("--estimator none", "none"),
        ("--estimator pairs.h5", "pairs.h5"),
        ("--rule any", "any"),
    ],
)
def test_evaluate_refuses_a_flag(flag, named, refuses):
    refuses(f"{SCORE} {TRUTH} {flag} {OUT}", named)
