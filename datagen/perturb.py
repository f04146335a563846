"""What a prediction draws of a truth: lesions found askew, missed, half seen and invented."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from datagen.balance import Counts
from datagen.bank import Bank
from datagen.scene import Scene, place_freely
from datagen.strokes import Stroke, capsule, paint_mask

# shares of the found lesions, added up; the others are drawn as they are
_SPLIT, _SHIFTED, _GROWN = 0.1, 0.35, 0.7
_HALF_SEEN = 0.4  # share of the missed lesions that leave a trace


class Draft(NamedTuple):
    """The strokes of a prediction: found lesions, traces of missed ones, and invented ones."""

    found: list[Stroke]
    missed: list[Stroke]
    false: list[Stroke]

    def at_least(self, radius: float) -> "Draft":
        """Draw no lesion thinner than a radius in voxels, but for traces of missed ones."""
        found, false = (
            [stroke.at_least(radius) for stroke in strokes] for strokes in (self.found, self.false)
        )
        return Draft(found, self.missed, false)

    @property
    def strokes(self) -> list[Stroke]:
        """All of them, in order of drawing."""
        return [*self.missed, *self.false, *self.found]


NOTHING = Draft([], [], [])


def draft_prediction(scene: Scene, counts: Counts, bank: Bank, rng: np.random.Generator) -> Draft:
    """Draw a prediction that finds `counts.hits` lesions of the truth and invents `counts.false`.

    Found lesions are kept, shifted, grown, shrunk or split. Some of the missed ones leave a trace
    below one half. Invented ones have shapes of other lesions and touch neither truth nor
    prediction; there are fewer where there is no room. The score of what is drawn is close to the
    one aimed at, not equal: it must be measured.
    """
    order = [scene.lesions[index] for index in rng.permutation(len(scene.lesions))]
    found = [
        edit(lesion, rng)._replace(peak=float(rng.uniform(0.6, 1.0)))
        for lesion in order[: counts.hits]
    ]
    missed = [
        lesion._replace(peak=float(rng.uniform(0.05, 0.45)))
        for lesion in order[counts.hits :]
        if rng.random() < _HALF_SEEN
    ]
    return Draft(found, missed, _invented(scene.truth, found, counts.false, bank, scene, rng))


def edit(lesion: Stroke, rng: np.random.Generator) -> Stroke:
    """Draw a lesion as a network might; it keeps a core of its own."""
    kind = float(rng.random())
    if kind < _SPLIT:
        return split(lesion)
    if kind < _SHIFTED:
        reach = min(int(lesion.depth), 2)  # farther, a thin lesion would lose itself
        x, y, z = rng.integers(-reach, reach + 1, size=3).tolist()
        return lesion.shifted((x, y, z))
    if kind < _GROWN:
        return lesion.grown(float(rng.uniform(-2.0, 2.0)))
    return lesion


def split(lesion: Stroke) -> Stroke:
    """Cut a gap of one voxel through the middle of the longest axis."""
    inside = np.argwhere(lesion.field < 0)
    axis = int(np.argmax(np.ptp(inside, axis=0)))
    gap = lesion.field.copy()
    np.moveaxis(gap, axis, 0)[int(np.median(inside[:, axis]))] = np.abs(lesion.field).max()
    return lesion._replace(field=gap) if (gap < 0).any() else lesion


def hollow(lesion: Stroke, rng: np.random.Generator) -> Stroke:
    """Cut a ball out of the lesion around one of its voxels; its surface alone may remain."""
    inside = np.argwhere(lesion.field < 0)
    centre = inside[rng.integers(len(inside))]
    hole = capsule(centre, centre, float(rng.uniform(0.6, 0.6 + 0.8 * lesion.depth)))
    box, field = hole.within(lesion.field.shape)
    hollowed = lesion.field.copy()
    np.maximum(hollowed[box], -field, out=hollowed[box])
    return lesion._replace(field=hollowed) if (hollowed < 0).any() else lesion


def _invented(
    truth: Bool[np.ndarray, "d h w"],
    found: list[Stroke],
    count: int,
    bank: Bank,
    scene: Scene,
    rng: np.random.Generator,
) -> list[Stroke]:
    if not count:
        return []
    taken = truth | paint_mask(found, scene.shape)
    invented = []
    for _ in range(count):
        stroke = place_freely(taken, bank.borrow(scene.source.split, rng), rng)
        if stroke:
            paint_mask([stroke], taken.shape, taken)
            invented.append(stroke._replace(peak=float(rng.uniform(0.55, 1.0))))
    return invented
