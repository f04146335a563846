import numpy as np
import pytest
import torch

from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.inference import lesion_mask, list_lesions, predict_probabilities
from segnet.unet import build_unet

GRID = Grid((20, 20, 20), np.diag([2.0, 1.0, 1.0, 1.0]))


@pytest.fixture
def probability() -> np.ndarray:
    probability = np.zeros((20, 20, 20), np.float32)
    probability[2:4, 2:4, 2:4] = 0.8  # 8 voxels, 16 mm³
    probability[2, 2, 2] = 0.9
    probability[10, 10, 10] = 0.95  # 2 mm³
    probability[15:18, 15, 15] = 0.4
    return probability


def test_lesions_up_to_the_minimum_volume_are_dropped(probability):
    assert lesion_mask(probability, 0.5, 0.0, GRID).sum() == 9
    assert lesion_mask(probability, 0.5, 2.0, GRID).sum() == 8
    assert lesion_mask(probability, 0.5, 16.0, GRID).sum() == 0


def test_a_voxel_at_the_threshold_is_lesion(probability):
    threshold = float(probability[16, 15, 15])
    assert lesion_mask(probability, threshold, 0.0, GRID)[16, 15, 15]


def test_lesions_are_listed_by_confidence_in_millimetres(probability):
    mask = lesion_mask(probability, 0.5, 0.0, GRID)
    first, second = list_lesions(mask, probability, GRID)
    assert (first.id, second.id) == (1, 2)
    assert (first.volume_mm3, first.x_mm, first.y_mm, first.z_mm) == (2.0, 20.0, 10.0, 10.0)
    assert second.volume_mm3 == 16.0
    assert second.peak_probability == pytest.approx(0.9)
    assert second.mean_probability == pytest.approx((0.9 + 7 * 0.8) / 8)


def test_an_empty_mask_lists_nothing():
    empty = np.zeros((20, 20, 20), bool)
    assert list_lesions(empty, empty.astype(np.float32), GRID) == []


@pytest.mark.parametrize("shape", [(20, 30, 18), (9, 40, 12)])
def test_windows_are_blended_into_what_a_pointwise_network_gives_at_once(shape, rng):
    time1, time2 = rng.normal(size=(2, *shape)).astype(np.float32)
    brain = rng.random(shape) > 0.2
    scans = Scans(time1, time2, brain, np.zeros(shape, bool), Grid(shape, np.eye(4)))

    def network(windows: torch.Tensor) -> torch.Tensor:
        return windows[:, 1:] - windows[:, :1]

    (found,) = predict_probabilities(network, scans, patch=16, overlap=0.5)
    wanted = brain / (1 + np.exp(time1 - time2))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_half_precision_hardly_moves_a_probability(rng):
    torch.manual_seed(0)
    network = build_unet("siamese", 8).eval()
    visits = rng.normal(size=(2, 24, 24, 24)).astype(np.float32)
    brain = np.ones((24, 24, 24), bool)
    scans = Scans(visits[0], visits[1], brain, ~brain, Grid(brain.shape, np.eye(4)))
    full, half = (
        predict_probabilities(network, scans, 16, 0.25, precision=precision)
        for precision in ("32", "bf16")
    )
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.01
