"""The slope of F̂, kept to what the score can be changed by: whole lesions, and towards the truth.

The score counts lesions, so one voxel hardly ever changes it, and a voxel-wise slope of a network
that was fitted to it is mostly noise: an optimiser that follows it finds patterns that no network
of the world was trained on. Here each patch is cut into pieces, one for each overlap of a truth
lesion with a predicted one and for what each of the two has alone. All voxels of a piece share its
mean slope, and slopes that lead away from the truth are 0: no voxel of the truth is lowered, and
none outside is raised. What belongs to no lesion has none.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from datagen.lesions import label_lesions
from datagen.pieces import find_pieces
from metricnet.estimator import THRESHOLD, LesionEstimator


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


def guide(
    slope: Float[Tensor, "batch 1 d h w"], pieces: NumberedPieces
) -> Float[Tensor, "batch 1 d h w"]:
    """Project a slope of F̂ onto the pieces, and limit it to the direction of the truth.

    Before the limit this is the orthogonal projection onto maps that are constant on each piece,
    so the result still leads uphill on F̂.
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
    """F̂ of each sample, with the guided slope for its gradient."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor, truth: Tensor, estimator: LesionEstimator) -> Tensor:
        """Estimate the scores, and work out their slope while the network is at hand."""
        with torch.enable_grad():
            own = probability.detach().requires_grad_()
            f1: Tensor = estimator(own, truth)
            (slope,) = torch.autograd.grad(f1.sum(), own)
        ctx.save_for_backward(guide(slope, cut_into_pieces(probability, truth)))
        return f1.detach()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        """Scale the slope of each sample."""
        (slope,) = ctx.saved_tensors
        return outer[0].view(-1, 1, 1, 1, 1) * slope, None, None
