import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from datagen.files import read_table
from datagen.volumes import Grid
from segnet.evolution import COURSES, count_courses, map_evolution

PAIRS = st.tuples(*[st.integers(1, 6)] * 3).flatmap(
    lambda shape: st.tuples(*[npst.arrays(bool, shape)] * 2)
)


def line(*runs):
    mask = np.zeros((1, 1, 60), bool)
    for start, stop in runs:
        mask[..., start:stop] = True
    return mask


def evolve(before, after, min_change=0.25, min_change_mm3=0.0):
    return map_evolution(before, after, Grid(before.shape, np.eye(4)), min_change, min_change_mm3)


def test_each_course_has_its_label():
    before = line((10, 14), (20, 24), (30, 34), (40, 44))
    after = line((0, 4), (10, 18), (20, 24), (30, 32))
    courses, rows = evolve(before, after)
    assert [row.course for row in rows] == list(COURSES)
    assert courses[0, 0, [0, 17, 23, 33, 43, 50]].tolist() == [1, 2, 3, 4, 5, 0]
    assert [row.change_mm3 for row in rows] == [4.0, 4.0, 0.0, -2.0, -4.0]
    assert count_courses(rows) == dict.fromkeys(COURSES, 1)


def test_lesions_that_merge_are_one_lesion():
    (row,) = evolve(line((10, 14), (16, 20)), line((10, 20)))[1]
    assert (row.course, row.visit1_lesions, row.visit2_lesions) == ("stable", 2, 1)
    (row,) = evolve(line((10, 14), (18, 20)), line((10, 20)))[1]
    assert row.course == "growing"
    assert (row.x_mm, row.y_mm, row.z_mm) == (0.0, 0.0, 14.5)


def test_a_change_of_exactly_the_limit_is_none():
    assert evolve(line((10, 14)), line((10, 15)))[1][0].course == "stable"
    assert evolve(line((10, 14)), line((10, 16)))[1][0].course == "growing"
    assert evolve(line((10, 14)), line((10, 16)), min_change_mm3=2.0)[1][0].course == "stable"


@given(PAIRS)
def test_swapping_the_visits_swaps_new_and_vanished(pair):
    forward, backward = (count_courses(evolve(*masks)[1]) for masks in (pair, pair[::-1]))
    assert forward["new"] == backward["vanished"]
    assert forward["vanished"] == backward["new"]


@given(PAIRS)
def test_every_voxel_of_either_visit_has_a_course_and_no_other(pair):
    courses, rows = evolve(*pair)
    assert np.array_equal(courses > 0, pair[0] | pair[1])
    assert sum(row.visit1_mm3 for row in rows) == pair[0].sum()
    assert sum(row.visit2_mm3 for row in rows) == pair[1].sum()


@pytest.mark.parametrize("given_as", ["--visit2", "--new"])
def test_the_command_writes_a_map_and_a_table(given_as, tmp_path, run):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    after = line((0, 4), (14, 18)) if given_as == "--new" else line((0, 4), (10, 18))
    for name, mask in (("a", line((10, 14), (40, 44))), ("b", after)):
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), tmp_path / f"{name}.nii.gz")
    inputs = ("--visit1", tmp_path / "a.nii.gz", given_as, tmp_path / "b.nii.gz")
    printed = run("segnet", "evolution", *inputs, "--out", tmp_path / "map.nii.gz")
    last = "1 stable, 0 shrinking, 0 vanished" if given_as == "--new" else "1 vanished"
    assert "1 new, 1 growing" in printed
    assert last in printed
    image = nib.load(tmp_path / "map.nii.gz")
    assert np.array_equal(image.affine, affine)
    assert image.get_data_dtype() == np.uint8
    rows = read_table(tmp_path / "map.csv")
    assert [row["visit2_mm3"] for row in rows][:2] == ["8.0", "16.0"]
