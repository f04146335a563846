"""Which counts of hits and false lesions give a wanted lesion-wise F1, and which score is due."""

from typing import NamedTuple

import numpy as np

SCORE_BINS = 10
_MOST_FALSE = 40


class Counts(NamedTuple):
    """How many truth lesions a prediction finds, and how many lesions it invents."""

    hits: int
    false: int


class Balance:
    """Fills ten equal bins of the score range evenly with a known number of pairs."""

    def __init__(self, pairs: int) -> None:
        self._room = np.full(SCORE_BINS, pairs // SCORE_BINS)
        self._room[: pairs % SCORE_BINS] += 1

    def wanted(self, rng: np.random.Generator, at_any_score: bool) -> int:
        """Draw one of the bins with the most room left, or one of all bins."""
        if at_any_score:
            return int(rng.integers(SCORE_BINS))
        return int(rng.choice(np.flatnonzero(self._room == self._room.max())))

    def accept(self, f1: float, at_any_score: bool) -> bool:
        """Count a pair in if its bin has room.

        With `at_any_score` a full bin gives way: the pair takes the place of one that is missing
        elsewhere.
        """
        scored = score_bin(f1)
        if self._room[scored] <= 0:
            if not at_any_score:
                return False
            scored = int(np.argmax(self._room))
        self._room[scored] -= 1
        return True


def score_bin(f1: float) -> int:
    """Bin of a score in [0, 1]: ten equal bins, the last one with its upper edge."""
    return min(int(f1 * SCORE_BINS), SCORE_BINS - 1)


def draw_counts(truth_lesions: int, wanted_bin: int, rng: np.random.Generator) -> Counts | None:
    """Draw hits and false lesions whose score, 2 hits / (truth + hits + false), is in the bin.

    That is L-F1 when each hit truth lesion is hit by one predicted lesion. None where no choice of
    up to 40 false lesions reaches the bin. An empty truth scores 1 without and 0 with false
    lesions.
    """
    hits = np.arange(truth_lesions + 1)[:, None]
    false = np.arange(min(_MOST_FALSE, 2 * truth_lesions + 10) + 1)[None]
    total = truth_lesions + hits + false
    f1 = np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.0)
    bins = np.minimum((f1 * SCORE_BINS).astype(int), SCORE_BINS - 1)
    choices = np.argwhere(bins == wanted_bin)
    if not choices.size:
        return None
    chosen = choices[rng.integers(len(choices))]
    return Counts(int(chosen[0]), int(chosen[1]))
