import pytest
import torch

from metricnet import LesionEstimator, LesionWiseLoss
from metricnet.exact import exact_f1
from segnet.learned import Course, LearnedTerm

SPACING_MM = (1.0, 1.0, 1.0)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Two patches of two lesions: both found, and one of them."""
    truth = torch.zeros(2, 1, 16, 16, 16)
    truth[:, :, 1:3, 1, 1] = truth[:, :, 9, 9, 9:11] = 1
    probability = 0.9 * truth
    probability[1, :, 9, 9, 9:11] = 0.49
    return probability, truth


def term(trusted_gap: float | None = None, course: Course | None = None) -> LearnedTerm:
    torch.manual_seed(0)
    loss = LesionWiseLoss(LesionEstimator("structured", 16))
    loss.estimator.network.head.bias.data[:] = 0.5  # untrained, it would count no lesion at all
    return LearnedTerm(loss, course or Course(0.2), "overlap", 1.0, trusted_gap)


def test_alpha_is_silent_for_its_warm_up_and_rises_evenly_after_it():
    course = Course(0.2, warmup_epochs=3, ramp_epochs=3)
    expected = [0.0, 0.0, 0.0, 0.05, 0.1, 0.15, 0.2, 0.2]
    assert [course.at(epoch) for epoch in range(8)] == pytest.approx(expected)


def test_without_a_ramp_alpha_is_there_at_once():
    assert [Course(0.2, warmup_epochs=1).at(epoch) for epoch in range(3)] == [0.0, 0.2, 0.2]
    assert Course(0.2).at(0) == 0.2


def test_exact_score_of_each_sample_is_that_of_its_thresholded_map(pair):
    assert exact_f1(*pair, "overlap", SPACING_MM).tolist() == pytest.approx([1.0, 2 / 3])


def test_an_empty_truth_without_a_score_counts_as_one_where_nothing_is_predicted():
    truth = torch.zeros(2, 1, 8, 8, 8)
    probability = truth.clone()
    probability[1, :, 2:5, 2:5, 2:5] = 1
    assert exact_f1(probability, truth, "msseg2", SPACING_MM).tolist() == [1.0, 0.0]


def test_the_published_term_is_the_mean_of_all_estimates(pair):
    value = term()(*pair, epoch=0)
    assert value.loss.item() == pytest.approx(0.2 * (1 - value.estimated_f1).mean().item())
    assert value.trust.tolist() == [1.0, 1.0]


def test_estimate_and_exact_score_are_those_of_the_same_cut():
    truth = torch.zeros(6, 1, 16, 16, 16)
    truth[:, :, 3:6, 3:6, 3:6] = 1
    learned = term()
    value = learned(0.5 * truth, truth, epoch=0, first=12)
    shown = learned.loss.at_thresholds(0.5 * truth, 12)
    is_found = [bool(one.max() >= 0.5) for one in shown]
    assert 0 < sum(is_found) < 6
    assert value.exact_f1.tolist() == [float(found) for found in is_found]
    assert torch.equal(value.estimated_f1, learned.loss.estimated_f1(shown, truth))


def test_the_gate_trusts_an_estimate_by_its_distance_from_the_exact_score(pair):
    value = term(trusted_gap=0.5)(*pair, epoch=0)
    assert value.trust.tolist() == pytest.approx((1 - value.gap / 0.5).clamp(min=0).tolist())
    weighted = (value.trust * (1 - value.estimated_f1)).mean()
    assert value.loss.item() == pytest.approx(0.2 * weighted.item())


def test_an_estimate_that_is_far_off_teaches_nothing(pair):
    probability = pair[0].requires_grad_()
    value = term(trusted_gap=1e-6)(probability, pair[1], epoch=0)
    assert value.gap.min() > 1e-6
    value.loss.backward()
    assert not probability.grad.any()


def test_during_the_warm_up_no_gradient_is_computed(pair):
    probability = pair[0].requires_grad_()
    waiting = term(course=Course(0.2, warmup_epochs=1))
    assert not waiting(probability, pair[1], epoch=0).loss.requires_grad
    assert waiting(probability, pair[1], epoch=1).loss.requires_grad
