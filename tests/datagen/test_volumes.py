import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine
from nibabel.processing import resample_from_to
from scipy.spatial.transform import Rotation

from datagen import volumes
from datagen.errors import InputError
from datagen.lesions import label_lesions
from datagen.resampling import resample, resample_mask
from datagen.volumes import Grid

FLIPPED = np.diag([-1.0, -1.0, 1.0, 1.0])
PERMUTED = np.array([[0, 0, 3.0, 5], [0.7, 0, 0, -9], [0, -0.7, 0, 2], [0, 0, 0, 1]])


def affine_of(spacing_mm, angle_degrees=0.0, shift_mm=(0.0, 0.0, 0.0)):
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [angle_degrees, angle_degrees / 2, 0], degrees=True)
    affine[:3, :3] = turn.as_matrix() * spacing_mm
    affine[:3, 3] = shift_mm
    return affine


@st.composite
def affines(draw):
    """Any orientation, any spacing of 0.4 to 4 mm, up to 20 degrees oblique."""
    affine = affine_of(
        draw(st.tuples(*[st.floats(0.4, 4.0)] * 3)),
        draw(st.floats(-20.0, 20.0)),
        draw(st.tuples(*[st.floats(-90.0, 90.0)] * 3)),
    )
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    affine[:3, :3] = (affine[:3, :3] * signs)[:, order]
    return affine


def blob(shape, radius_mm, affine):
    """A ball around the middle of the volume."""
    places = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    middle = apply_affine(affine, (np.array(shape) - 1) / 2)
    return np.linalg.norm(places - middle, axis=-1) <= radius_mm


def image_of(data, affine):
    return nib.Nifti1Image(np.asarray(data).astype(np.uint8), affine)


# grids


@settings(deadline=None)
@given(affines(), st.tuples(*[st.integers(2, 40)] * 3), st.floats(0.5, 3.0))
def test_the_working_grid_is_canonical_cubic_and_covers_the_field_of_view(
    affine, shape, spacing_mm
):
    grid = volumes.working_grid(Grid(shape, affine), spacing_mm)
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(grid.spacing_mm, spacing_mm, rtol=0.01)
    # the outer corners of the first and the last voxel lie inside, but for rounding
    corners = np.array(list(itertools.product(*[(-0.5, size - 0.5) for size in shape])))
    places = apply_affine(np.linalg.inv(grid.affine) @ affine, corners)
    np.testing.assert_allclose(places.min(axis=0), -0.5, atol=1e-4)
    edge = np.array(grid.shape) - 0.5
    beyond = edge - places.max(axis=0)
    assert (beyond >= -0.0101).all()
    assert (beyond < 1).all()


@pytest.mark.parametrize("affine", [np.eye(4), FLIPPED, affine_of((1.004, 1, 0.996), 5.0)])
def test_voxels_that_have_the_spacing_already_are_kept(affine, rng):
    image = image_of(rng.random((3, 4, 5)) > 0.5, affine)
    grid = volumes.working_grid(volumes.grid_of(image), 1.0)
    canonical = nib.as_closest_canonical(image)
    np.testing.assert_allclose(grid.affine, canonical.affine)
    np.testing.assert_array_equal(resample(image, grid), canonical.dataobj)


def test_a_field_of_view_too_large_for_the_memory_is_refused():
    # micrometres that were stored as millimetres
    affine = np.diag([1000.0, 1000.0, 1000.0, 1.0])
    with pytest.raises(InputError, match=r"32000 x 16000 x 8000 mm is too large at 1\.0 mm"):
        volumes.working_grid(Grid((32, 16, 8), affine), 1.0)


def test_the_canonical_grid_mirrors_and_reorders_axes():
    grid = volumes.canonical_grid(image_of(np.zeros((2, 3, 4)), PERMUTED))
    # the z axis of the array runs along x, its x axis along y, its y axis downwards
    assert grid.shape == (4, 2, 3)
    np.testing.assert_allclose(grid.spacing_mm, (3.0, 0.7, 0.7))
    assert grid.voxel_volume_mm3 == pytest.approx(1.47)


def test_a_cropped_grid_keeps_the_place_of_its_voxels():
    grid = volumes.grid_of(image_of(np.zeros((9, 9, 9)), PERMUTED))
    cropped = grid.cropped((slice(2, 5), slice(1, 9), slice(3, 4)))
    assert cropped.shape == (3, 8, 1)
    expected = apply_affine(grid.affine, (2, 1, 3))
    np.testing.assert_allclose(apply_affine(cropped.affine, (0, 0, 0)), expected)


def test_grids_are_the_same_up_to_rounding_and_no_further():
    image = image_of(np.zeros((100, 100, 100)), np.eye(4))
    rounded, turned = np.eye(4), np.eye(4)
    rounded[0, 3], turned[0, 1] = 0.005, 0.001
    assert volumes.same_grid(image, image_of(np.zeros((100, 100, 100)), rounded))
    # a thousandth of shear moves the far corner by 0.1 mm
    assert not volumes.same_grid(image, image_of(np.zeros((100, 100, 100)), turned))
    assert not volumes.same_grid(image, image_of(np.zeros((100, 100, 99)), np.eye(4)))


# resampling


@pytest.mark.parametrize("spacing_mm", [0.8, 1.0])
@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((32, 32, 32), FLIPPED),
        ((44, 44, 12), affine_of((0.7, 0.7, 3.0))),
        ((44, 44, 12), affine_of((0.7, 0.7, 3.0), 12.0)),
        ((44, 44, 12), PERMUTED),
    ],
)
def test_a_blob_survives_the_way_there_and_back(shape, affine, spacing_mm):
    image = image_of(blob(shape, 9.0, affine), affine)
    grid = volumes.working_grid(volumes.grid_of(image), spacing_mm)
    there = resample(image, grid)
    working = nib.Nifti1Image(there, grid.affine)
    back = resample(working, volumes.grid_of(image)) >= 0.5
    truth = np.asanyarray(image.dataobj) > 0
    dice = 2 * (back & truth).sum() / (back.sum() + truth.sum())
    assert dice > 0.9
    # mm³ are kept as well, to 5 %
    assert (there >= 0.5).sum() * grid.voxel_volume_mm3 == pytest.approx(
        truth.sum() * np.prod(nib.affines.voxel_sizes(affine)), rel=0.05
    )


def test_outside_the_field_of_view_there_is_nothing():
    image = image_of(np.ones((2, 2, 2)), np.eye(4))
    far = affine_of((1.0, 1.0, 1.0), shift_mm=(50.0, 0.0, 0.0))
    resampled = resample(image, Grid((3, 3, 3), far))
    assert resampled.dtype == np.float32
    assert not resampled.any()


# so far apart that neighbours cannot merge
LATTICE = [(x, y, z) for x in (0, 6, 12) for y in (0, 6, 12) for z in (0, 4, 8)]
SPACINGS = [(0.7, 0.7, 3.0), (0.72, 0.72, 3.0), (3.0, 0.9, 0.9), (1.0, 1.0, 1.0), (0.5, 0.5, 1.5)]


@settings(deadline=None)
@given(
    st.sets(st.sampled_from(LATTICE)),
    st.sampled_from(SPACINGS),
    st.floats(-15.0, 15.0),
    st.sampled_from((0.8, 1.0)),
)
def test_resampling_keeps_every_lesion_of_one_voxel(voxels, spacing, angle, spacing_mm):
    data = np.zeros((13, 13, 9), bool)
    for voxel in voxels:
        data[voxel] = True
    affine = affine_of(spacing, angle)
    grid = volumes.working_grid(Grid((13, 13, 9), affine), spacing_mm)
    mask = resample_mask(image_of(data, affine), grid)
    assert label_lesions(mask)[1] == len(voxels)
    places = apply_affine(grid.affine, np.argwhere(mask))
    for voxel in voxels:
        away = np.linalg.norm(places - apply_affine(affine, voxel), axis=1)
        assert away.min() <= spacing_mm * np.sqrt(3) / 2 + 0.5


def test_resampling_an_empty_mask_gives_an_empty_mask():
    mask = resample_mask(image_of(np.zeros((4, 4, 4)), PERMUTED), Grid((3, 3, 3), FLIPPED))
    assert mask.shape == (3, 3, 3)
    assert not mask.any()


# intensities


@settings(deadline=None)
@given(st.floats(0.05, 50.0), st.floats(-500.0, 500.0))
def test_normalising_forgets_gain_and_offset(gain, offset):
    scan = np.random.default_rng(0).normal(100, 20, (9, 9, 9))
    brain = np.ones(scan.shape, bool)
    brain[0] = False
    expected = volumes.normalise(scan, brain)
    np.testing.assert_allclose(volumes.normalise(gain * scan + offset, brain), expected, atol=1e-4)


def test_normalised_brains_have_median_zero_and_unit_deviation(rng):
    scan = rng.normal(300, 40, (20, 20, 20))
    scan[5, 5, 5] = 1e6
    brain = np.ones(scan.shape, bool)
    brain[:2] = False
    normalised = volumes.normalise(scan, brain)
    assert np.median(normalised[brain]) == pytest.approx(0, abs=1e-6)
    assert np.std(normalised[brain]) == pytest.approx(1, abs=0.05)
    assert normalised.max() == 8.0
    # outside lies the value of fluid, the lowest in the brain but for a thousandth
    outside = np.unique(normalised[~brain])
    assert outside == pytest.approx(np.percentile(normalised[brain], 0.1), abs=1e-5)


def test_a_brain_that_is_empty_or_of_one_intensity_is_refused():
    scan = np.ones((3, 3, 3))
    with pytest.raises(InputError, match="no brain is found"):
        volumes.normalise(scan, np.zeros((3, 3, 3), bool))
    with pytest.raises(InputError, match="one intensity"):
        volumes.normalise(scan, np.ones((3, 3, 3), bool))


# patches


def test_a_patch_beyond_the_volume_is_filled():
    volume = np.arange(27, dtype=np.int16).reshape(3, 3, 3)
    inside = volumes.cut_patch(volume, np.array([1, 1, 1]), 2)
    np.testing.assert_array_equal(inside, volume[:2, :2, :2])
    corner = volumes.cut_patch(volume, np.array([0, 0, 0]), 4, fill=-1.0)
    assert corner.shape == (4, 4, 4)
    np.testing.assert_array_equal(corner[2:, 2:, 2:], volume[:2, :2, :2])
    assert (corner == -1).sum() == 64 - 8
    assert (volumes.cut_patch(volume, np.array([99, 0, 0]), 4, fill=-1.0) == -1).all()


@given(affines())
def test_a_full_mask_keeps_its_border_on_a_grid_of_its_own_spacing(affine):
    affine[:3, :3] /= nib.affines.voxel_sizes(affine)
    image = image_of(np.ones((7, 6, 5)), affine)
    grid = volumes.working_grid(volumes.grid_of(image), 1.0)
    assert resample_mask(image, grid).all()


def test_a_lesion_of_one_thick_slice_keeps_its_volume():
    image = image_of(np.ones((6, 6, 1)), affine_of((1.0, 1.0, 3.0)))
    grid = volumes.working_grid(volumes.grid_of(image), 1.0)
    assert resample_mask(image, grid).sum() == 108


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_straight_grids_are_resampled_as_any_others(order, signs, rng):
    scan = rng.normal(size=(13, 9, 11)).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(signs) * (0.7, 1.3, 2.6))[list(order)]
    affine[:3, 3] = (4.2, -3.1, 7.7)
    image = nib.Nifti1Image(scan, affine)
    grid = volumes.working_grid(volumes.grid_of(image), 1.0)
    for moved in (grid, grid._replace(affine=grid.affine + 0.4 * np.eye(4, k=3))):
        found = resample(image, moved)
        wanted = resample_from_to(image, (moved.shape, moved.affine), 1, "grid-constant")
        np.testing.assert_allclose(found, wanted.dataobj, atol=1e-5)
    back = resample(nib.Nifti1Image(found, grid.affine), volumes.grid_of(image))
    assert back.shape == scan.shape


def test_a_box_is_put_back_to_the_same_bits(rng):
    grid = Grid((9, 8, 7), np.diag([-1.0, 1, 3, 1]))
    box = (slice(2, 7), slice(1, 8), slice(0, 4))
    values = rng.normal(size=(5, 7, 4)).astype(np.float32)
    put = resample(nib.Nifti1Image(values, grid.cropped(box).affine), grid)
    wanted = np.zeros(grid.shape, np.float32)
    wanted[box] = values
    assert np.array_equal(put, wanted)
