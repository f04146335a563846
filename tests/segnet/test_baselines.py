import numpy as np
import pytest

from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.baselines import DEFAULT_THRESHOLD_Z, fit_threshold, no_lesions, subtraction
from segnet.evaluation import dice_coefficient


@pytest.fixture
def scans(rng) -> Scans:
    shape = (24, 24, 24)
    brain, truth = np.zeros((2, *shape), bool)
    brain[2:-2, 2:-2, 2:-2] = True
    truth[8:12, 8:12, 8:12] = True
    time1 = rng.normal(size=shape).astype(np.float32)
    time2 = (time1 + rng.normal(0, 0.2, shape) + 3 * truth).astype(np.float32)
    return Scans(time1, time2, brain, truth, Grid(shape, np.eye(4)))


def test_subtraction_finds_what_brightened(scans):
    found = subtraction(scans, fit_threshold([scans], 3.0)) >= 0.5
    assert (found & scans.truth).sum() > 0.8 * scans.truth.sum()
    assert dice_coefficient(scans.truth, found) > 0.5


def test_one_half_lies_at_the_threshold(scans):
    low, high = subtraction(scans, 3.0) >= 0.5, subtraction(scans, 6.0) >= 0.25
    assert np.array_equal(low, high)


def test_a_threshold_without_lesions_to_fit_it_is_the_default(scans):
    clean = scans._replace(truth=np.zeros_like(scans.truth))
    assert fit_threshold([clean], 3.0) == DEFAULT_THRESHOLD_Z


def test_the_empty_baseline_finds_nothing(scans):
    assert not no_lesions(scans).any()
