"""The smallest box around a mask."""

import numpy as np
from jaxtyping import Bool


def foreground_box(mask: Bool[np.ndarray, "x y z"]) -> tuple[slice, slice, slice]:
    """Smallest box that holds every voxel of the mask; its first voxel where it is empty."""
    low, high = [0, 0, 0], list(mask.shape)
    for axis in range(3):  # each cut leaves less to look at for the next
        inside = mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(inside.any(axis=others))
        low[axis] = int(filled[0]) if filled.size else 0
        high[axis] = int(filled[-1]) + 1 if filled.size else 1
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])
