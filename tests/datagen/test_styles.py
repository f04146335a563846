import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.styles import STYLES, quantise, soften


@pytest.fixture
def cube():
    hard = np.zeros((16, 16, 16), np.float32)
    hard[5:11, 5:11, 5:11] = 0.9
    return hard


def test_the_styles_are_three():
    assert STYLES == ("sharp", "blur", "network")


@pytest.mark.parametrize("style", STYLES)
def test_a_softened_map_is_a_probability_with_its_lesion_in_place(cube, style):
    for seed in range(20):
        soft = soften(cube, style, np.random.default_rng(seed))
        assert soft.shape == cube.shape
        assert soft.dtype == np.float32
        assert soft.min() >= 0
        assert soft.max() <= 1
        assert soft[7:9, 7:9, 7:9].mean() > 0.5 > soft[:3].mean()
        np.testing.assert_array_equal(soft, soften(cube, style, np.random.default_rng(seed)))


@pytest.mark.parametrize("style", ["sharp", "blur"])
def test_a_map_without_lesions_stays_below_one_half(style):
    empty = np.zeros((16, 16, 16), np.float32)
    for seed in range(20):
        assert soften(empty, style, np.random.default_rng(seed)).max() <= 0.05


def test_only_the_sharp_style_keeps_the_edge(cube):
    def steepest(style):
        soft = [soften(cube, style, np.random.default_rng(seed)) for seed in range(10)]
        return np.mean([np.abs(np.diff(volume[:, 8, 8])).max() for volume in soft])

    assert steepest("sharp") > 0.7
    assert steepest("blur") < steepest("sharp") - 0.1


def test_a_network_is_unevenly_sure(cube):
    soft = soften(cube, "network", np.random.default_rng(2))
    assert np.unique(soft[6:10, 6:10, 6:10].round(3)).size > 5


@settings(deadline=None)
@given(st.floats(0, 1, width=32))
def test_what_is_predicted_is_predicted_after_storing_too(value):
    stored = quantise(np.full((1, 1, 1), value, np.float32))
    assert stored.dtype == np.uint8
    assert (stored >= 128).item() == (value >= 0.5)
    assert abs(stored.item() / 255 - value) <= 0.5001 / 255
