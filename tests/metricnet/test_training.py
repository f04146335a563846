import pytest
import torch

from metricnet.training import contrast_error


def test_only_the_difference_between_relatives_counts():
    exact = torch.tensor([0.5, 0.4, 0.1, 0.9])
    estimated = exact + torch.tensor([0.2, 0.2, 0.5, -0.5])  # off by the same, and strangers
    family = torch.tensor([7, 7, 1, 2])
    assert contrast_error(estimated, exact, family).item() == pytest.approx(0, abs=1e-12)
    estimated = exact + torch.tensor([0.2, -0.1, 0.0, 0.0])
    assert contrast_error(estimated, exact, family).item() == pytest.approx(0.09 / 2)


def test_a_sample_without_a_partner_counts_nothing():
    one = torch.tensor([0.5])
    assert contrast_error(one, one + 1, torch.tensor([3])).item() == 0
