"""What a training minimises: a loss of one name, alone or beside a region loss, epoch by epoch."""

from typing import NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from segnet import losses
from segnet.choices import (
    Blended,
    Difference,
    Form,
    Loss,
    MapKind,
    Overlap,
    Region,
    RegionSchedule,
    Sign,
)
from segnet.losses.blob import number_lesions

_REGIONS: tuple[Region, ...] = get_args(Region)
_BLENDED: tuple[Blended, ...] = get_args(Blended)


class LossPlan(NamedTuple):
    """Choice of losses; see the settings of 'segnet train' for what each of them does."""

    loss: Loss = "dice"
    region: Region = "dice"
    weight: float = 1.0
    warmup_epochs: int = 0
    finish_epochs: int = 0
    schedule: RegionSchedule = "linear"
    step_epochs: int = 5
    constant: float = 0.5
    floor: float = 0.1
    form: Form = "printed"
    with_background: bool = False
    difference: Difference = "forward"
    sign: Sign = "absolute"
    normalises_penalty: bool = True
    class_weights: tuple[float, ...] | None = None

    def map_kinds(self) -> tuple[MapKind, ...]:
        """Distance maps that the losses read, in the order of their channels; often none."""
        kinds: list[MapKind] = []
        if self.loss in _BLENDED:
            kinds.append("classes" if self.with_background else "foreground")
        if "distance_ce" in (self.loss, self.region_name()):
            kinds.append("normalised_penalty" if self.normalises_penalty else "penalty")
        return tuple(kinds)

    def region_name(self) -> Region:
        """Region loss of the plan: the loss itself where it stands alone."""
        return next((name for name in _REGIONS if name == self.loss), self.region)


class LossInputs(NamedTuple):
    """One batch as losses see it: a logit per class (or one for the foreground), a one-hot truth.

    `maps` holds the distance maps of the plan, and then Φ, one channel each.
    """

    logits: Float[Tensor, "batch channel d h w"]
    probability: Float[Tensor, "batch channel d h w"]
    truth: Float[Tensor, "batch channel d h w"]
    maps: Float[Tensor, "..."]


class LossTerms(NamedTuple):
    """Total of a batch, its region term and its weight, and the other term where there is one."""

    total: Float[Tensor, ""]
    region: Float[Tensor, ""]
    region_weight: float
    other: Float[Tensor, ""] | None


def as_inputs(
    logits: Float[Tensor, "batch channel d h w"],
    labels: Float[Tensor, "batch 1 d h w"],
    maps: Float[Tensor, "..."],
) -> LossInputs:
    """Return a batch as losses see it; labels count from 0, the background."""
    logits = logits.float()
    if logits.shape[1] == 1:
        return LossInputs(logits, torch.sigmoid(logits), (labels > 0).float(), maps)
    one_hot = functional.one_hot(labels[:, 0].long(), logits.shape[1]).movedim(-1, 1)
    return LossInputs(logits, logits.softmax(1), one_hot.float(), maps)


def foreground(
    probability: Float[Tensor, "batch channel d h w"],
) -> Float[Tensor, "batch class d h w"]:
    """Channels without the background's; a single channel is the foreground."""
    return probability if probability.shape[1] == 1 else probability[:, 1:]


def total_loss(plan: LossPlan, inputs: LossInputs, epoch: int, epochs: int) -> LossTerms:
    """Loss of a batch in an epoch, counted from 0, of `epochs`.

    A region loss alone; region + weight · other, without the other in the first and the last epochs
    of the plan; or a(t) · region + (1 − a(t)) · other for the losses on distance maps.
    """
    region = _region_loss(plan.region_name(), plan, inputs)
    if plan.loss == plan.region_name():
        return LossTerms(region, region, 1.0, None)
    if plan.loss in _BLENDED:
        share = losses.region_weight(
            plan.schedule,
            epoch,
            epochs,
            step_epochs=plan.step_epochs,
            constant=plan.constant,
            floor=plan.floor,
            form=plan.form,
        )
        other = _distance_loss(plan, inputs)
        return LossTerms(share * region + (1 - share) * other, region, share, other)
    if not plan.warmup_epochs <= epoch < epochs - plan.finish_epochs:
        return LossTerms(region, region, 1.0, None)
    other = _added_loss(plan, inputs)
    return LossTerms(region + plan.weight * other, region, 1.0, other)


def _region_loss(name: Region, plan: LossPlan, inputs: LossInputs) -> Tensor:
    logits, truth = inputs.logits, inputs.truth
    match name:
        case "bce":
            return losses.bce_loss(logits, truth)
        case "cross_entropy":
            return losses.cross_entropy(logits, truth).mean()
        case "dice_ce":
            return losses.dice_ce_loss(logits, truth, plan.form)
        case "focal":
            return losses.focal_loss(logits, truth)
        case "confidence_penalty":
            return losses.confidence_penalised_ce_loss(logits, truth)
        case "distance_ce":
            return losses.distance_penalised_ce_loss(logits, truth, inputs.maps[:, -1:])
        case "dice" | "dice_per_sample" | "generalised_dice" | "tversky":
            return _overlap_loss(name, plan, inputs)


def _overlap_loss(name: Overlap, plan: LossPlan, inputs: LossInputs) -> Tensor:
    probability, truth = _shown(plan, inputs)
    match name:
        case "dice_per_sample":
            return losses.dice_loss_per_sample(probability, truth)
        case "generalised_dice":
            weights = _class_weights(plan, probability)
            return losses.generalised_dice_loss(probability, truth, weights, plan.form)
        case "tversky":
            return losses.tversky_loss(probability, truth)
        case "dice":
            return losses.dice_loss(probability, truth)


def _distance_loss(plan: LossPlan, inputs: LossInputs) -> Tensor:
    probability, truth = _shown(plan, inputs)
    distance = inputs.maps[:, : probability.shape[1]]
    match plan.loss:
        case "boundary":
            return losses.boundary_loss(probability, distance)
        case "hausdorff":
            return losses.hausdorff_loss(probability, truth, distance)
        case _:
            weights = _class_weights(plan, probability)
            return losses.surface_loss(probability, truth, distance, weights)


def _added_loss(plan: LossPlan, inputs: LossInputs) -> Tensor:
    probability, truth = foreground(inputs.probability), foreground(inputs.truth)
    match plan.loss:
        case "fog_sagittal":
            return losses.fog_loss(probability, truth, "sagittal", plan.difference)
        case "fog_coronal":
            return losses.fog_loss(probability, truth, "coronal", plan.difference)
        case "fog_axial":
            return losses.fog_loss(probability, truth, "axial", plan.difference)
        case "sog" | "sog_two_sided":
            return losses.sog_loss(probability, truth, plan.loss == "sog_two_sided", plan.sign)
        case "blob":
            return losses.blob_loss(inputs.logits, number_lesions(truth))
        case "lesion_f1":
            return losses.lesion_f1_loss(probability, truth)
        case _:
            return losses.fog_loss(probability, truth, "all", plan.difference)


def _shown(plan: LossPlan, inputs: LossInputs) -> tuple[Tensor, Tensor]:
    """Probability and truth of the classes that count, with or without the background."""
    if not plan.with_background:
        return foreground(inputs.probability), foreground(inputs.truth)
    if inputs.probability.shape[1] > 1:
        return inputs.probability, inputs.truth
    both = (inputs.probability, inputs.truth)
    probability, truth = (torch.cat([1 - channel, channel], 1) for channel in both)
    return probability, truth


def _class_weights(plan: LossPlan, probability: Tensor) -> Tensor | None:
    """Weights of the shown classes: the background is the first of the plan's."""
    if plan.class_weights is None:
        return None
    return torch.tensor(plan.class_weights[-probability.shape[1] :]).to(probability)
