import numpy as np
import pytest

from datagen.lesions import label_lesions
from datagen.scene import draw_scene, place_freely
from datagen.strokes import paint_mask


@pytest.mark.parametrize("lesions", [1, 3, 12])
def test_a_truth_has_the_lesions_that_are_wanted(bank, lesions):
    drawn = [draw_scene(bank, lesions, 32, np.random.default_rng(seed)) for seed in range(20)]
    counts = [label_lesions(scene.truth)[1] for scene in drawn]
    assert np.median(counts) == lesions
    assert all(len(scene.lesions) <= lesions for scene in drawn)


def test_the_truth_is_what_its_lesions_draw(bank):
    for seed in range(10):
        scene = draw_scene(bank, 5, 32, np.random.default_rng(seed))
        np.testing.assert_array_equal(scene.truth, paint_mask(scene.lesions, scene.shape))


def test_lesions_that_are_left_out_are_stable(bank):
    scenes = [draw_scene(bank, 1, 32, np.random.default_rng(seed)) for seed in range(20)]
    assert any(scene.stable for scene in scenes)
    for scene in scenes:
        left = paint_mask(scene.stable, scene.shape)
        assert not (left & scene.truth).any()


def test_an_empty_truth_can_be_wanted(bank):
    scene = draw_scene(bank, 0, 32, np.random.default_rng(1))
    assert not scene.truth.any()
    assert scene.lesions == []


def test_a_placed_lesion_touches_nothing(bank, rng):
    taken = rng.random((32, 32, 32)) > 0.9995
    for _ in range(20):
        stroke = place_freely(taken, bank.borrow("train", rng), rng)
        if stroke:
            mask = paint_mask([stroke], taken.shape)
            assert mask.any()
            assert (
                label_lesions(mask | taken)[1] == label_lesions(mask)[1] + label_lesions(taken)[1]
            )


def test_a_full_patch_has_no_room(bank, rng):
    assert place_freely(np.ones((32, 32, 32), bool), bank.borrow("train", rng), rng) is None


def test_a_lesion_longer_than_half_of_the_patch_has_no_room(bank, rng):
    wide = np.full((30, 10, 10), -1, np.float32)
    assert place_freely(np.zeros((32, 32, 32), bool), wide, rng) is None
