import numpy as np
import pytest
import torch

from datagen.densities import lesion_densities
from datagen.lesions import match_lesions
from metricnet.estimator import LesionEstimator, lesion_f1
from metricnet.training import density_error


def roots_of(*counts: float) -> torch.Tensor:
    """Densities that add up to the four counts, in one cell each."""
    roots = torch.zeros(1, 4, 2, 2, 2)
    roots[0, :, 0, 0, 0] = torch.tensor(counts).sqrt()
    return roots


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


def test_counts_combine_by_the_formula():
    # 3 of 4 truth lesions hit, 3 of 6 predicted ones: 2 · 0.75 · 0.5 / 1.25 = 0.6
    assert lesion_f1(roots_of(3, 1, 3, 3), FULL).item() == pytest.approx(0.6, abs=0.01)


def test_nothing_on_either_side_scores_one():
    assert lesion_f1(roots_of(0, 0, 0, 0), EMPTY).item() == pytest.approx(1)


def test_one_empty_side_scores_nearly_zero():
    assert lesion_f1(roots_of(0, 0, 0, 2), EMPTY).item() < 0.06
    assert lesion_f1(roots_of(0, 2, 0, 0), FULL).item() < 0.06


def test_truth_lesions_are_counted_only_where_the_truth_is():
    assert lesion_f1(roots_of(0, 5, 1, 0), EMPTY).item() == pytest.approx(1)


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
    roots = torch.from_numpy(np.stack(exact)).float().sqrt()
    for _ in range(150):
        optimiser.zero_grad()
        estimate = estimator.estimate(probability, truth)
        error = torch.nn.functional.mse_loss(estimate.f1, f1)
        (error + 0.02 * density_error(estimate.roots, roots)).backward()
        optimiser.step()
    assert error.item() < 0.02
