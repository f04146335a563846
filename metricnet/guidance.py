"""The slope of F̂, kept to what the score can be changed by: whole lesions, and towards the truth.

The score counts lesions, so one voxel hardly ever changes it, and the voxel-wise slope of a network
that was fitted to it is mostly noise: an optimiser that follows it ends at maps that no estimator
has learnt from. Five things make a slope of it that holds:

- It is that of the score of the whole batch: the lesions of all samples are counted together. In
  a patch without a truth lesion the score is 0 from the first false lesion on, and flat from there.
- False lesions may count more than once there: patches that are drawn around lesions hold fewer
  of them for each true one than a patient does.
- It is taken where missed parts of the truth already show a little: on the way to a lesion, not at
  its absence, where a network of rectified units has no slope to speak of.
- Each patch is cut into pieces, one for each overlap of a truth lesion with a predicted one and for
  what each of the two has alone. All voxels of a piece share its mean slope.
- Slopes that lead away from the truth are 0: no voxel of the truth is lowered, and none outside is
  raised. What belongs to no lesion has none.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.nn import functional

from datagen.pieces import find_pieces
from metricnet.estimator import SLOPE_FLOOR, LesionEstimator, lesion_f1
from metricnet.exact import CutMaps

_GLIMPSE = 0.2  # what a missed part of the truth shows where its slope is taken


class NumberedPieces(NamedTuple):
    """Pieces of the lesions of a batch, numbered through from 1; 0 is no lesion's voxel."""

    number: Integer[Tensor, "batch 1 d h w"]
    is_truth: Bool[Tensor, " pieces"]


def cut_into_pieces(
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    maps: CutMaps | None = None,
) -> NumberedPieces:
    """Find the pieces of truth lesions and of lesions predicted from one half on.

    `maps` are both cut already; the volumes may reach beyond them, by background.
    """
    maps = maps or CutMaps(probability, truth)
    number = np.zeros(maps.shape, dtype=np.int32)
    is_truth = [np.zeros(0, dtype=bool)]
    before = 1
    for own, matching in zip(number, maps.matchings, strict=True):
        pieces = find_pieces(matching.truth_labels, matching.predicted_labels)
        own.ravel()[pieces.voxels] = pieces.piece + before
        is_truth.append(pieces.is_truth)
        before += len(pieces.is_truth)
    parts = number[:, None], np.concatenate(is_truth)
    numbered, of_truth = (torch.from_numpy(part).to(probability.device) for part in parts)
    missing = zip(probability.shape[:1:-1], maps.shape[:0:-1], strict=True)
    beyond = [size for whole, part in missing for size in (0, whole - part)]
    return NumberedPieces(functional.pad(numbered.long(), beyond), of_truth)


def estimate_with_slope(
    estimator: LesionEstimator,
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    classes: int = 1,
    false_weight: float = 1.0,
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 1 d h w"]]:
    """Return F̂ of each sample, and the slope of the batch's F̂ towards the truth, voxel by voxel.

    Samples of several classes follow each other class by class; each class has its own score. The
    slope is as long as if each sample had it to itself: weighted by one over their number, it is
    that of the mean over the classes. False lesions count `false_weight` times in it.
    """
    near = _at_a_glimpse(estimator, probability, truth)
    f1, slope = _slope_at(estimator, near, truth, classes, false_weight)
    return _as_shown(estimator, f1, near, probability, truth), slope


def _at_a_glimpse(estimator: LesionEstimator, probability: Tensor, truth: Tensor) -> Tensor:
    """Show missed parts of the truth a little."""
    with torch.no_grad():
        return torch.maximum(estimator.shown(probability), _GLIMPSE * truth)


def _slope_at(
    estimator: LesionEstimator, near: Tensor, truth: Tensor, classes: int, false_weight: float
) -> tuple[Tensor, Tensor]:
    """F̂ of each sample, and the slope of the batch's F̂."""
    with torch.enable_grad():
        near = near.detach().requires_grad_()
        estimate = estimator.estimate(near, truth)
        if estimate.densities is None:
            total = estimate.f1.sum()
        else:
            of_classes = estimate.densities.view(-1, classes, *estimate.densities.shape[1:])
            of_batch = lesion_f1(of_classes.sum(0), SLOPE_FLOOR, false_weight)
            total = len(of_classes) * of_batch.sum()
        (slope,) = torch.autograd.grad(total, near)
    return estimate.f1.detach(), slope


def _as_shown(
    estimator: LesionEstimator, f1: Tensor, near: Tensor, probability: Tensor, truth: Tensor
) -> Tensor:
    """Estimate those samples anew of which more was shown than there is."""
    with torch.no_grad():
        shown, f1 = estimator.shown(probability), f1.clone()
        is_missed = (near != shown).flatten(1).any(dim=1)
        if is_missed.any():
            f1[is_missed] = estimator.estimate(shown[is_missed], truth[is_missed]).f1
    return f1


def guide(
    slope: Float[Tensor, "batch 1 d h w"], pieces: NumberedPieces
) -> Float[Tensor, "batch 1 d h w"]:
    """Project a slope of F̂ onto the pieces, and limit it to the direction of the truth.

    Before the limit this is the orthogonal projection onto maps that are constant on each piece,
    so the result still leads uphill.
    """
    number = pieces.number.flatten()
    count = len(pieces.is_truth) + 1
    total = slope.new_zeros(count).index_add(0, number, slope.flatten())
    mean = total / torch.bincount(number, minlength=count).clamp(min=1)
    of_piece = mean[1:]
    mean[1:] = torch.where(pieces.is_truth, of_piece.clamp(min=0), of_piece.clamp(max=0))
    mean[0] = 0
    guided: Tensor = mean[number].view(slope.shape)
    return guided


class GuidedEstimate(torch.autograd.Function):
    """F̂ of each sample, with the guided slope of the batch's for its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        probability: Tensor,
        truth: Tensor,
        estimator: LesionEstimator,
        classes: int,
        false_weight: float,
        maps: CutMaps | None,
    ) -> Tensor:
        """Estimate the scores, and work out their slope while the network is at hand."""
        near = _at_a_glimpse(estimator, probability, truth)
        f1, slope = _slope_at(estimator, near, truth, classes, false_weight)
        # a GPU is still at work on the slope while lesions are labelled here
        pieces = cut_into_pieces(probability, truth, maps)
        ctx.save_for_backward(guide(slope, pieces))
        return _as_shown(estimator, f1, near, probability, truth)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        """Scale the slope of each sample."""
        (slope,) = ctx.saved_tensors
        return outer[0].view(-1, 1, 1, 1, 1) * slope, None, None, None, None, None
