"""Where patches lie: every new lesion in turn, what could be taken for one, and other tissue."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from datagen.errors import InputError
from datagen.lesions import label_lesions
from datagen.scans import Scans
from segnet.baselines import brightening

_CHANGED_Z, _BRIGHT_Z = 5.0, 2.5  # in deviations of the difference, and of the brain
_FEWEST_VOXELS = 3
_MOST_POINTS = 64  # kept of a distractor: a patch needs a place, not a mask
_LESIONS, _DISTRACTORS = 1, 2


class Shares(NamedTuple):
    """Shares of the draws around new lesions and around distractors; the rest is any tissue."""

    lesions: float
    distractors: float = 0.0


class Centres:
    """Centres of patches; draw `n` depends on the seed and on `n` alone.

    New lesions and distractors are drawn case by case in turn, and within a case each once before
    any comes again: a training meets all of them. Their shares hold among the first n draws, for
    every n, to within one. Raises InputError where no case holds a new lesion.
    """

    def __init__(self, cases: Sequence[Scans], shares: Shares, jitter: int, seed: int) -> None:
        self._cases, self._shares, self._jitter, self._seed = cases, shares, jitter, seed
        self._lesions = [_voxels_of_lesions(case.truth) for case in cases]
        if not any(self._lesions):
            raise InputError("no case to train on holds a new lesion")
        looked_for = cases if shares.distractors else []
        self._distractors = [find_distractors(case) for case in looked_for]
        self._brains = [np.flatnonzero(case.brain).astype(np.int32) for case in cases]

    def draw(self, item: int, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """Return a case's number and a voxel of it; one of an object is moved by up to the jitter.

        `rng` is the draw's own.
        """
        lesions = count_share(item, self._shares.lesions)
        if count_share(item + 1, self._shares.lesions) > lesions:
            return self._object(self._lesions, _LESIONS, lesions, rng)
        others = item - lesions
        share = self._shares.distractors / max(1 - self._shares.lesions, 1e-9)
        before = count_share(others, min(share, 1.0))
        if count_share(others + 1, min(share, 1.0)) > before and any(self._distractors):
            return self._object(self._distractors, _DISTRACTORS, before, rng)
        case = int(rng.integers(len(self._cases)))
        voxel = self._brains[case][rng.integers(len(self._brains[case]))]
        return case, np.array(np.unravel_index(voxel, self._cases[case].brain.shape))

    def _object(
        self, objects: list[list[np.ndarray]], kind: int, turn: int, rng: np.random.Generator
    ) -> tuple[int, np.ndarray]:
        holders = [case for case, found in enumerate(objects) if found]
        lap, place = divmod(turn, len(holders))
        case = holders[self._order(len(holders), lap, kind)[place]]
        cycle, at = divmod(lap, len(objects[case]))
        voxels = objects[case][self._order(len(objects[case]), case, cycle, kind)[at]]
        jitter = rng.integers(-self._jitter, self._jitter + 1, size=3)
        return case, voxels[rng.integers(len(voxels))] + jitter

    def _order(self, length: int, *key: int) -> np.ndarray:
        # keys end in the kind, 1 or 2: to a seed, zeros at the end are nothing
        order: np.ndarray = np.random.default_rng([self._seed, *key]).permutation(length)
        return order


def count_share(draws: int, share: float) -> int:
    """Number among the first draws that a share has, spread evenly; in [0, draws]."""
    # products such as 5 * 0.6 may fall a rounding error short of a whole number
    return min(draws, math.floor(draws * share + 1e-9))


def find_distractors(scans: Scans) -> list[np.ndarray]:
    """Places that could be taken for new lesions, an array (points, 3) each.

    Components that brighten by five deviations of the difference, or are as bright at visit 2 as
    lesions are, away from the truth by two voxels; of three voxels at least.
    """
    smooth = ndimage.gaussian_filter(scans.time2, 1.0 / scans.grid.spacing_mm[0])
    is_bright = (smooth > _BRIGHT_Z) & scans.brain
    is_changed = (brightening(scans) > _CHANGED_Z) & scans.brain
    near = ndimage.binary_dilation(scans.truth, np.ones((3, 3, 3)), iterations=2)
    found = []
    for voxels in _voxels_of_lesions((is_bright | is_changed) & ~near):
        if len(voxels) >= _FEWEST_VOXELS:
            found.append(voxels[:: -(-len(voxels) // _MOST_POINTS)])
    return found


def _voxels_of_lesions(mask: Bool[np.ndarray, "x y z"]) -> list[np.ndarray]:
    """Voxels of each component of a mask, an array (voxels, 3) per component."""
    labels, count = label_lesions(mask)
    if not count:
        return []
    points = np.argwhere(labels)
    of_point = labels[tuple(points.T)]
    order = np.argsort(of_point, kind="stable")
    ends = np.cumsum(np.bincount(of_point, minlength=count + 1)[1:])
    return np.split(points[order].astype(np.int32), ends[:-1])
