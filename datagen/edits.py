"""One change to a stored map: a lesion added, removed, faded, merged with another, or split."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8

from datagen.bank import Bank
from datagen.lesions import Matching
from datagen.scene import place_freely
from datagen.strokes import Box, Stroke, capsule, paint_logits, sigmoid

Edit = Literal["add", "remove", "fade", "merge", "split"]
EDITS: tuple[Edit, ...] = get_args(Edit)
Stored = UInt8[np.ndarray, "d h w"]

_THRESHOLD = 128  # of 255: from here on is predicted
_REACH = 2  # voxels around a predicted lesion that rise and fall with it


def edit_map(
    stored: Stored,
    matching: Matching,
    edit: Edit,
    bank: Bank,
    split: str,
    rng: np.random.Generator,
) -> Stored | None:
    """Change one lesion of a map; None where no lesion allows it.

    "add" draws a missed lesion of the truth, or one where nothing is; "remove" leaves a trace of at
    most a third of a predicted lesion, "fade" as much as stays below one half; "merge" joins a
    predicted lesion with its neighbour; "split" cuts one in two.
    """
    count = matching.predicted_hit.size
    if edit == "add":
        return _add(stored, matching, bank, split, rng)
    if count < (2 if edit == "merge" else 1):
        return None
    lesion = 1 + int(rng.integers(count))
    match edit:
        case "remove":
            return scale_lesions(stored, matching, [lesion], float(rng.uniform(0.0, 42.0)))
        case "fade":
            return scale_lesions(stored, matching, [lesion], float(rng.uniform(85.0, 126.0)))
        case "merge":
            return _merge(stored, matching, lesion, rng)
        case "split":
            return _split(stored, matching, lesion)


def scale_lesions(stored: Stored, matching: Matching, lesions: list[int], peak: float) -> Stored:
    """Scale predicted lesions, numbered from 1, and their surroundings to a peak of 0 to 255."""
    labels, scaled = matching.predicted_labels, stored.copy()
    for lesion in lesions:
        voxels = np.argwhere(labels == lesion)
        box = _box(voxels - _REACH, voxels + _REACH)
        near = stored[box]
        own = (labels[box] == 0) | (labels[box] == lesion)
        factor = peak / float(near[labels[box] == lesion].max())
        scaled[box] = np.where(own, np.minimum(scaled[box], near * factor), scaled[box])
    return scaled


def _add(
    stored: Stored, matching: Matching, bank: Bank, split: str, rng: np.random.Generator
) -> Stored | None:
    missed = np.flatnonzero(~matching.truth_hit)
    added = stored.copy()
    peak = float(rng.uniform(150.0, 255.0))
    if missed.size and rng.random() < 0.5:
        drawn = matching.truth_labels == 1 + int(rng.choice(missed))
        added[drawn] = np.maximum(added[drawn], np.uint8(peak))
        return added
    taken = (stored >= _THRESHOLD) | (matching.truth_labels > 0)
    stroke = place_freely(taken, bank.borrow(split, rng), rng)
    return _drawn(stored, stroke._replace(peak=peak / 255), rng) if stroke else None


def _merge(stored: Stored, matching: Matching, lesion: int, rng: np.random.Generator) -> Stored:
    labels = matching.predicted_labels
    voxels = np.argwhere(labels > 0)
    of_voxel = labels[tuple(voxels.T)]
    own, others = voxels[of_voxel == lesion], voxels[of_voxel != lesion]
    start = own[int(rng.integers(len(own)))]
    end = others[int(np.argmin(np.abs(others - start).sum(axis=1)))]
    rod = capsule(start, end, float(rng.uniform(0.8, 1.5)))
    return _drawn(stored, rod._replace(peak=float(rng.uniform(0.6, 0.95))), rng)


def _split(stored: Stored, matching: Matching, lesion: int) -> Stored | None:
    voxels = np.argwhere(matching.predicted_labels == lesion)
    extent = np.ptp(voxels, axis=0)
    axis = int(np.argmax(extent))
    if extent[axis] < 2:
        return None
    middle = int(np.median(voxels[:, axis]))
    gap = voxels[voxels[:, axis] == middle]
    halves = stored.copy()
    place = tuple(gap.T)
    halves[place] = np.minimum(halves[place], _THRESHOLD // 3)
    return halves


def _drawn(stored: Stored, stroke: Stroke, rng: np.random.Generator) -> Stored:
    """Add a stroke with a soft edge."""
    depth, height, width = stored.shape
    probability = sigmoid(
        paint_logits([stroke], (depth, height, width), gain=float(rng.uniform(2.0, 8.0)))
    )
    drawn: np.ndarray = np.maximum(stored, np.round(probability * 255).astype(np.uint8))
    return drawn


def _box(low: np.ndarray, high: np.ndarray) -> Box:
    x, y, z = (
        slice(max(int(a), 0), int(b) + 1)
        for a, b in zip(low.min(axis=0), high.max(axis=0), strict=True)
    )
    return x, y, z
