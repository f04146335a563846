import numpy as np
import pytest
from scipy import ndimage

from datagen.fields import blur, coarsen, smooth_noise


@pytest.mark.parametrize("sigma", [0.4, 0.8, 1.2])
def test_blurring_is_a_gaussian_filter(sigma, rng):
    volume = rng.random((16, 12, 20), dtype=np.float32)
    expected = ndimage.gaussian_filter(volume, sigma, mode="nearest", radius=round(3 * sigma) + 1)
    np.testing.assert_allclose(blur(volume, sigma), expected, atol=1e-5)


def test_noise_is_smooth_and_of_the_scale_asked_for():
    noise = smooth_noise((64, 64, 64), 8, np.random.default_rng(0))
    assert noise.shape == (64, 64, 64)
    assert noise[::8, ::8, ::8].std() == pytest.approx(1, abs=0.1)
    steps = np.abs(np.diff(noise, axis=0)).mean()
    assert steps < np.abs(np.diff(noise[::8], axis=0)).mean() / 6


def test_noise_depends_on_the_generator_alone():
    first, second = (smooth_noise((16, 16, 16), 4, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("step", [2, 4])
def test_coarsening_keeps_level_fields_and_spreads_peaks(step):
    level = np.full((16, 16, 16), 0.3, np.float32)
    np.testing.assert_allclose(coarsen(level, step), level, rtol=1e-5)
    peak = np.zeros((16, 16, 16), np.float32)
    peak[8, 8, 8] = 1
    spread = coarsen(peak, step)
    assert spread.max() < 1 / step**3 + 1e-6
    assert (spread > 0).sum() > step**3


def test_coarsening_serves_edges_that_are_no_multiple_of_the_step(rng):
    assert coarsen(rng.random((10, 11, 9), dtype=np.float32), 4).shape == (10, 11, 9)
