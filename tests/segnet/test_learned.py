import pytest
import torch

from datagen.errors import InputError
from metricnet import LesionEstimator, LesionWiseLoss, TrustedLoss
from segnet.config import TrainSettings
from segnet.learned import Course, LearnedTerm, course_of, learned_term, say_of_weight


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A patch of one lesion, half certain of it."""
    truth = torch.zeros(1, 1, 16, 16, 16)
    truth[:, :, 3:6, 3:6, 3:6] = 1
    return 0.5 * truth, truth


def term(course: Course) -> LearnedTerm:
    torch.manual_seed(0)
    loss = LesionWiseLoss(LesionEstimator("structured", 16))
    loss.estimator.network.head.bias.data[:] = 0.5  # untrained, it would count no lesion at all
    return LearnedTerm(TrustedLoss(loss, "overlap", 1.0), course)


def test_alpha_is_silent_for_its_warm_up_and_rises_evenly_after_it():
    course = Course(0.2, warmup_epochs=3, ramp_epochs=3)
    expected = [0.0, 0.0, 0.0, 0.05, 0.1, 0.15, 0.2, 0.2]
    assert [course.at(epoch) for epoch in range(8)] == pytest.approx(expected)


def test_without_a_ramp_alpha_is_there_at_once():
    assert [Course(0.2, warmup_epochs=1).at(epoch) for epoch in range(3)] == [0.0, 0.2, 0.2]
    assert Course(0.2).at(0) == 0.2


def test_alpha_falls_as_evenly_and_is_silent_from_its_end_on():
    course = Course(0.2, warmup_epochs=1, ramp_epochs=1, end=6)
    expected = [0.0, 0.1, 0.2, 0.2, 0.2, 0.1, 0.0, 0.0]
    assert [course.at(epoch) for epoch in range(8)] == pytest.approx(expected)
    assert Course(0.2, 0, 0, end=2).at(1) == 0.2


@pytest.mark.parametrize(("share", "end"), [(0.0, None), (0.3, 14), (0.01, None), (0.99, 0)])
def test_the_last_share_of_the_epochs_is_without_the_term(share, end):
    settings = TrainSettings(cohort="c", epochs=20, alpha_finish_share=share)
    assert course_of(settings).end == end


def test_the_term_is_alpha_times_the_trusted_loss(pair):
    learned = term(Course(0.2))
    value = learned(*pair, epoch=0, first=12)
    measured = learned.trusted.measure(*pair, first=12)
    assert value.loss.item() == pytest.approx(0.2 * measured.loss.item())
    assert torch.equal(value.measured.exact_f1, measured.exact_f1)


def test_during_the_warm_up_no_gradient_is_computed(pair):
    probability = pair[0].requires_grad_()
    waiting = term(Course(0.2, warmup_epochs=1))
    assert not waiting(probability, pair[1], epoch=0).loss.requires_grad
    assert waiting(probability, pair[1], epoch=1).loss.requires_grad


def test_a_training_sees_maps_at_its_own_cuts_and_tells_its_weight(tmp_path):
    settings = TrainSettings(cohort=tmp_path, lowest_cut=0.1, highest_cut=0.1)
    learned = learned_term(settings, false_weight=3.0)
    maps = torch.full((2, 1, 8, 8, 8), 0.3, requires_grad=True)
    assert torch.allclose(learned.trusted.loss.at_thresholds(maps), torch.tensor(0.7))
    assert say_of_weight(learned) == "; to F̂ a false lesion counts 3 times"
    assert say_of_weight(learned_term(settings)) == say_of_weight(None) == ""


def test_cuts_that_cross_are_refused(tmp_path):
    settings = TrainSettings(cohort=tmp_path, lowest_cut=0.6, highest_cut=0.4)
    with pytest.raises(InputError, match=r"--lowest-cut 0\.6 lies above"):
        learned_term(settings)
