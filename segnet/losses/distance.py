"""Losses on distance maps: signed, in mm, negative inside, from `segnet.distances.signed_distance`.

They blend with a region loss by a schedule (`segnet.losses.schedule`). On MS lesions most lesion
voxels are boundary voxels with distance 0, so that these losses hardly see a missed lesion: the
region term must never vanish.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from segnet.losses.geometric import geometric_loss
from segnet.losses.precision import widen
from segnet.losses.region import sample_weights

_SPACE = (2, 3, 4)
_EPSILON = 1e-6


def hausdorff_loss(
    probability: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    distance: Float[Tensor, "batch class d h w"],
) -> Float[Tensor, ""]:
    """One-sided Hausdorff loss `1/(CN) Σ (T − P)² D²` in mm² (Celaya et al. 2023, eq. 7); ≥ 0.

    One-sided: without the prediction's own map, which would be made anew at every step. On an empty
    truth D is the volume's diagonal everywhere.
    """
    error = (widen(truth) - widen(probability)).square()
    return geometric_loss(error, widen(distance).square())


def boundary_loss(
    probability: Float[Tensor, "batch class d h w"], distance: Float[Tensor, "batch class d h w"]
) -> Float[Tensor, ""]:
    """Boundary loss `1/(CN) Σ D P` in mm (Celaya et al. 2023, eq. 9; Kervadec et al. 2021).

    Below 0 for a good prediction. The paper's code includes the background, whose distances
    outweigh those of small lesions by far; the authors of the loss take the foreground alone, as
    `segnet train` does unless told otherwise. On an empty truth D is the volume's diagonal
    everywhere: every predicted voxel costs alike.
    """
    return geometric_loss(widen(probability), widen(distance))


def surface_loss(
    probability: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    distance: Float[Tensor, "batch class d h w"],
    class_weights: Float[Tensor, " class"] | None = None,
) -> Float[Tensor, ""]:
    """Generalised surface loss (Celaya et al. 2023, eq. 12), in [0, 1], averaged over samples.

    `1 − Σ_k w_k Σ (D (1 − (T + P)))² / Σ_k w_k Σ D²`, with weights from the training set
    (`class_weights`, eq. 13); without them the authors' code takes `1 / (N_k² + 1)` of each sample.
    0 for the truth itself, also for an empty one. 1e-6 per class is added to the denominator, as in
    the code: a patch whose distances are all 0 scores 1, without a gradient.
    """
    probability, truth, distance = widen(probability), widen(truth), widen(distance)
    weights = (
        sample_weights(truth.sum(_SPACE))
        if class_weights is None
        else class_weights.to(probability)
    )
    distance_squared = distance.square()
    kept = (distance_squared * (1 - truth - probability).square()).sum(_SPACE)
    largest = distance_squared.sum(_SPACE)
    share = (weights * kept).sum(1) / (weights * largest + _EPSILON).sum(1)
    return 1 - share.mean()


def class_weights(voxels: Sequence[int], exponent: float = 1.0) -> Float[Tensor, " class"]:
    """Weights `N_k^-p / Σ_j N_j^-p` of classes with `voxels` N_k over the whole training set.

    Celaya et al. 2023, eq. 13 (p = 1) and 17. They sum to 1; a class without a voxel counts as one
    of a single voxel.
    """
    inverse = torch.tensor(voxels, dtype=torch.float64).clamp(min=1) ** -exponent
    return inverse / inverse.sum()
