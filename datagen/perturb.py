"""A truth mask becomes a plausible prediction: lesions missed, found askew, and invented."""

from collections.abc import Sequence

import cc3d
import numpy as np
from jaxtyping import Bool, Float32, Integer
from scipy import ndimage

from datagen.balance import Counts

Box = tuple[slice, slice, slice]
Shape = Bool[np.ndarray, "_ _ _"]  # of any size: a turned lesion changes its sides

_MARGIN = 3  # voxels around a lesion in which its edited form may lie
_PLACES_TRIED = 12
_CUBE = np.ones((3, 3, 3), bool)


def perturb(
    labels: Integer[np.ndarray, "d h w"],
    counts: Counts,
    invented_shapes: Sequence[Shape],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "d h w"]:
    """Draw a prediction for a labelled truth: a hard-edged map with one amplitude per lesion.

    `counts.hits` of the truth lesions are kept, shifted, grown, shrunk, split or merged with a
    neighbour; the others are gone or left faint, below one half. `counts.false` lesions with
    shapes drawn from `invented_shapes` are put where the truth has none; fewer where there is no
    room, or no shape. The score of the result is close to the one aimed at, not equal: it must be
    measured.
    """
    boxes = _boxes(labels)
    found = set(rng.permutation(len(boxes))[: counts.hits].tolist())
    prediction = np.zeros(labels.shape, np.float32)
    centres = [tuple((side.start + side.stop) // 2 for side in box) for box in boxes]
    for index, box in enumerate(boxes):
        lesion = labels[box] == index + 1
        if index in found:
            lesion = _edit(lesion, rng)
            if len(found) > 1 and rng.random() < 0.06:
                _bridge(prediction, centres, index, sorted(found), rng)
        amplitude = _amplitude(index in found, rng)
        np.maximum(prediction[box], amplitude * lesion, out=prediction[box])
    _invent(prediction, labels, counts.false, invented_shapes, rng)
    return prediction


def _boxes(labels: Integer[np.ndarray, "d h w"]) -> list[Box]:
    boxes = cc3d.statistics(labels)["bounding_boxes"][1:]
    return [(_widened(x), _widened(y), _widened(z)) for x, y, z in boxes]


def _widened(side: slice) -> slice:
    """Add the margin; a stop beyond the patch is cut off by indexing."""
    return slice(max(side.start - _MARGIN, 0), side.stop + _MARGIN)


def _amplitude(is_found: bool, rng: np.random.Generator) -> float:
    if is_found:
        return float(rng.uniform(0.6, 1.0))
    # most misses leave no trace; the others are lesions that the network half sees
    return float(rng.uniform(0.05, 0.45)) if rng.random() < 0.4 else 0.0


def _edit(lesion: Shape, rng: np.random.Generator) -> Shape:
    """Return the lesion as a network might draw it; never empty."""
    edits = ("keep", "shift", "grow", "shrink", "split")
    match rng.choice(edits, p=[0.3, 0.25, 0.2, 0.15, 0.1]):
        case "shift":
            edited = _shifted(lesion, [int(step) for step in rng.integers(-2, 3, size=3)])
        case "grow":
            edited = ndimage.binary_dilation(lesion, _CUBE if rng.random() < 0.5 else None)
        case "shrink":
            edited = ndimage.binary_erosion(lesion)
        case "split":
            edited = _split(lesion)
        case _:
            edited = lesion
    return edited if edited.any() else lesion


def _shifted(lesion: Shape, steps: list[int]) -> Shape:
    """Move by whole voxels; what leaves the box is gone."""
    pad = max(abs(step) for step in steps)
    start = [pad - step for step in steps]
    room = np.pad(lesion, pad)
    return room[tuple(slice(a, a + side) for a, side in zip(start, lesion.shape, strict=True))]


def _split(lesion: Shape) -> Shape:
    """Cut a gap through the middle of the longest axis."""
    points = np.argwhere(lesion)
    axis = int(np.argmax(np.ptp(points, axis=0)))
    halves = lesion.copy()
    np.moveaxis(halves, axis, 0)[int(np.median(points[:, axis]))] = False
    return halves


def _bridge(
    prediction: Float32[np.ndarray, "d h w"],
    centres: list[tuple[int, ...]],
    index: int,
    found: list[int],
    rng: np.random.Generator,
) -> None:
    """Join a found lesion with the nearest other one by a line three voxels wide."""
    start = np.array(centres[index])
    others = [np.array(centres[other]) for other in found if other != index]
    end = min(others, key=lambda centre: float(np.abs(centre - start).sum()))
    steps = int(np.abs(end - start).max()) + 1
    amplitude = _amplitude(True, rng)
    for x, y, z in np.linspace(start, end, steps).round().astype(int):
        near = tuple(slice(max(centre - 1, 0), centre + 2) for centre in (x, y, z))
        np.maximum(prediction[near], amplitude, out=prediction[near])


def _invent(
    prediction: Float32[np.ndarray, "d h w"],
    labels: Integer[np.ndarray, "d h w"],
    false: int,
    shapes: Sequence[Shape],
    rng: np.random.Generator,
) -> None:
    """Put false lesions where neither the truth nor the prediction lies within two voxels."""
    patch = np.array(labels.shape)
    for _ in range(false if shapes else 0):
        shape = _turned(shapes[int(rng.integers(len(shapes)))], rng)
        if np.any(np.array(shape.shape) > patch // 2):
            continue
        for _ in range(_PLACES_TRIED):
            corner = [int(rng.integers(0, room + 1)) for room in patch - shape.shape]
            around = tuple(
                slice(max(start - 2, 0), start + size + 2)
                for start, size in zip(corner, shape.shape, strict=True)
            )
            if not labels[around].any() and not (prediction[around] >= 0.5).any():
                place = tuple(
                    slice(start, start + size)
                    for start, size in zip(corner, shape.shape, strict=True)
                )
                amplitude = np.float32(rng.uniform(0.55, 1.0))
                np.maximum(prediction[place], amplitude * shape, out=prediction[place])
                break


def _turned(shape: Shape, rng: np.random.Generator) -> Shape:
    turned = np.transpose(shape, rng.permutation(3))
    mirrored: Shape = turned[tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in range(3))]
    return mirrored
