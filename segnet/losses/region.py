"""Region losses: overlap of probability and truth, voxel by voxel or class by class.

Truths are one-hot over the classes, or the one channel of the foreground. What is said of an empty
truth holds for a class without a voxel.
"""

import torch
from jaxtyping import Float
from monai.losses import DiceLoss, TverskyLoss
from torch import Tensor
from torch.nn import functional

from segnet.choices import Form
from segnet.losses.precision import widen

_SPACE = (2, 3, 4)
# MONAI's form with squares in the denominator is the printed one
_dice = DiceLoss(squared_pred=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
_EPSILON = 1e-6  # the surface-loss authors' code adds it to the denominator alone


def dice_loss(
    probability: Float[Tensor, "batch class d h w"], truth: Float[Tensor, "batch class d h w"]
) -> Float[Tensor, ""]:
    """Dice loss `1 − 2 Σ TP / (Σ T² + Σ P²)` (Celaya et al. 2023, eq. 3; Kamraoui et al., eq. 1).

    In [0, 1], averaged over the classes. The sums run over the whole batch, not per sample: many
    patches hold no new lesion, and alone such a patch would score about 1 with a useless gradient.
    0 where truth and probability are empty (1e-5 is added above and below the line).
    """
    loss: Tensor = _dice(widen(probability), widen(truth))
    return loss


def dice_loss_per_sample(
    probability: Float[Tensor, "batch class d h w"], truth: Float[Tensor, "batch class d h w"]
) -> Float[Tensor, ""]:
    """Dice loss `Σ (T − P)² / (Σ T² + Σ P²)`, the same eq. 3 summed as its authors' code sums it.

    In [0, 1] up to rounding, averaged over samples and classes; 1e-6 is added to the denominator.
    On an empty truth about 1 with hardly a gradient, unless the probability is empty too: then 0.
    """
    probability, truth = widen(probability), widen(truth)
    error, size = _error_and_size(probability, truth)
    return (error / (size + _EPSILON)).mean()


def generalised_dice_loss(
    probability: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    class_weights: Float[Tensor, " class"] | None = None,
    form: Form = "code",
) -> Float[Tensor, ""]:
    """Generalised Dice loss `1 − 2 Σ_k w_k Σ TP / Σ_k w_k Σ (T² + P²)` (Celaya et al., eq. 5).

    In [0, 1], averaged over samples. Without `class_weights` they are those of each sample:
    "code" takes the authors' `1 / (N_k² + 1)` and adds 1e-6 per class to the denominator; "printed"
    takes eq. 6, `1 / N_k²`, where a class without a voxel has no weight, and is 0 where no class
    has one. With "code" such a class dominates, and the loss is near 1. `class_weights` counted
    once over the training set (`segnet.losses.distance.class_weights`) do not change with the
    batch.
    """
    probability, truth = widen(probability), widen(truth)
    error, size = _error_and_size(probability, truth)
    epsilon = _EPSILON if form == "code" else torch.finfo(error.dtype).tiny
    if class_weights is None:
        weights = sample_weights(truth.sum(_SPACE), form)
    else:
        weights = class_weights.to(error)
    return ((weights * error).sum(1) / (weights * size + epsilon).sum(1)).mean()


def sample_weights(
    voxels: Float[Tensor, "batch class"], form: Form = "code"
) -> Float[Tensor, "batch class"]:
    """Weights of classes of `voxels` N_k: `1 / (N_k² + 1)`, or eq. 6 as printed, `1 / N_k²`.

    As printed a class without a voxel would weigh infinitely much; it gets 0.
    """
    if form == "code":
        return 1 / (voxels.square() + 1)
    return torch.where(voxels > 0, 1 / voxels.clamp(min=1).square(), 0)


def tversky_loss(
    probability: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    false_positive_weight: float = 0.3,
    false_negative_weight: float = 0.7,
) -> Float[Tensor, ""]:
    """Tversky loss `1 − Σ TP / (Σ TP + a Σ (1 − T) P + b Σ T (1 − P))` (Salehi et al. 2017, eq. 3).

    In [0, 1], averaged over samples and classes, by MONAI (1e-5 is added above and below the line).
    On an empty truth about 1, and 0 where the probability is empty too.
    """
    tversky = TverskyLoss(alpha=false_positive_weight, beta=false_negative_weight)
    loss: Tensor = tversky(widen(probability), widen(truth))
    return loss


def _error_and_size(probability: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Sums `Σ (T − P)²` and `Σ T² + Σ P²` of every sample and class, the second from the first."""
    # fused in both directions, where a product of tensors passes five times over the volume
    error = functional.mse_loss(probability, truth.to(probability), reduction="none").sum(_SPACE)
    return error, error + 2 * (truth * probability).sum(_SPACE)
