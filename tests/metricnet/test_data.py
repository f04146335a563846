import numpy as np
import pytest
import torch

from datagen.errors import InputError
from datagen.lesions import score_lesions
from metricnet.data import DrawSampler, PairDataset, exact_roots, turn_alike
from metricnet.estimator import lesion_f1

SPACING_MM = (1.0, 1.0, 1.0)


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.zeros((2, 16, 16, 16), bool)
    truth[1:5, 1, 1] = truth[9, 9, 9:14] = truth[14, 1, 1] = True  # three lesions
    prediction[3:7, 1, 1] = True  # hits the first
    prediction[5, 12, 12] = True  # invented
    return truth, prediction


def test_each_lesion_has_a_mass_of_one(masks):
    hit, missed, hitting, false = (exact_roots(*masks, "overlap", SPACING_MM) ** 2).sum((1, 2, 3))
    assert (hit, missed, hitting, false) == pytest.approx((1, 2, 1, 1))


def test_exact_densities_give_the_exact_score(masks):
    roots = torch.from_numpy(exact_roots(*masks, "overlap", SPACING_MM))[None]
    truth = torch.from_numpy(masks[0])[None, None].float()
    assert lesion_f1(roots, truth).item() == pytest.approx(score_lesions(*masks).f1, abs=0.03)


def test_density_lies_where_the_lesion_is(masks):
    missed = exact_roots(*masks, "overlap", SPACING_MM)[1]
    assert missed[3, 0, 0] == pytest.approx(1)  # the voxel 14, 1, 1
    assert missed[0, 0, 0] == 0


def test_draws_of_an_epoch_follow_those_of_the_one_before():
    sampler = DrawSampler(3)
    assert list(sampler) == [0, 1, 2]
    sampler.set_epoch(2)
    assert list(sampler) == [6, 7, 8]
    assert len(sampler) == 3


def test_turning_keeps_the_score(rng):
    truth, prediction = rng.random((2, 12, 12, 12)) > 0.9
    turned = turn_alike((truth, prediction), rng)
    assert not np.array_equal(turned[0], truth)
    assert score_lesions(*turned) == score_lesions(truth, prediction)


def test_a_draw_depends_on_seed_and_number_alone(tiny_pairs):
    first, second = PairDataset(tiny_pairs, "train", 3), PairDataset(tiny_pairs, "train", 3)
    assert all(torch.equal(a, b) for a, b in zip(first[11], second[11], strict=True))
    other = PairDataset(tiny_pairs, "train", 4)
    assert not torch.equal(first[11].probability, other[11].probability)


def test_a_split_without_pairs_is_refused(tiny_pairs):
    with pytest.raises(InputError, match="no pair of split 'test'"):
        PairDataset(tiny_pairs, "test")
