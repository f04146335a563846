import numpy as np
import pytest

from datagen.lesions import match_lesions
from datagen.pieces import find_pieces, flip_lesion


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    """A truth lesion that is hit in part, a missed one, and a false one."""
    truth, predicted = np.zeros((2, 12, 12, 12), dtype=bool)
    truth[2, 2, 2:6] = truth[8, 8, 8] = True
    predicted[2, 2, 4:8] = predicted[2:4, 9, 9] = True
    return truth, predicted


def test_pieces_are_overlaps_and_what_is_left_of_each_lesion(masks):
    matching = match_lesions(*masks)
    pieces = find_pieces(matching.truth_labels, matching.predicted_labels)
    sizes = np.bincount(pieces.piece)
    kinds = zip(pieces.is_truth.tolist(), pieces.is_predicted.tolist(), sizes.tolist(), strict=True)
    assert sorted(kinds) == [
        (False, True, 2),
        (False, True, 2),
        (True, False, 1),
        (True, False, 2),
        (True, True, 2),
    ]
    assert masks[0].ravel()[pieces.voxels].tolist() == pieces.is_truth[pieces.piece].tolist()


def test_a_patch_without_lesions_has_no_pieces_and_nothing_to_flip(rng):
    empty = np.zeros((8, 8, 8), dtype=bool)
    matching = match_lesions(empty, empty)
    pieces = find_pieces(matching.truth_labels, matching.predicted_labels)
    assert pieces.voxels.size == pieces.is_truth.size == 0
    assert all(flip_lesion(empty.astype(np.uint8), matching, rng) is None for _ in range(20))


def test_a_flip_fills_or_empties_a_lesion_or_a_piece_of_it(masks, rng):
    truth, predicted = masks
    stored = np.where(predicted, 200, 10).astype(np.uint8)
    matching = match_lesions(truth, predicted)
    pieces = find_pieces(matching.truth_labels, matching.predicted_labels)
    seen = set()
    for _ in range(200):
        flipped = flip_lesion(stored, matching, rng)
        changed = np.flatnonzero(flipped != stored)
        touched = frozenset(pieces.piece[np.searchsorted(pieces.voxels, changed)].tolist())
        assert np.isin(changed, pieces.voxels).all()
        assert set(flipped.ravel()[changed].tolist()) in ({0}, {255})
        seen.add(touched)
    # five pieces by themselves, and the hitting lesion, which is two of them
    assert len(seen) == 6


def test_where_all_is_missed_a_lesion_is_filled(rng):
    truth = np.zeros((8, 8, 8), dtype=bool)
    truth[2, 2, 2:4] = True
    stored = np.zeros((8, 8, 8), dtype=np.uint8)
    flipped = flip_lesion(stored, match_lesions(truth, stored > 0), rng)
    assert np.array_equal(flipped > 0, truth)
