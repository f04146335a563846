"""Lesions of two masks that share voxels, and which of them the MSSEG-2 challenge detects."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer

# Commowick et al., MSSEG-2 evaluation criteria (2021)
_MIN_FRACTION = 0.1  # alpha: share of a lesion that must be covered
_MAX_OUTSIDE = 0.7  # beta: share of a covering component that may lie outside every lesion
_EXPLAINED = 0.65  # gamma: share of the overlap after which no further component is looked at


class Overlaps(NamedTuple):
    """Pairs of lesions of two masks that share voxels, by their labels, and how many voxels."""

    lesion: Integer[np.ndarray, " pairs"]
    other: Integer[np.ndarray, " pairs"]
    voxels: Integer[np.ndarray, " pairs"]

    def swapped(self) -> "Overlaps":
        """Return the pairs as the other mask sees them."""
        return Overlaps(self.other, self.lesion, self.voxels)


def count_overlaps(
    lesions: Integer[np.ndarray, " voxels"],
    others: Integer[np.ndarray, " voxels"],
    other_labels: int,
) -> Overlaps:
    """Count the voxels of each pair of labels; entries of both belong to the same voxel."""
    joint = lesions.astype(np.int64) * other_labels + others
    pairs, voxels = np.unique(joint, return_counts=True)
    return Overlaps(pairs // other_labels, pairs % other_labels, voxels)


def detected(
    overlaps: Overlaps,
    sizes: Integer[np.ndarray, " labels"],
    other_sizes: Integer[np.ndarray, " other_labels"],
) -> Bool[np.ndarray, " lesions"]:
    """Tell which lesions the other mask's components detect; sizes in voxels by label, 0 first."""
    count, other_count = sizes.size, other_sizes.size
    covered = np.bincount(overlaps.lesion, overlaps.voxels, minlength=count)
    inside = np.bincount(overlaps.other, overlaps.voxels, minlength=other_count)
    outside = 1 - inside / np.maximum(other_sizes, 1)
    # each lesion's components by decreasing overlap; equal ones by their number
    order = np.lexsort((overlaps.other, -overlaps.voxels, overlaps.lesion))
    lesion, voxels = overlaps.lesion[order], overlaps.voxels[order]
    before = np.cumsum(voxels) - voxels
    first = np.searchsorted(lesion, lesion)
    explained = (before - before[first]) / covered[lesion]
    strays = (explained < _EXPLAINED) & (outside[overlaps.other[order]] > _MAX_OUTSIDE)
    refused = np.bincount(lesion, strays, minlength=count) > 0
    found: np.ndarray = (covered > _MIN_FRACTION * sizes) & ~refused
    return found[1:]
