import numpy as np
import pytest
import torch

from datagen.densities import lesion_densities
from datagen.lesions import match_lesions, score_lesions
from metricnet.estimator import lesion_f1


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.zeros((2, 16, 16, 16), bool)
    truth[1:5, 1, 1] = truth[9, 9, 9:14] = truth[14, 1, 1] = True  # three lesions
    prediction[3:7, 1, 1] = True  # hits the first
    prediction[5, 12, 12] = True  # invented
    return truth, prediction


def test_each_lesion_has_a_mass_of_one(masks):
    densities = lesion_densities(match_lesions(*masks)).astype(float)
    hit, missed, hitting, false = densities.sum((1, 2, 3))
    assert (hit, missed, hitting, false) == pytest.approx((1, 2, 1, 1), abs=2e-3)


def test_density_lies_where_the_lesion_is(masks):
    missed = lesion_densities(match_lesions(*masks))[1]
    assert missed[3, 0, 0] == pytest.approx(1)  # the voxel 14, 1, 1
    assert missed[0, 0, 0] == 0


def test_empty_masks_have_no_density():
    empty = np.zeros((8, 8, 8), bool)
    assert not lesion_densities(match_lesions(empty, empty)).any()


def test_exact_densities_give_the_exact_score(masks):
    densities = lesion_densities(match_lesions(*masks))
    f1 = lesion_f1(torch.from_numpy(densities)[None].float())
    assert f1.item() == pytest.approx(score_lesions(*masks).f1, abs=0.01)
