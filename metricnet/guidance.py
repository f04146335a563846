"""The slope of F̂, kept to what the score can be changed by: whole lesions, and towards the truth.

The score counts lesions, so one voxel hardly ever changes it, and the voxel-wise slope of a network
that was fitted to it is mostly noise: an optimiser that follows it ends at maps that no estimator
has learnt from. Four things make a slope of it that holds:

- It is that of the score of the whole batch: the lesions of all samples are counted together. In
  a patch without a truth lesion the score is 0 from the first false lesion on, and flat from there.
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

from datagen.lesions import label_lesions
from datagen.pieces import find_pieces
from metricnet.estimator import SLOPE_FLOOR, THRESHOLD, LesionEstimator, lesion_f1

_GLIMPSE = 0.2  # what a missed part of the truth shows where its slope is taken


class NumberedPieces(NamedTuple):
    """Pieces of the lesions of a batch, numbered through from 1; 0 is no lesion's voxel."""

    number: Integer[Tensor, "batch 1 d h w"]
    is_truth: Bool[Tensor, " pieces"]


def cut_into_pieces(
    probability: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
) -> NumberedPieces:
    """Find the pieces of truth lesions and of lesions predicted from one half on."""
    wanted = truth[:, 0].detach().cpu().numpy() > 0
    found = probability[:, 0].detach().cpu().numpy() >= THRESHOLD
    number = np.zeros(wanted.shape, dtype=np.int64)
    is_truth = [np.zeros(0, dtype=bool)]
    before = 1
    for own, truths, predicted in zip(number, wanted, found, strict=True):
        pieces = find_pieces(label_lesions(truths)[0], label_lesions(predicted)[0])
        own.ravel()[pieces.voxels] = pieces.piece + before
        is_truth.append(pieces.is_truth)
        before += len(pieces.is_truth)
    parts = number[:, None], np.concatenate(is_truth)
    return NumberedPieces(*(torch.from_numpy(part).to(probability.device) for part in parts))


def estimate_with_slope(
    estimator: LesionEstimator,
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    classes: int = 1,
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 1 d h w"]]:
    """Return F̂ of each sample, and the slope of the batch's F̂ towards the truth, voxel by voxel.

    Samples of several classes follow each other class by class; each class has its own score. The
    slope is as long as if each sample had it to itself: weighted by one over their number, it is
    that of the mean over the classes.
    """
    with torch.no_grad():
        shown = estimator.shown(probability)
        near = torch.maximum(shown, _GLIMPSE * truth)
    with torch.enable_grad():
        near = near.detach().requires_grad_()
        estimate = estimator.estimate(near, truth)
        if estimate.densities is None:
            total = estimate.f1.sum()
        else:
            of_classes = estimate.densities.view(-1, classes, *estimate.densities.shape[1:])
            total = len(of_classes) * lesion_f1(of_classes.sum(0), SLOPE_FLOOR).sum()
        (slope,) = torch.autograd.grad(total, near)
    f1 = estimate.f1.detach().clone()
    is_missed = (near != shown).flatten(1).any(dim=1)
    if is_missed.any():  # the others were scored as they are shown
        with torch.no_grad():
            f1[is_missed] = estimator.estimate(shown[is_missed], truth[is_missed]).f1
    return f1, slope


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
        ctx: Any, probability: Tensor, truth: Tensor, estimator: LesionEstimator, classes: int
    ) -> Tensor:
        """Estimate the scores, and work out their slope while the network is at hand."""
        f1, slope = estimate_with_slope(estimator, probability, truth, classes)
        ctx.save_for_backward(guide(slope, cut_into_pieces(probability, truth)))
        return f1

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        """Scale the slope of each sample."""
        (slope,) = ctx.saved_tensors
        return outer[0].view(-1, 1, 1, 1, 1) * slope, None, None, None
