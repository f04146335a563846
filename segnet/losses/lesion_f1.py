"""Component-exact soft lesion-wise F1: the yardstick of the learned term, for comparison."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from datagen.lesions import Matching, match_lesions
from segnet.losses.precision import widen

_THRESHOLDS = (0.3, 0.5, 0.7)
_TINY = 1e-6


class SoftCounts(NamedTuple):
    """Lesions counted by the probability inside them, which gradients reach.

    `truth_lesions` is a plain number; `truth_hits` of them are found, `missed` of that where no
    voxel reaches the threshold; `true_lesions` and `false_lesions` are what the map shows.
    """

    truth_lesions: int
    truth_hits: Tensor
    missed: Tensor
    true_lesions: Tensor
    false_lesions: Tensor


def lesion_f1_loss(
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    thresholds: tuple[float, ...] = _THRESHOLDS,
) -> Float[Tensor, ""]:
    """1 − soft L-F1 under the rule "overlap", the mean over thresholds; in [0, 1].

    The map, without its gradient, is cut at each threshold, and its lesions are matched exactly
    with those of the truth. A hit truth lesion counts by the mean probability of its voxels that
    hit, a missed one by that of all of its voxels; a predicted lesion by its own mean. Counts are
    summed over the batch, then `L-F1 = 2 · LTPR · LPPV / (LTPR + LPPV)`. On a map of zeros and ones
    this is 1 − L-F1 of all lesions of the batch. Without a truth lesion it is f / (1 + f) for f
    false lesions: 0 where nothing is predicted. Does not stand alone: it cannot tell a voxel's
    place inside a lesion.
    """
    probability = widen(probability)
    counted = [_count(probability, truth, threshold) for threshold in thresholds]
    return torch.stack([1 - soft_f1(counts) for counts in counted]).mean()


def soft_f1(counts: SoftCounts) -> Float[Tensor, ""]:
    """L-F1 of soft counts; a missed lesion counts on the predicted side, too, as far as it shows.

    Without that a map whose lesions are all false would have no gradient towards those it misses.
    """
    if not counts.truth_lesions:
        return 1 / (1 + counts.false_lesions)
    ltpr = counts.truth_hits / counts.truth_lesions
    found = counts.true_lesions + counts.missed
    lppv = found / (found + counts.false_lesions).clamp(min=_TINY)
    return 2 * ltpr * lppv / (ltpr + lppv).clamp(min=_TINY)


def _count(probability: Tensor, truth: Tensor, threshold: float) -> SoftCounts:
    """Count the lesions of a batch at one threshold."""
    predicted = (probability.detach() >= threshold)[:, 0].cpu().numpy()
    wanted = (truth[:, 0] > 0).cpu().numpy()
    of_samples = [
        _count_sample(own[0], match_lesions(mask, found), found)
        for own, mask, found in zip(probability, wanted, predicted, strict=True)
    ]
    number = sum(counts.truth_lesions for counts in of_samples)
    soft = torch.stack([torch.stack(counts[1:]) for counts in of_samples]).sum(0)
    return SoftCounts(number, *soft)


def _count_sample(
    probability: Float[Tensor, "d h w"], matching: Matching, predicted: Bool[np.ndarray, "d h w"]
) -> SoftCounts:
    truth_hit, predicted_hit = matching.truth_hit, matching.predicted_hit
    truths, found = matching.truth_labels, matching.predicted_labels
    # of a hit truth lesion the voxels that hit, of a missed one all
    missing = np.concatenate([[False], ~truth_hit])[truths]
    counted = np.where(predicted | missing, truths, 0)
    of_truth = _means(probability, counted, truth_hit.size)
    of_found = _means(probability, found, predicted_hit.size)
    hit = torch.from_numpy(truth_hit).to(probability.device)
    is_true = torch.from_numpy(predicted_hit).to(probability.device)
    return SoftCounts(
        truth_hit.size,
        of_truth.sum(),
        of_truth[~hit].sum(),
        of_found[is_true].sum(),
        of_found[~is_true].sum(),
    )


def _means(probability: Tensor, labels: np.ndarray, count: int) -> Float[Tensor, " lesions"]:
    """Mean probability of each lesion."""
    voxels = np.flatnonzero(labels)
    owner = torch.from_numpy(labels.ravel()[voxels].astype(np.int64) - 1).to(probability.device)
    inside = probability.flatten()[torch.from_numpy(voxels).to(probability.device)]
    sizes = torch.bincount(owner, minlength=count).to(probability)
    return probability.new_zeros(count).index_add(0, owner, inside) / sizes
