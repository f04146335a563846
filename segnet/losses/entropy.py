"""Cross entropy and its relatives, from logits: one sigmoid channel, or a softmax over classes.

A single channel is the logit of the foreground against the background. Every function here is
finite for every finite logit, and an empty truth is a truth like any other.
"""

import torch
from jaxtyping import Float
from monai.losses.focal_loss import sigmoid_focal_loss, softmax_focal_loss
from torch import Tensor
from torch.nn import functional

from segnet.choices import Form
from segnet.losses.precision import widen
from segnet.losses.region import dice_loss_per_sample


def bce_loss(
    logits: Float[Tensor, "batch class d h w"], truth: Float[Tensor, "batch class d h w"]
) -> Float[Tensor, ""]:
    """Binary cross entropy `−(T log P + (1 − T) log(1 − P))`, the mean over all voxels; ≥ 0.

    Each channel is a question of its own, P is its sigmoid (Zhang et al. 2021, below eq. 1).
    """
    return functional.binary_cross_entropy_with_logits(widen(logits), widen(truth))


def cross_entropy(
    logits: Float[Tensor, "batch class d h w"], truth: Float[Tensor, "batch class d h w"]
) -> Float[Tensor, "batch d h w"]:
    """Cross entropy of each voxel, `−Σ_k T_k log P_k`; ≥ 0. One channel counts as two classes."""
    logits, truth = widen(logits), widen(truth)
    if logits.shape[1] == 1:
        losses = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return losses[:, 0]
    return -(truth * logits.log_softmax(1)).sum(1)


def dice_ce_loss(
    logits: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    form: Form = "printed",
) -> Float[Tensor, ""]:
    """Dice plus cross entropy (Celaya et al. 2023, eq. 4); ≥ 0.

    "printed" divides the cross entropy by the number of classes and of voxels, "code" by the voxels
    alone, which is `C` times as much. An empty truth leaves the Dice term about 1 for that class.
    One channel counts as two classes, in both terms.
    """
    truth = widen(truth)
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
        truth = torch.cat([1 - truth, truth], 1)
    log_probability = widen(logits).log_softmax(1)
    entropy = -(truth * log_probability).sum(1).mean()
    share = entropy / logits.shape[1] if form == "printed" else entropy
    return dice_loss_per_sample(log_probability.exp(), truth) + share


def focal_loss(
    logits: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    exponent: float = 2.0,
) -> Float[Tensor, ""]:
    """Focal loss `−(1 − P_t)^γ log P_t` of the true class, the mean over voxels; ≥ 0.

    Lin et al. 2017, eq. 4, with their γ = 2, by MONAI (whose own mean over classes would divide it
    by `C` once more). γ = 0 is cross entropy.
    """
    logits, truth = widen(logits), widen(truth)
    focal = sigmoid_focal_loss if logits.shape[1] == 1 else softmax_focal_loss
    losses: Tensor = focal(logits, truth, exponent)
    return losses.sum(1).mean()


def confident_prediction_penalty(
    logits: Float[Tensor, "batch class d h w"],
) -> Float[Tensor, ""]:
    """Negative entropy `Σ_k P_k log P_k`, the mean over voxels, in [−log C, 0].

    0 where every voxel is certain; beside a cross entropy it holds a network back from certainty
    (Pereyra et al. 2017, section 3). One channel counts as two classes.
    """
    logits = widen(logits)
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    log_probability = logits.log_softmax(1)
    return (log_probability.exp() * log_probability).sum(1).mean()


def confidence_penalised_ce_loss(
    logits: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    weight: float = 0.1,
) -> Float[Tensor, ""]:
    """Cross entropy minus `weight` times the entropy of the prediction (Pereyra et al. 2017).

    At least `−weight · log C`. 0.1 is one of the weights that they report; Calivá et al., who
    compare with this loss, print none.
    """
    penalty = confident_prediction_penalty(logits)
    return cross_entropy(logits, truth).mean() + weight * penalty


def distance_penalised_ce_loss(
    logits: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    penalty: Float[Tensor, "batch 1 d h w"],
) -> Float[Tensor, ""]:
    """Distance-map penalised cross entropy `mean((1 + Φ) · CE)` (Calivá et al. 2019, eq. 2); ≥ 0.

    `penalty` is Φ of `segnet.distances.penalty_map`: large near the objects' boundaries, in voxels
    as published, or normalised to [0, 1). In voxels its scale depends on the volume: outside small
    lesions it is up to about 100, inside hardly above 0, and a missed voxel costs next to nothing
    beside a false one. Where there is no object Φ is 0, and this is plain cross entropy.
    """
    return ((1 + widen(penalty)[:, 0]) * cross_entropy(logits, truth)).mean()
