import pytest
import torch
from monai.data import MetaTensor

from metricnet import LesionEstimator, LesionWiseLoss, TrustedLoss
from metricnet.checkpoint import load_pretrained
from metricnet.exact import exact_f1

SPACING_MM = (1.0, 1.0, 1.0)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Two patches of two lesions: both found, and one of them."""
    truth = torch.zeros(2, 1, 16, 16, 16)
    truth[:, :, 1:3, 1, 1] = truth[:, :, 9, 9, 9:11] = 1
    probability = 0.9 * truth
    probability[1, :, 9, 9, 9:11] = 0.49
    return probability, truth


def trusted(gap: float | None = None) -> TrustedLoss:
    torch.manual_seed(0)
    loss = LesionWiseLoss(LesionEstimator("structured", 16))
    loss.estimator.network.head.bias.data[:] = 0.5  # untrained, it would count no lesion at all
    return TrustedLoss(loss, "overlap", 1.0, gap)


def test_exact_score_of_each_sample_is_that_of_its_thresholded_map(pair):
    assert exact_f1(*pair, "overlap", SPACING_MM).tolist() == pytest.approx([1.0, 2 / 3])


def test_an_empty_truth_without_a_score_counts_as_one_where_nothing_is_predicted():
    truth = torch.zeros(2, 1, 8, 8, 8)
    probability = truth.clone()
    probability[1, :, 2:5, 2:5, 2:5] = 1
    assert exact_f1(probability, truth, "msseg2", SPACING_MM).tolist() == [1.0, 0.0]


def test_without_a_gap_every_estimate_counts_in_full(pair):
    value = trusted().measure(*pair)
    assert value.loss.item() == pytest.approx((1 - value.estimated_f1).mean().item())
    assert value.trust.tolist() == [1.0, 1.0]


def test_estimate_and_exact_score_are_those_of_the_same_cut():
    truth = torch.zeros(6, 1, 16, 16, 16)
    truth[:, :, 3:6, 3:6, 3:6] = 1
    loss = trusted()
    value = loss.measure(0.5 * truth, truth, first=12)
    shown = loss.loss.at_thresholds(0.5 * truth, 12)
    is_found = [bool(one.max() >= 0.5) for one in shown]
    assert 0 < sum(is_found) < 6
    assert value.exact_f1.tolist() == [float(found) for found in is_found]
    assert torch.equal(value.estimated_f1, loss.loss.estimated_f1(shown, truth))


def test_an_estimate_is_trusted_by_its_distance_from_the_exact_score(pair):
    loss = trusted(gap=0.5)
    value = loss.measure(*pair)
    assert value.trust.tolist() == pytest.approx((1 - value.gap / 0.5).clamp(min=0).tolist())
    assert value.loss.item() == pytest.approx((value.trust * (1 - value.estimated_f1)).mean())
    assert loss(*pair) == value.loss


def test_an_estimate_that_is_far_off_teaches_nothing(pair):
    probability = pair[0].requires_grad_()
    value = trusted(gap=1e-6).measure(probability, pair[1])
    assert value.gap.min() > 1e-6
    value.loss.backward()
    assert not probability.grad.any()


def test_each_class_is_trusted_by_itself(pair):
    probability, truth = (torch.cat([one, one.flip(0)], dim=1) for one in pair)
    value = trusted(gap=0.5).measure(probability, truth)
    assert value.exact_f1.tolist() == pytest.approx([1.0, 2 / 3, 2 / 3, 1.0])
    assert len(value.trust) == 4


def test_samples_are_counted_while_a_gradient_is_taken(pair):
    loss, truth = trusted(), pair[1]
    maps = (0.5 * truth).requires_grad_()
    shown = [loss.measure(maps, truth).exact_f1 for _ in range(3)]
    wanted = [loss.measure(maps, truth, first).exact_f1 for first in (0, 2, 4)]
    assert torch.equal(torch.stack(shown), torch.stack(wanted))
    assert loss.measure(0.5 * truth, truth).exact_f1.tolist() == [1.0, 1.0]  # cut at one half


def test_the_loss_of_the_package_lowers_a_false_lesion_of_a_metatensor():
    truth = torch.zeros(1, 1, 32, 32, 32)
    truth[..., 4:8, 4:8, 4:8] = 1
    probability = 0.9 * truth
    probability[..., 20:23, 20:23, 20:23] = 0.8
    probability = MetaTensor(probability).requires_grad_()
    loss = TrustedLoss.pretrained()
    assert loss.rule == "overlap"
    assert loss.spacing_mm == SPACING_MM
    value = loss.measure(probability, MetaTensor(truth))
    assert value.trust.item() > 0.5
    value.loss.backward()
    assert probability.grad[..., 21, 21, 21].item() > 0


def test_rule_and_spacing_are_those_of_the_estimator():
    saved = load_pretrained()
    agreement = saved.agreement._replace(rule="msseg2", spacing_mm=2.0)
    loss = TrustedLoss.of(saved._replace(agreement=agreement))
    assert (loss.rule, loss.spacing_mm) == ("msseg2", (2.0, 2.0, 2.0))


def test_where_all_is_trusted_the_gradient_is_that_of_the_loss_in_patches_of_any_size():
    torch.manual_seed(0)
    truth = torch.zeros(2, 1, 20, 17, 24)
    truth[:, 0, 3:6, 3:6, 3:6] = truth[1, 0, 12:15, 12:16, 20:24] = 1
    shown = 0.6 * truth + 0.4 * torch.rand(2, 1, 20, 17, 24)
    gradients = []
    for loss in (TrustedLoss.pretrained(trusted_gap=None), LesionWiseLoss.pretrained()):
        probability = shown.clone().requires_grad_()
        loss(probability, truth).backward()
        gradients.append(probability.grad)
    assert gradients[0].any()
    assert torch.equal(*gradients)
