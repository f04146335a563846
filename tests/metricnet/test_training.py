import pytest
import torch

from metricnet.training import Seen, between_relatives, contrast_error


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


def two() -> Seen:
    shown = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1)
    densities = torch.tensor([[0.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]]).view(2, 4, 1, 1, 1)
    return Seen(shown, torch.tensor([0.0, 2 / 3]), densities)


def test_a_map_between_relatives_has_its_share_of_both_and_their_mean_densities():
    torch.manual_seed(0)
    pure, mixed = 0, 0
    for _ in range(40):
        found = between_relatives(two(), torch.tensor([5, 5]))
        assert found.shown[0].item() == 0
        assert found.f1[0].item() == 0
        share = found.shown[1].item()
        expected = [share, 2 - share, share, 0]
        assert found.densities[1].flatten().tolist() == pytest.approx(expected)
        if share == 1:
            pure += 1
            assert found.f1[1].item() == pytest.approx(2 / 3)
        else:
            mixed += 1
            ltpr = share / 2
            assert found.f1[1].item() == pytest.approx(2 * ltpr / (ltpr + 1), abs=0.02)
    assert pure > 8
    assert mixed > 8


def test_strangers_are_not_mixed():
    torch.manual_seed(0)
    for _ in range(10):
        found = between_relatives(two(), torch.tensor([5, 6]))
        assert torch.equal(found.shown, two().shown)
