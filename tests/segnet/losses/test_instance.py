"""Losses that look at lesions one by one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datagen.lesions import score_lesions
from segnet.losses import blob_loss, lesion_f1_loss
from segnet.losses.blob import number_lesions


@pytest.fixture
def truth() -> torch.Tensor:
    """A lesion of eight voxels and one of a single voxel."""
    truth = torch.zeros(1, 1, 9, 9, 9)
    truth[0, 0, 1:3, 1:3, 1:3] = truth[0, 0, 7, 7, 7] = 1
    return truth


def logits_of(probability: torch.Tensor) -> torch.Tensor:
    return probability.double().logit(eps=1e-12)


def test_a_lesion_counts_alike_whatever_its_size_to_the_blob_loss(truth):
    without_large, without_small = truth.clone(), truth.clone()
    without_large[0, 0, 1:3, 1:3, 1:3] = without_small[0, 0, 7, 7, 7] = 0
    lesions = number_lesions(truth)
    dice = {
        name: blob_dice(logits_of(p), lesions)
        for name, p in {"large": without_large, "small": without_small}.items()
    }
    assert dice["large"] == pytest.approx(dice["small"], abs=1e-4) == pytest.approx(0.5, abs=1e-4)


def blob_dice(logits: torch.Tensor, lesions: torch.Tensor) -> float:
    """Blob loss less its cross entropy, worked out with a loop over the lesions."""
    total = blob_loss(logits, lesions).item()
    entropies = []
    for lesion in range(1, int(lesions.max()) + 1):
        kept = (lesions == 0) | (lesions == lesion)
        target = (lesions == lesion).double()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target, reduction="none"
        )
        entropies.append((losses * kept).mean().item())
    return total - sum(entropies) / len(entropies)


def test_blob_loss_is_the_loop_over_masked_maps(truth):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    lesions = number_lesions(truth)
    losses = []
    for lesion in (1, 2):
        kept = ((lesions == 0) | (lesions == lesion)).double()
        target, masked = (lesions == lesion).double(), torch.sigmoid(logits) * kept
        dice = 1 - (2 * (masked * target).sum() + 1e-5) / (masked.sum() + target.sum() + 1e-5)
        losses.append(dice + torch.nn.functional.binary_cross_entropy(masked, target))
    assert blob_loss(logits, lesions).item() == pytest.approx(torch.stack(losses).mean().item())


def test_samples_without_a_lesion_do_not_dilute_the_blob_loss(truth):
    logits = torch.zeros(2, 1, 9, 9, 9)
    both = torch.cat([truth, torch.zeros_like(truth)])
    alone = blob_loss(logits[:1], number_lesions(truth))
    assert blob_loss(logits, number_lesions(both)).item() == pytest.approx(alone.item())


def test_blob_loss_of_a_batch_without_lesions_is_a_zero_that_can_be_differentiated():
    logits = torch.ones(2, 1, 4, 4, 4, requires_grad=True)
    loss = blob_loss(logits, torch.zeros(2, 1, 4, 4, 4, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


@given(st.integers(0, 1000))
def test_on_zeros_and_ones_the_soft_score_is_the_exact_one(seed):
    generator = torch.Generator().manual_seed(seed)
    truth, found = (torch.rand(2, 1, 1, 7, 7, 7, generator=generator) > 0.95).float()
    exact = score_lesions(truth[0, 0].numpy() > 0, found[0, 0].numpy() > 0).f1
    if truth.any():
        assert 1 - lesion_f1_loss(found, truth).item() == pytest.approx(exact, abs=1e-5)


def test_a_false_lesion_is_pushed_down_and_a_missed_one_up(truth):
    probability = torch.full_like(truth, 0.1)
    probability[0, 0, 1:3, 1:3, 1:3] = 0.6
    probability[0, 0, 4, 4, 4] = 0.8  # false; the single voxel at 7 is missed
    probability.requires_grad_()
    lesion_f1_loss(probability, truth).backward()
    slope = probability.grad[0, 0]
    assert slope[4, 4, 4] > 0
    assert slope[7, 7, 7] < 0
    assert slope[1, 1, 1] < 0
    assert slope[0, 8, 0] == 0  # what is no lesion on either side is left to the Dice loss


def test_a_map_of_false_lesions_alone_still_learns_of_those_it_misses(truth):
    probability = torch.full_like(truth, 0.1)
    probability[0, 0, 4, 4, 4] = 0.8
    probability.requires_grad_()
    lesion_f1_loss(probability, truth).backward()
    assert probability.grad[0, 0, 7, 7, 7] < 0


def test_without_a_truth_lesion_only_silence_is_free():
    empty = torch.zeros(1, 1, 5, 5, 5)
    assert lesion_f1_loss(empty, empty).item() == 0
    false = empty.clone()
    false[0, 0, 2, 2, 2] = 1
    assert lesion_f1_loss(false, empty).item() == pytest.approx(0.5)
