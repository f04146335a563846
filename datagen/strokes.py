"""What a map is drawn with: lesions as signed distances, each with its size and its confidence."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Real

Box = tuple[slice, slice, slice]
Field = Float32[np.ndarray, "_ _ _"]  # of any size: a turned lesion changes its sides

_EDGE = 16.0  # logits per voxel: an edge that the eye takes for hard


class Stroke(NamedTuple):
    """One lesion to draw.

    `field` is the signed distance in voxels, negative inside, `corner` its first voxel's place in
    the patch, which may lie outside. The surface is drawn `growth` voxels outwards, and the
    probability inside is at most `peak`.
    """

    field: Field
    corner: tuple[int, int, int]
    growth: float = 0.0
    peak: float = 1.0

    def shifted(self, steps: tuple[int, int, int]) -> "Stroke":
        """Move by whole voxels."""
        x, y, z = (at + step for at, step in zip(self.corner, steps, strict=True))
        return self._replace(corner=(x, y, z))

    def grown(self, voxels: float) -> "Stroke":
        """Move the surface outwards, or inwards as far as a core is left."""
        return self._replace(growth=max(voxels, -0.7 * self.depth))

    @property
    def depth(self) -> float:
        """Half the thickness of the undistorted lesion, in voxels."""
        return -float(self.field.min())

    def at_least(self, radius: float) -> "Stroke":
        """Draw a lesion that is thinner than a radius, in voxels, as thick as that."""
        return self._replace(growth=max(self.growth, radius - self.depth))

    def within(self, shape: tuple[int, ...]) -> tuple[Box, Field]:
        """Where the stroke lies in a patch, and the part of its field that lies there."""
        spans = [
            (min(max(at, 0), room), min(max(at + side, 0), room))
            for at, side, room in zip(self.corner, self.field.shape, shape, strict=True)
        ]
        x, y, z = (slice(low, high) for low, high in spans)
        i, j, k = (
            slice(low - at, high - at) for (low, high), at in zip(spans, self.corner, strict=True)
        )
        return (x, y, z), self.field[i, j, k]


def paint_logits(
    strokes: Iterable[Stroke],
    shape: tuple[int, int, int],
    gain: float = _EDGE,
    background: float = -9.0,
) -> Float32[np.ndarray, "d h w"]:
    """Draw strokes as logits: `gain` per voxel of depth, up to each peak, on a level background."""
    logits = np.full(shape, background, np.float32)
    for stroke in strokes:
        box, field = stroke.within(shape)
        depth = (np.float32(stroke.growth) - field) * np.float32(gain)
        np.minimum(depth, np.float32(logit(stroke.peak)), out=depth)
        np.maximum(logits[box], depth, out=logits[box])
    return logits


def paint_mask(
    strokes: Iterable[Stroke],
    shape: tuple[int, ...],
    onto: Bool[np.ndarray, "d h w"] | None = None,
) -> Bool[np.ndarray, "d h w"]:
    """Add the voxels inside any stroke, whatever its peak, to a mask, in place; or to a new one."""
    mask = np.zeros(shape, bool) if onto is None else onto
    for stroke in strokes:
        box, field = stroke.within(shape)
        mask[box] |= field < stroke.growth
    return mask


def capsule(start: Real[np.ndarray, "3"], end: Real[np.ndarray, "3"], radius: float) -> Stroke:
    """A rod with round ends between two places of the patch, or a ball around one; in voxels."""
    ends = np.stack([start, end]).astype(np.float32)
    low = np.floor(ends.min(axis=0) - radius - 2).astype(int)
    high = np.ceil(ends.max(axis=0) + radius + 3).astype(int)
    axes = [np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) - ends[0]
    rod = ends[1] - ends[0]
    along = np.clip(places @ rod / max(float(rod @ rod), 1e-6), 0, 1)
    distance = np.linalg.norm(places - along[..., None] * rod, axis=-1) - radius
    corner = (int(low[0]), int(low[1]), int(low[2]))
    return Stroke(distance.astype(np.float32), corner)


def logit(probability: float) -> float:
    """Inverse of the sigmoid, for probabilities that are limited to 1e-4 from both ends."""
    limited = min(max(probability, 1e-4), 1 - 1e-4)
    return float(np.log(limited / (1 - limited)))


def sigmoid(logits: Float32[np.ndarray, "d h w"]) -> Float32[np.ndarray, "d h w"]:
    """Turn logits into probabilities, in place."""
    np.negative(logits, out=logits)
    np.exp(logits, out=logits)
    logits += 1
    np.reciprocal(logits, out=logits)
    return logits
