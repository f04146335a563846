"""The truth of a pair: a patch of a real mask, with as many lesions as are wanted."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from datagen.bank import MARGIN, Bank, Source
from datagen.strokes import Field, Stroke, paint_mask

MOST_LESIONS = 30
_PLACES_TRIED = 12
_GAP = 2  # voxels that stay free between lesions which must not touch
_JITTER = 3 / 8  # of the patch's edge: a lesion lies anywhere but at the very border


class Scene(NamedTuple):
    """A truth and what it is made of.

    `stable` holds lesions of the same patient that the truth leaves out: those that were there at
    the first visit already.
    """

    truth: Bool[np.ndarray, "d h w"]
    lesions: list[Stroke]
    stable: list[Stroke]
    source: Source

    @property
    def shape(self) -> tuple[int, int, int]:
        """Edges of the patch."""
        depth, height, width = self.truth.shape
        return depth, height, width


def draw_scene(bank: Bank, lesions: int, patch: int, rng: np.random.Generator) -> Scene:
    """Draw a truth of `lesions` lesions, or fewer where the patch has no room.

    A patch around a real lesion keeps as many of its own; the others become `stable`. Where it has
    too few, lesions of patients on the same side of the split are added. A mask without lesions
    lends empty truths alone.
    """
    sources = bank.with_lesions if lesions else bank.sources
    source = sources[int(rng.integers(len(sources)))]
    own = _cut(source, patch, rng) if len(source.corners) else []
    kept, stable = own[:lesions], own[lesions:]
    truth = paint_mask(kept, (patch, patch, patch))
    for _ in range(lesions - len(kept)):
        added = place_freely(truth, bank.borrow(source.split, rng), rng)
        if added:
            paint_mask([added], truth.shape, truth)
            kept.append(added)
    return Scene(truth, kept, stable, source)


def place_freely(
    taken: Bool[np.ndarray, "d h w"], field: Field, rng: np.random.Generator
) -> Stroke | None:
    """Find a place at which a lesion touches nothing; None where twelve places were taken.

    A lesion that is longer than half of the patch has no place.
    """
    patch = np.array(taken.shape)
    size = np.array(field.shape) - 2 * MARGIN
    if np.any(size > patch // 2):
        return None
    for low in rng.integers(0, patch - size + 1, (_PLACES_TRIED, 3)).tolist():
        around = tuple(
            slice(max(at - _GAP, 0), at + side + _GAP)
            for at, side in zip(low, size.tolist(), strict=True)
        )
        if not taken[around].any():
            return Stroke(field, (low[0] - MARGIN, low[1] - MARGIN, low[2] - MARGIN))
    return None


def _cut(source: Source, patch: int, rng: np.random.Generator) -> list[Stroke]:
    """Lay a patch around a lesion drawn at random; return the lesions that it holds, shuffled."""
    lesion = int(rng.integers(len(source.corners)))
    centre = source.corners[lesion] + source.shapes[lesion] // 2
    reach = int(patch * _JITTER)
    corners = source.corners - (centre + rng.integers(-reach, reach + 1, size=3) - patch // 2)
    ends = corners + source.shapes
    near = np.flatnonzero(np.all((corners < patch - MARGIN) & (ends > MARGIN), axis=1))
    strokes = []
    for number in rng.permutation(near).tolist():
        x, y, z = corners[number].tolist()
        stroke = Stroke(source.field(number), (x, y, z))
        if (stroke.within((patch,) * 3)[1] < 0).any():
            strokes.append(stroke)
    return strokes
