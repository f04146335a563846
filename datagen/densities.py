"""Where lesions are hit and missed: the dense form of a lesion-wise score."""

import numpy as np
from jaxtyping import Bool, Float16, Float32, Integer

from datagen.lesions import Matching

STRIDE = 4  # voxels along the edge of a block


def lesion_densities(matching: Matching) -> Float16[np.ndarray, "4 i j k"]:
    """Spread a mass of 1 over each lesion's voxels and sum it over blocks of 4³, per kind.

    The kinds are hit and missed lesions of the truth, hit and false lesions of the prediction. The
    sums over a patch are the counts behind the lesion-wise scores. The edges of the patch are
    multiples of 4.
    """
    truth = matching.truth_labels, matching.truth_hit
    predicted = matching.predicted_labels, matching.predicted_hit
    halves = [_densities(labels, hit) for labels, hit in (truth, predicted)]
    densities: np.ndarray = np.concatenate(halves).astype(np.float16)
    return densities


def _densities(
    labels: Integer[np.ndarray, "d h w"], hit: Bool[np.ndarray, " lesions"]
) -> Float32[np.ndarray, "2 i j k"]:
    shape = (2, *(side // STRIDE for side in labels.shape))
    voxels = np.flatnonzero(labels > 0)  # of booleans it is ten times as fast
    of_voxel = labels.ravel()[voxels].astype(np.int64) - 1
    mass = 1 / np.bincount(of_voxel, minlength=hit.size)
    x, y, z = np.unravel_index(voxels, labels.shape)
    blocks = np.ravel_multi_index(
        ((~hit)[of_voxel].astype(np.int64), x // STRIDE, y // STRIDE, z // STRIDE), shape
    )
    summed = np.bincount(blocks, mass[of_voxel], minlength=int(np.prod(shape)))
    return summed.reshape(shape).astype(np.float32)
