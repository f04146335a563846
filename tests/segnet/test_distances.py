import numpy as np
import pytest

from datagen.errors import InputError
from segnet import distances
from segnet.distances import cached_maps, distance_maps, penalty_map, signed_distance

MM = (1.0, 1.0, 1.0)


@pytest.fixture
def cube() -> np.ndarray:
    """A cube of 5³ in the middle of 11³."""
    mask = np.zeros((11, 11, 11), bool)
    mask[3:8, 3:8, 3:8] = True
    return mask


def test_distance_is_negative_inside_zero_on_the_boundary_and_positive_outside(cube):
    along = signed_distance(cube, MM)[:, 5, 5]
    assert along.tolist() == [3, 2, 1, 0, -1, -2, -1, 0, 1, 2, 3]


def test_spacing_counts_in_millimetres_along_its_own_axis(cube):
    distance = signed_distance(cube, (1.0, 1.0, 3.0))
    assert distance[5, 5, 0] == 9
    assert distance[0, 5, 5] == 3


def test_the_border_of_the_image_is_no_boundary():
    mask = np.zeros((6, 4, 4), bool)
    mask[:3] = True  # touches five faces of the image
    assert signed_distance(mask, MM)[:, 2, 2].tolist() == [-2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize(("filled", "sign"), [(False, 1), (True, -1)])
def test_a_class_without_a_boundary_is_a_diagonal_away(filled, sign):
    mask = np.full((3, 4, 5), filled)
    found = signed_distance(mask, (1.0, 2.0, 1.0))
    assert found == pytest.approx(sign * np.sqrt(9 + 64 + 25))


def test_penalty_is_largest_along_both_sides_of_the_boundary(cube):
    penalty = penalty_map(cube.astype(np.uint8), is_normalised=False)[:, 5, 5]
    # inside the depth is 1 2 3 2 1, reverted 2 1 0 1 2
    assert penalty[3:8].tolist() == [2, 1, 0, 1, 2]
    assert np.diff(penalty[:3]) == pytest.approx(1)
    assert np.diff(penalty[8:]) == pytest.approx(-1)


def test_each_object_has_a_penalty_of_its_own(cube):
    labels = cube.astype(np.uint8)
    labels[0, 0, 0] = 1  # a second object of the same class
    labels[9:, 9:, 9:] = 2
    penalty = penalty_map(labels, is_normalised=False)
    assert penalty[3:8, 5, 5].tolist() == [2, 1, 0, 1, 2]
    assert penalty[0, 0, 0] == 0
    assert penalty[9, 9, 9] < 2


def test_touching_bones_are_objects_apart():
    labels = np.zeros((12, 5, 5), np.uint8)
    labels[1:6, 1:4, 1:4], labels[6:11, 1:4, 1:4] = 1, 2
    penalty = penalty_map(labels, is_normalised=False)
    assert penalty[5, 2, 2] == penalty[6, 2, 2] == 1  # at the joint, as at the outer ends
    assert penalty[3, 2, 2] == penalty[8, 2, 2] == 0


def test_normalised_penalty_lies_between_zero_and_one(cube):
    raw, normalised = (penalty_map(cube.astype(np.uint8), flag) for flag in (False, True))
    assert raw.max() > 3
    assert 0 <= normalised.min() < normalised.max() < 1
    assert normalised[3, 5, 5] == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [0, 1])
def test_there_is_no_penalty_without_object_or_without_background(value):
    assert not penalty_map(np.full((3, 3, 3), value, np.uint8), is_normalised=True).any()


def test_mirroring_the_labels_mirrors_the_maps(cube):
    cube[3, 3, 3] = False
    for kind in ("classes", "penalty"):
        maps = distance_maps(cube.astype(np.uint8), 2, (1.0, 1.0, 2.0), kind)
        mirrored = distance_maps(cube[::-1, :, ::-1].astype(np.uint8), 2, (1.0, 1.0, 2.0), kind)
        np.testing.assert_allclose(maps[:, ::-1, :, ::-1], mirrored, atol=1e-5)


def test_maps_are_made_once_and_read_ever_after(cube, tmp_path, monkeypatch):
    labels = cube.astype(np.uint8)
    first = cached_maps(tmp_path, labels, 2, MM, "classes")
    assert first.shape == (2, 11, 11, 11)
    assert np.array_equal(first, distance_maps(labels, 2, MM, "classes"))
    monkeypatch.setattr(distances, "distance_maps", None)  # whoever calls it fails
    assert np.array_equal(cached_maps(tmp_path, labels.copy(), 2, MM, "classes"), first)
    assert len(list(tmp_path.iterdir())) == 1


def test_other_labels_spacing_or_kind_make_other_maps(cube, tmp_path):
    labels = cube.astype(np.uint8)
    cached_maps(tmp_path, labels, 2, MM, "foreground")
    cached_maps(tmp_path, labels, 2, (1.0, 1.0, 3.0), "foreground")
    cached_maps(tmp_path, labels, 2, MM, "normalised_penalty")
    cached_maps(tmp_path, labels[::-1, :, :8], 2, MM, "foreground")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_map_is_refused_by_name(cube, tmp_path):
    cached_maps(tmp_path, cube.astype(np.uint8), 2, MM, "foreground")
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"is damaged .* delete it"):
        cached_maps(tmp_path, cube.astype(np.uint8), 2, MM, "foreground")
