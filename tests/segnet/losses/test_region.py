import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segnet.losses import dice_loss, dice_loss_per_sample, generalised_dice_loss


def maps(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(2, 1, 4, 4, 4, generator=generator)
    return probability, (torch.rand(2, 1, 4, 4, 4, generator=generator) > 0.7).float()


@given(st.integers(0, 1000))
def test_dice_loss_is_the_printed_formula_over_the_batch(seed):
    probability, truth = maps(seed)
    printed = 1 - 2 * (truth * probability).sum() / (truth**2 + probability**2).sum()
    assert dice_loss(probability, truth).item() == pytest.approx(printed.item(), abs=1e-5)


def test_perfect_and_empty_predictions_of_an_empty_truth_cost_nothing():
    empty = torch.zeros(1, 1, 4, 4, 4)
    assert dice_loss(empty, empty).item() == pytest.approx(0)


def test_a_false_lesion_in_an_empty_patch_costs_through_the_batch():
    probability, truth = torch.zeros(2, 2, 1, 4, 4, 4)
    truth[0, 0, 0, 0] = probability[0, 0, 0, 0] = 1
    without = dice_loss(probability, truth)
    probability[1, 0, 2, 2] = 1
    assert dice_loss(probability, truth) > without + 0.2


@pytest.mark.parametrize("loss", [dice_loss_per_sample, generalised_dice_loss])
def test_a_nearly_perfect_prediction_keeps_its_small_loss_in_single_precision(loss):
    truth = (torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.9).float()
    probability = (truth - 1e-4).abs()
    exact = float(loss(probability.double(), truth.double()))
    assert 0 < exact < 1e-6
    assert float(loss(probability, truth)) == pytest.approx(exact, rel=1e-3)
