"""What 'segnet evolution' cannot use."""

from pathlib import Path

import numpy as np
import pytest

TRUTH = "one/truth.nii.gz"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (f"--visit1 {TRUTH}", ("--visit2", "--new")),
        (f"--visit1 {TRUTH} --visit2 {TRUTH} --new {TRUTH}", ("--visit2", "--new")),
        (f"--visit1 {TRUTH} --visit2 none.nii.gz", ("none.nii.gz",)),
        (f"--visit1 one/time1.nii.gz --visit2 {TRUTH}", ("one/time1.nii.gz", "mask")),
        (f"--visit1 {TRUTH} --visit2 {TRUTH} --min-change -1", ("--min-change",)),
    ],
    ids=["one visit", "both forms", "a missing mask", "a scan as mask", "a negative share"],
)
def test_evolution_refuses(options, named, refuses):
    refuses(f"segnet evolution {options} --out new.nii.gz", *named)


def test_evolution_refuses_masks_on_two_grids(refuses, write, load):
    write(Path("other.nii.gz"), load(TRUTH), np.diag([2.0, 1, 1, 1]))
    refuses(f"segnet evolution --visit1 {TRUTH} --visit2 other.nii.gz --out new.nii.gz", "grids")


def test_evolution_names_the_axes_of_masks_that_are_mirrored(refuses, write, load):
    write(Path("other.nii.gz"), load(TRUTH)[::-1], np.diag([-1.0, 1, 1, 1]))
    refuses(
        f"segnet evolution --visit1 {TRUTH} --visit2 other.nii.gz --out new.nii.gz",
        f"other.nii.gz and {TRUTH} lie on different grids, LAS and RAS; write both in one",
    )


def test_evolution_refuses_a_map_that_is_no_nifti(refuses):
    refuses(f"segnet evolution --visit1 {TRUTH} --visit2 {TRUTH} --out new.txt", "new.txt")


def test_evolution_refuses_to_write_over_its_own_mask(refuses):
    refuses(f"segnet evolution --visit1 {TRUTH} --visit2 {TRUTH} --out {TRUTH}", "overwrite")
