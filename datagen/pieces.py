"""Pieces of lesions: each overlap of a truth lesion with a predicted one, and what is left of both.

The smallest changes by which a prediction becomes better or worse lesion by lesion.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from datagen.lesions import Matching

_WHOLE = 0.8  # share of changes that touch a whole lesion, not a piece of one
_OFF, _ON = 0, 255


class Pieces(NamedTuple):
    """Flat voxels of the pieces of a patch, the piece of each, from 0, and where pieces lie."""

    voxels: Integer[np.ndarray, " voxels"]
    piece: Integer[np.ndarray, " voxels"]
    is_truth: Bool[np.ndarray, " pieces"]
    is_predicted: Bool[np.ndarray, " pieces"]


def find_pieces(
    truth_labels: Integer[np.ndarray, "d h w"], predicted_labels: Integer[np.ndarray, "d h w"]
) -> Pieces:
    """Cut numbered lesions of both masks into their overlaps and what each has alone."""
    voxels = np.flatnonzero((truth_labels > 0) | (predicted_labels > 0))
    truths, predicted = (
        labels.ravel()[voxels].astype(np.int64) for labels in (truth_labels, predicted_labels)
    )
    key = truths * (predicted.max(initial=0) + 1) + predicted
    _, first, piece = np.unique(key, return_index=True, return_inverse=True)
    return Pieces(voxels, piece, truths[first] > 0, predicted[first] > 0)


def flip_lesion(
    stored: UInt8[np.ndarray, "d h w"], matching: Matching, rng: np.random.Generator
) -> UInt8[np.ndarray, "d h w"] | None:
    """Fill a missed lesion of a stored map, or empty a predicted one, or flip a piece of either.

    Adding and taking away are equally probable where both are possible. None where the patch holds
    no lesion.
    """
    truths, predicted = matching.truth_labels, matching.predicted_labels
    missed = np.flatnonzero(~matching.truth_hit)
    flipped = stored.copy()
    if rng.random() >= _WHOLE:
        pieces = find_pieces(truths, predicted)
        if not pieces.is_truth.size:
            return None
        chosen = int(rng.integers(pieces.is_truth.size))
        voxels = pieces.voxels[pieces.piece == chosen]
        flipped.ravel()[voxels] = _OFF if pieces.is_predicted[chosen] else _ON
    elif missed.size and (rng.random() < 0.5 or not matching.predicted_hit.size):
        flipped[truths == 1 + int(rng.choice(missed))] = _ON
    elif matching.predicted_hit.size:
        flipped[predicted == 1 + int(rng.integers(matching.predicted_hit.size))] = _OFF
    else:
        return None
    return flipped
