"""Losses of the seed papers, one function per printed formula."""

from segnet.losses.blob import blob_loss
from segnet.losses.distance import boundary_loss, class_weights, hausdorff_loss, surface_loss
from segnet.losses.entropy import (
    bce_loss,
    confidence_penalised_ce_loss,
    confident_prediction_penalty,
    cross_entropy,
    dice_ce_loss,
    distance_penalised_ce_loss,
    focal_loss,
)
from segnet.losses.geometric import fog_loss, geometric_loss, sog_loss
from segnet.losses.lesion_f1 import lesion_f1_loss
from segnet.losses.region import (
    dice_loss,
    dice_loss_per_sample,
    generalised_dice_loss,
    tversky_loss,
)
from segnet.losses.schedule import region_weight

__all__ = [
    "bce_loss",
    "blob_loss",
    "boundary_loss",
    "class_weights",
    "confidence_penalised_ce_loss",
    "confident_prediction_penalty",
    "cross_entropy",
    "dice_ce_loss",
    "dice_loss",
    "dice_loss_per_sample",
    "distance_penalised_ce_loss",
    "focal_loss",
    "fog_loss",
    "generalised_dice_loss",
    "geometric_loss",
    "hausdorff_loss",
    "lesion_f1_loss",
    "region_weight",
    "sog_loss",
    "surface_loss",
    "tversky_loss",
]
