import numpy as np
import pytest

from datagen.edits import EDITS, edit_map, scale_lesions
from datagen.lesions import label_lesions, match_lesions, score_lesions

SEEDS = range(12)


@pytest.fixture
def pair():
    """Three truth lesions; the first two are hit, and a fourth one is invented."""
    truth, stored = np.zeros((2, 32, 32, 32), np.uint8)
    for x in (4, 14, 24):
        truth[x : x + 4, 4:8, 4:8] = 1
    stored[4:8, 4:8, 4:8] = stored[14:18, 4:8, 4:8] = 220
    stored[20:24, 20:24, 20:24] = 180
    return truth, stored


def edited(pair, edit, bank, seed):
    truth, stored = pair
    matching = match_lesions(truth > 0, stored >= 128)
    return edit_map(stored, matching, edit, bank, "train", np.random.default_rng(seed))


def count(stored):
    return label_lesions(stored >= 128)[1]


@pytest.mark.parametrize(
    ("edit", "lesions"), [("add", 4), ("remove", 2), ("fade", 2), ("merge", 2), ("split", 4)]
)
def test_an_edit_changes_the_number_of_predicted_lesions_by_one(pair, bank, edit, lesions):
    maps = [edited(pair, edit, bank, seed) for seed in SEEDS]
    assert {count(stored) for stored in maps if stored is not None} == {lesions}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_local_and_leaves_the_map_before_it_alone(pair, bank, edit):
    before = pair[1].copy()
    for seed in SEEDS:
        changed = edited(pair, edit, bank, seed)
        assert 0 < (changed != before).sum() < 1500
    np.testing.assert_array_equal(pair[1], before)


def test_adding_finds_a_missed_lesion_or_invents_one(pair, bank):
    scores = {score_lesions(pair[0] > 0, edited(pair, "add", bank, s) >= 128)[3:7] for s in SEEDS}
    assert scores == {(3, 4, 3, 3), (3, 4, 2, 2)}


def test_a_faded_lesion_stays_just_below_one_half_and_a_removed_one_hardly_there(pair, bank):
    for seed in SEEDS:
        for edit, low, high in (("fade", 84, 127), ("remove", 0, 43)):
            changed = edited(pair, edit, bank, seed)
            gone = (pair[1] >= 128) & (changed < 128)
            assert low <= changed[gone].max() <= high


@pytest.mark.parametrize("edit", ["remove", "fade", "merge", "split"])
def test_an_empty_map_can_only_be_added_to(pair, bank, edit):
    empty = pair[0], np.zeros_like(pair[1])
    assert edited(empty, edit, bank, 0) is None
    assert edited(empty, "add", bank, 0) is not None


def test_one_lesion_has_nothing_to_merge_with_and_one_voxel_no_halves(pair, bank):
    stored = np.zeros_like(pair[1])
    stored[9, 9, 9] = 255
    assert edited((pair[0], stored), "merge", bank, 0) is None
    assert edited((pair[0], stored), "split", bank, 0) is None


def test_scaling_a_lesion_leaves_its_neighbour_as_it_is(pair):
    truth, stored = pair
    stored[9:12, 4:8, 4:8] = 200  # one voxel beside the first lesion
    matching = match_lesions(truth > 0, stored >= 128)
    first = int(matching.predicted_labels[5, 5, 5])
    scaled = scale_lesions(stored, matching, [first], 40.0)
    assert scaled[4:8, 4:8, 4:8].max() == 40
    np.testing.assert_array_equal(scaled[9:12], stored[9:12])
