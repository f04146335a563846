"""Voxel-wise agreement of two masks."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class VoxelScore(NamedTuple):
    """Voxel-wise agreement of a prediction with the truth.

    `sensitivity` is TP / T, `ppv` TP / P, `dice` their harmonic mean. Both masks empty: all three
    are 1; only one empty: 0. `volume_difference_mm3` is predicted - true volume.
    """

    dice: float
    sensitivity: float
    ppv: float
    volume_difference_mm3: float


def score_voxels(
    truth: Bool[np.ndarray, "x y z"],
    prediction: Bool[np.ndarray, "x y z"],
    voxel_volume_mm3: float,
) -> VoxelScore:
    """Count voxels and return the voxel-wise scores.

    >>> mask = np.ones((2, 2, 2), bool)
    >>> score_voxels(mask, mask, voxel_volume_mm3=1.0).sensitivity
    1.0
    """
    shared = int(np.count_nonzero(truth & prediction))
    true, predicted = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    if true + predicted == 0:
        return VoxelScore(1.0, 1.0, 1.0, 0.0)
    difference_mm3 = (predicted - true) * voxel_volume_mm3
    return VoxelScore(
        2 * shared / (true + predicted),
        shared / true if true else 0.0,
        shared / predicted if predicted else 0.0,
        difference_mm3,
    )


def dice_coefficient(
    truth: Bool[np.ndarray, "x y z"], prediction: Bool[np.ndarray, "x y z"]
) -> float:
    """Dice coefficient of two masks; 1 where both are empty."""
    return score_voxels(truth, prediction, 1.0).dice
