import copy

import pytest
import torch

from metricnet import LesionEstimator, LesionWiseLoss


@pytest.fixture
def loss() -> LesionWiseLoss:
    torch.manual_seed(0)
    return LesionWiseLoss(LesionEstimator("structured", patch=32))


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    truth = torch.zeros(2, 1, 32, 32, 32)
    truth[:, :, 8:12, 8:12, 8:12] = 1
    return torch.rand(2, 1, 32, 32, 32), truth


def test_gradient_reaches_the_prediction_alone(loss, maps):
    probability, truth = (volume.clone().requires_grad_() for volume in maps)
    loss(probability, truth).backward()
    assert probability.grad is not None
    assert probability.grad.abs().sum() > 0
    assert truth.grad is None
    assert all(weight.grad is None for weight in loss.estimator.parameters())


def test_estimator_stays_frozen_in_train_mode(loss):
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 1, 1), loss)
    network.train()
    assert not loss.estimator.training
    assert not any(module.training for module in loss.estimator.modules())
    assert not any(weight.requires_grad for weight in loss.parameters())


def test_an_optimiser_step_leaves_the_estimator_as_it_was(loss, maps):
    before = copy.deepcopy(loss.estimator.state_dict())
    network = torch.nn.Conv3d(1, 1, 1)
    optimiser = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=1.0)
    loss(torch.sigmoid(network(maps[0])), maps[1]).backward()
    optimiser.step()
    after = loss.estimator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_loss_is_one_minus_the_mean_estimate(loss, maps):
    assert loss(*maps).item() == pytest.approx(1 - loss.estimated_f1(*maps).mean().item())


def test_another_patch_size_is_refused_with_both_sizes(loss):
    with pytest.raises(ValueError, match="32³, got 16 x 16 x 16"):
        loss(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1, 1, 16, 16, 16))
