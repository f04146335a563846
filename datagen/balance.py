"""Which score is due next, and which counts of hits and false lesions give it."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SCORE_BINS = 10
CELLS = SCORE_BINS + 2  # exactly 0, the ten bins without their atoms, exactly 1
ZERO, ONE = 0, CELLS - 1
_GOLDEN = (5**0.5 - 1) / 2
_MOST_FALSE = 40


class Counts(NamedTuple):
    """How many truth lesions a prediction finds, and how many lesions it invents."""

    hits: int
    false: int


class Quota:
    """How many pairs of each style and score are still due in one part of a build.

    The n-th pair of a style is due at a score that the n-th point of a golden-ratio sequence picks:
    every stretch of it, and so every part, is even.
    """

    def __init__(self, due: list[tuple[str, int]]) -> None:
        self._due = Counter(due)

    def draw(self, rng: np.random.Generator) -> tuple[str, int]:
        """Draw a style and a score cell that are due."""
        keys = list(self._due)
        return keys[int(rng.choice(len(keys), p=np.array(list(self._due.values())) / len(self)))]

    def take(self, style: str, cell: int) -> bool:
        """Count a pair in if it is due."""
        key = style, cell
        if key not in self._due:
            return False
        self._due[key] -= 1
        if not self._due[key]:
            del self._due[key]
        return True

    def __len__(self) -> int:
        return self._due.total()


def due_scores(
    start: int,
    stop: int,
    styles: Sequence[str],
    atom_shares: tuple[float, float],
    extra: tuple[str, float] | None = None,
) -> list[tuple[str, int]]:
    """Style and score cell that are due for the pairs `start` to `stop` of a build.

    Styles take turns; an `extra` one has a share of its own. Within each, scores are even over ten
    bins; `atom_shares` of the pairs score exactly 0 and exactly 1, and count towards the outer
    bins.
    """
    even, (zero, one) = 1 / SCORE_BINS, atom_shares
    edges = np.cumsum([zero, even - zero, *[even] * (SCORE_BINS - 2), even - one])
    extra_name, extra_share = extra or ("", 0.0)
    due = []
    for number in range(start, stop):
        before = int(number * extra_share)
        if int((number + 1) * extra_share) > before:
            turn, style, name = before, len(styles), extra_name
        else:
            turn, style = divmod(number - before, len(styles))
            name = styles[style]
        # styles begin at different points, lest all of them need the same score at once
        point = ((turn + 1) * _GOLDEN + style / (len(styles) + 1)) % 1
        due.append((name, int(np.searchsorted(edges, point, side="right"))))
    return due


def score_bin(f1: float) -> int:
    """Bin of a score in [0, 1]: ten equal bins, the last one with its upper edge."""
    return min(int(f1 * SCORE_BINS), SCORE_BINS - 1)


def score_cell(f1: float) -> int:
    """Cell of a score: 0 and 1 by themselves, or the bin that it lies in."""
    if f1 <= 0:
        return ZERO
    return ONE if f1 >= 1 else 1 + score_bin(f1)


def draw_counts(
    lesions: int, cell: int, rng: np.random.Generator, most: tuple[int, int] | None = None
) -> Counts | None:
    """Draw hits and false lesions whose score, 2 hits / (truth + hits + false), is in the cell.

    That is L-F1 when each hit truth lesion is hit by one predicted lesion. An empty truth scores 1
    without and 0 with false lesions. None where no choice gives it, of at most as many hits and
    false lesions as `most` says, by default all and up to 40.
    """
    most_hits, most_false = most or (lesions, min(_MOST_FALSE, 2 * lesions + 20))
    hits = np.arange(min(most_hits, lesions) + 1)[:, None]
    false = np.arange(most_false + 1)[None]
    total = lesions + hits + false
    f1 = np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.0)
    cells = np.where(f1 <= 0, ZERO, np.where(f1 >= 1, ONE, 1 + (f1 * SCORE_BINS).astype(int)))
    choices = np.argwhere(cells == cell)
    if not choices.size:
        return None
    chosen = choices[rng.integers(len(choices))]
    return Counts(int(chosen[0]), int(chosen[1]))
