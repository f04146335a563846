import numpy as np
import pytest

from segnet import augment as changes
from segnet.augment import Volumes, augment, warp, warps

QUALITY = [
    changes.blur,
    changes.thicken_slices,
    changes.add_ghosts,
    changes.add_noise,
    changes.bias,
    changes.change_gamma,
    changes.change_scanner,
]


@pytest.fixture
def patch(rng) -> Volumes:
    labels = np.zeros((32, 32, 32), np.uint8)
    labels[10:16, 12:18, 8:14] = 1
    tissue = rng.normal(0, 0.2, (2, 32, 32, 32)).astype(np.float32)
    tissue[1] += 4 * labels
    return Volumes((tissue[0], tissue[1]), labels)


@pytest.mark.parametrize("strength", ["none", "light", "full"])
def test_a_draw_depends_on_its_generator_alone(patch, strength):
    first, second = (augment(patch, strength, np.random.default_rng(4)) for _ in range(2))
    other = augment(patch, strength, np.random.default_rng(5))
    assert np.array_equal(first.visits, second.visits)
    assert np.array_equal(first.visits, other.visits) == (strength == "none")


@pytest.mark.parametrize("strength", ["light", "full"])
def test_the_lesion_stays_brighter_at_visit_2_wherever_its_label_goes(patch, strength):
    for number in range(30):
        rng = np.random.default_rng(number)
        time1, time2 = (changed := augment(patch, strength, rng)).visits
        lesion = changed.labels > 0
        assert lesion.sum() == 6**3
        assert (time2 - time1)[lesion].mean() > (time2 - time1)[~lesion].mean() + 1


@pytest.mark.parametrize("change", QUALITY)
def test_a_change_of_quality_keeps_shape_and_type_and_changes_something(patch, change, rng):
    before = patch.visits[1].copy()
    changed = change(patch.visits[1], rng)
    assert changed.shape == before.shape
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert not np.array_equal(changed, before)
    assert np.array_equal(patch.visits[1], before)  # the cohort in memory stays as it was


def test_thick_slices_are_even_along_one_axis_alone(rng):
    noise = rng.normal(size=(32, 32, 32)).astype(np.float32)
    steps = [np.abs(np.diff(changes.thicken_slices(noise, rng), axis=a)).mean() for a in range(3)]
    assert min(steps) < 0.8 * sorted(steps)[1]


def test_thick_slices_stay_in_their_place(rng):
    ramp = np.indices((32, 32, 32)).sum(axis=0).astype(np.float32)
    for _ in range(10):
        thick = changes.thicken_slices(ramp, rng)
        assert np.abs(thick - ramp)[4:-8, 4:-8, 4:-8].max() < 1e-3


def test_ghosts_repeat_an_object_elsewhere_on_its_line(rng):
    visit = np.full((32, 32, 32), -5, np.float32)
    visit[14:18, 14:18, 14:18] = 5
    ghosts = changes.add_ghosts(visit, rng)
    outside = np.abs(ghosts + 5)
    outside[14:18, 14:18, 14:18] = 0
    touched = [np.flatnonzero(outside.max(axis=(1, 2)) > 0.05).size]
    touched += [np.flatnonzero(outside.max(axis=axes) > 0.05).size for axes in ((0, 2), (0, 1))]
    assert sorted(touched)[:2] == [4, 4]  # along one axis alone
    assert max(touched) > 12


def test_maps_turn_with_the_labels(patch, rng):
    with_maps = patch._replace(maps=[np.where(patch.labels > 0, -1, 1).astype(np.float32)])
    turned = augment(with_maps, "full", rng)
    assert np.array_equal(turned.maps[0] < 0, turned.labels > 0)


def test_patches_with_distance_maps_are_never_warped(patch, rng):
    assert not any(warps("full", True, rng) for _ in range(50))
    assert not any(warps("light", False, rng) for _ in range(50))
    assert 10 < sum(warps("full", False, rng) for _ in range(50)) < 30
    with pytest.raises(ValueError, match="leave the maps out"):
        warp(patch._replace(maps=[np.zeros((32, 32, 32), np.float32)]), 16, rng)


def test_a_warp_moves_truth_and_visits_alike(patch, rng):
    for _ in range(10):
        warped = warp(patch, 24, rng)
        time2, lesion = warped.visits[1], warped.labels > 0
        assert time2.shape == lesion.shape == (24, 24, 24)
        assert lesion.any()
        assert time2[lesion].mean() > 3
        assert np.abs(time2[~lesion]).mean() < 0.4


def test_a_warp_leaves_the_centre_near_the_centre(rng):
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[18:22, 18:22, 18:22] = 1
    empty = labels.astype(np.float32)
    for _ in range(10):
        found = np.argwhere(warp(Volumes((empty, empty), labels), 24, rng).labels)
        assert np.abs(found.mean(axis=0) - 11.5).max() < 6


def test_contrast_changes_stay_small(rng):
    visit = rng.normal(size=(16, 16, 16)).astype(np.float32)
    changed = changes.change_contrast(visit, rng)
    assert 0 < np.abs(changed - visit).mean() < 0.3
