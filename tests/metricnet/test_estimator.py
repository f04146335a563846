import numpy as np
import pytest
import torch

from datagen.densities import lesion_densities
from datagen.lesions import match_lesions
from metricnet.checkpoint import load_pretrained
from metricnet.estimator import LesionEstimator, cut, densities, lesion_f1
from metricnet.training import density_error


def densities_of(*counts: float) -> torch.Tensor:
    """Densities that add up to the four counts, in one cell each."""
    found = torch.zeros(1, 4, 2, 2, 2)
    found[0, :, 0, 0, 0] = torch.tensor(counts)
    return found


FULL = torch.ones(1, 1, 8, 8, 8)
EMPTY = torch.zeros(1, 1, 8, 8, 8)


@pytest.mark.parametrize("form", ["structured", "published"])
def test_estimates_are_scores_of_each_sample(form):
    torch.manual_seed(0)
    estimator = LesionEstimator(form, patch=32)
    f1 = estimator(torch.rand(3, 1, 32, 32, 32), torch.zeros(3, 1, 32, 32, 32))
    assert f1.shape == (3,)
    assert ((f1 >= 0) & (f1 <= 1)).all()


def test_published_form_keeps_the_gradient_of_its_linear_output_beyond_the_range():
    estimator = LesionEstimator("published", patch=16).eval()
    torch.nn.init.constant_(estimator.network[-1].bias, -3.0)
    probability = torch.rand(1, 1, 16, 16, 16, requires_grad=True)
    f1 = estimator(probability, torch.zeros(1, 1, 16, 16, 16))
    f1.backward()
    assert f1.item() == 0
    assert probability.grad.abs().sum() > 0


def test_the_structured_form_sees_a_map_as_the_score_does():
    torch.manual_seed(0)
    estimator = LesionEstimator("structured", patch=16).eval()
    truth = torch.zeros(1, 1, 16, 16, 16)
    truth[..., 2:5, 2:5, 2:5] = 1
    faint = 0.3 * torch.rand(1, 1, 16, 16, 16)
    found = 0.5 + 0.5 * torch.rand(1, 1, 16, 16, 16)
    map_, mask = torch.where(truth > 0, found, faint), truth
    assert torch.allclose(estimator(map_, truth), estimator(mask, truth), atol=1e-6)


def test_the_gradient_passes_straight_through_the_cut():
    probability = torch.rand(1, 1, 4, 4, 4, requires_grad=True)
    weights = torch.rand(1, 1, 4, 4, 4)
    (weights * cut(probability)).sum().backward()
    assert torch.equal(probability.grad, weights)
    assert set(cut(torch.tensor([0.49, 0.5]).view(1, 1, 1, 1, 2)).flatten().tolist()) == {0.0, 1.0}


def test_counts_combine_by_the_formula():
    # 3 of 4 truth lesions hit, 3 of 6 predicted ones: 2 · 0.75 · 0.5 / 1.25 = 0.6
    assert lesion_f1(densities_of(3, 1, 3, 3)).item() == pytest.approx(0.6, abs=0.01)


def test_nothing_on_either_side_scores_one():
    assert lesion_f1(densities_of(0, 0, 0, 0)).item() == pytest.approx(1)


def test_one_empty_side_scores_nearly_zero():
    assert lesion_f1(densities_of(0, 0, 0, 2)).item() < 0.02
    assert lesion_f1(densities_of(0, 2, 0, 0)).item() < 0.02


def output_of(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 4, 1, 1, 1).expand(1, 4, 2, 2, 2).contiguous()


def test_lesions_are_counted_only_where_their_mask_is():
    output = output_of(1.0, 0.5, 2.0, 0.25)
    both = densities(output, FULL, FULL)[0, :, 0, 0, 0]
    assert both.tolist() == pytest.approx([0.5, 0.5, 3.0, 1.0])
    assert densities(output, EMPTY, FULL).sum(dim=(2, 3, 4))[0, :2].tolist() == [0, 0]
    assert densities(output, FULL, EMPTY).sum(dim=(2, 3, 4))[0, 2:].tolist() == [0, 0]


def test_a_missed_lesion_is_drawn_towards_being_hit():
    output = output_of(1.0, -0.3, 0.0, 0.0).requires_grad_()
    lesion_f1(densities(output, FULL, EMPTY)).sum().backward()
    assert (output.grad[:, 1] > 0).all()


def test_a_frozen_estimate_has_a_slope_where_one_false_lesion_is_all_there_is():
    false = densities_of(0, 0, 0, 1).requires_grad_()
    exact_formula = torch.autograd.grad(lesion_f1(false).sum(), false)[0][0, 3].min()
    smoothed = torch.autograd.grad(lesion_f1(false, 0.5).sum(), false)[0][0, 3].min()
    assert exact_formula > -0.03
    assert smoothed == pytest.approx(-0.25)
    torch.manual_seed(0)
    estimator = LesionEstimator("structured", 16).eval()
    estimator.network.head.bias.data[:] = 0.5
    estimate = estimator.estimate(*torch.rand(2, 1, 1, 16, 16, 16).unbind(0))
    assert estimate.f1.item() == pytest.approx(lesion_f1(estimate.densities).item())
    assert estimate.f1.item() != pytest.approx(lesion_f1(estimate.densities, 0.5).item())


def test_a_lesion_that_is_alone_in_its_patch_is_estimated_by_how_far_it_shows():
    estimator = load_pretrained().estimator
    lesion = torch.zeros(1, 1, 32, 32, 32)
    lesion[..., 10:15, 10:15, 10:15] = 1
    nothing = torch.zeros_like(lesion)
    false = [
        estimator.estimate(share * lesion, nothing).densities[:, 3].sum().item()
        for share in (0.0, 0.3, 0.6, 1.0)
    ]
    assert false == sorted(false)
    assert false[0] < 0.05
    assert 0.7 < false[3] < 1.3
    assert false[1] < 0.7 * false[3]


def test_structured_form_learns_one_batch_by_heart():
    torch.manual_seed(0)
    truth = torch.zeros(4, 1, 16, 16, 16)
    truth[:, :, 2:5, 2:5, 2:5] = 1
    probability = truth.clone()
    probability[1] = 0
    probability[2, :, 10:13, 10:13, 10:13] = 1
    f1 = torch.tensor([1.0, 0.0, 2 / 3, 1.0])
    pairs = zip(truth[:, 0].numpy(), probability[:, 0].numpy(), strict=True)
    estimator = LesionEstimator("structured", patch=16)
    optimiser = torch.optim.Adam(estimator.parameters(), 3e-3)
    exact = [lesion_densities(match_lesions(a > 0, b > 0)) for a, b in pairs]
    densities = torch.from_numpy(np.stack(exact)).float()
    for _ in range(150):
        optimiser.zero_grad()
        estimate = estimator.estimate(probability, truth)
        error = torch.nn.functional.mse_loss(estimate.f1, f1)
        (error + 0.02 * density_error(estimate.output, densities)).backward()
        optimiser.step()
    assert error.item() < 0.02
