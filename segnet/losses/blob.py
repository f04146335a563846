"""Blob loss: every lesion counts alike, whatever its size (Kofler et al. 2023)."""

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional

from datagen.lesions import label_lesions
from segnet.losses.precision import widen

_SMOOTH = 1e-5


def blob_loss(
    logits: Float[Tensor, "batch 1 d h w"], lesions: Integer[Tensor, "batch 1 d h w"]
) -> Float[Tensor, ""]:
    """Mean over lesions of Dice loss plus binary cross entropy with all other lesions masked out.

    Kofler et al. 2023, eq. 2, with the Dice loss of plain sums (1e-5 above and below the line) as
    its authors use it; ≥ 0. `lesions` numbers the lesions of each sample from 1. The mean is taken
    over the lesions of a sample, then over the samples that hold any; it is 0, with a gradient of
    0, where none does. Probabilities are masked, not logits as in the authors' example, where a
    masked voxel has a probability of one half. Does not stand alone: a sample without a lesion is
    not looked at.
    """
    logits = widen(logits)
    losses = [_of_sample(own, labels) for own, labels in zip(logits, lesions, strict=True)]
    means = [loss.mean() for loss in losses if loss.numel()]
    return torch.stack(means).mean() if means else logits.sum() * 0


def number_lesions(truth: Float[Tensor, "batch 1 d h w"]) -> Integer[Tensor, "batch 1 d h w"]:
    """Number the lesions (26 neighbours) of each sample from 1."""
    masks = (truth[:, 0] > 0).cpu().numpy()
    labels = np.stack([label_lesions(mask)[0].astype(np.int64) for mask in masks])
    return torch.from_numpy(labels)[:, None].to(truth.device)


def _of_sample(logits: Tensor, labels: Tensor) -> Float[Tensor, " lesions"]:
    """Loss of each lesion of a sample, from sums over the lesions and over the background."""
    flat, owner = logits.flatten(), labels.flatten()
    present, lesion = torch.unique(owner, return_inverse=True)
    entropy = functional.softplus(torch.where(owner > 0, -flat, flat))
    count = len(present)
    probabilities = _sums(torch.sigmoid(flat), lesion, count)
    entropies = _sums(entropy, lesion, count)
    voxels = _sums(torch.ones_like(flat), lesion, count)
    # where no background voxel is left, the first sum is a lesion's
    first = int(present[0] == 0)
    outside = probabilities[:first].sum(), entropies[:first].sum()
    inside, own_entropies, own_voxels = (
        sums[first:] for sums in (probabilities, entropies, voxels)
    )
    dice = (2 * inside + _SMOOTH) / (outside[0] + inside + own_voxels + _SMOOTH)
    return 1 - dice + (outside[1] + own_entropies) / flat.numel()


def _sums(values: Tensor, owner: Tensor, count: int) -> Tensor:
    return values.new_zeros(count).index_add(0, owner, values)
