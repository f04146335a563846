import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.balance import Counts
from datagen.lesions import label_lesions, score_lesions
from datagen.perturb import NOTHING, Draft, draft_prediction
from datagen.scene import draw_scene
from datagen.strokes import paint_mask
from datagen.styles import STYLES, draw_style, quantise

SEEDS = range(12)


@pytest.fixture(scope="module")
def scene(bank):
    return draw_scene(bank, 6, 48, np.random.default_rng(5))


@pytest.fixture(scope="module")
def draft(scene, bank):
    return draft_prediction(scene, Counts(4, 3), bank, np.random.default_rng(2))


def drawn(style, scene, draft, seed=0):
    return draw_style(style, scene, draft, np.random.default_rng(seed))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_a_probability_that_its_generator_decides(scene, draft, style):
    for seed in SEEDS:
        first, second = (drawn(style, scene, draft, seed) for _ in range(2))
        assert first.probability.shape == scene.shape
        assert first.probability.dtype == np.float32
        assert 0 <= first.probability.min() <= first.probability.max() <= 1
        np.testing.assert_array_equal(first.probability, second.probability)
        assert first.parameters == second.parameters
        assert first.parameters


@pytest.mark.parametrize("style", STYLES)
def test_every_style_keeps_the_score_near_the_one_aimed_at(scene, draft, style):
    aimed = 2 * 4 / (6 + 4 + 3)
    reached = [
        score_lesions(scene.truth, drawn(style, scene, draft, seed).probability >= 0.5).f1
        for seed in SEEDS
    ]
    assert np.median(reached) == pytest.approx(aimed, abs=0.2)


@pytest.mark.parametrize("style", STYLES)
def test_no_style_finds_a_lesion_where_nothing_is_drafted(scene, style):
    maps = [drawn(style, scene, NOTHING, seed).probability for seed in SEEDS]
    if style == "constant":  # a whole-patch failure is level, whatever its value
        assert all(np.ptp(probability) == 0 for probability in maps)
    else:  # a swelling background passes one half now and then
        assert np.median([probability.max() for probability in maps]) < 0.5


def test_whole_patch_failures_are_empty_full_or_in_between(scene):
    values = {
        round(float(drawn("constant", scene, NOTHING, seed).probability[0, 0, 0]), 2)
        for seed in range(60)
    }
    assert {0.0, 1.0} < values
    assert all(0.1 <= value <= 0.6 for value in values - {0.0, 1.0})


def test_a_blurred_map_has_soft_edges_and_a_sharp_one_has_none(scene, draft):
    def steepest(style):
        maps = [drawn(style, scene, draft, seed).probability for seed in SEEDS]
        return np.mean([np.abs(np.diff(volume, axis=0)).max() for volume in maps])

    assert steepest("blur") < steepest("sharp") - 0.1


def test_a_coarse_map_has_no_detail_of_single_voxels(scene, draft):
    def detail(style):
        volume = drawn(style, scene, draft).probability
        return np.abs(np.diff(volume, n=2, axis=0)).max()

    assert detail("coarse") < detail("distance")


def test_a_diffuse_map_has_a_background_and_a_sharp_one_none(scene, draft):
    medians = {
        style: np.mean([np.median(drawn(style, scene, draft, s).probability) for s in SEEDS])
        for style in ("diffuse", "sharp")
    }
    assert medians["diffuse"] > 0.05 > medians["sharp"]


def test_dust_is_made_of_grains(scene, draft):
    many = draft._replace(false=draft.false * 10)
    volume = drawn("speckle", scene, many).probability >= 0.5
    labels, count = label_lesions(volume & ~paint_mask(many.found, scene.shape))
    sizes = np.bincount(labels.ravel())[1:]
    assert count > 15
    assert np.median(sizes) <= 8


def test_ghosts_lie_where_stable_lesions_are(bank):
    scene = draw_scene(bank, 1, 48, np.random.default_rng(8))
    assert scene.stable
    draft = draft_prediction(scene, Counts(1, 2), bank, np.random.default_rng(0))
    shown = drawn("ghosts", scene, draft)
    stable = paint_mask(scene.stable, scene.shape) & ~scene.truth
    assert shown.parameters["ghosts"] + shown.parameters["faint_ghosts"] > 0
    assert shown.probability[stable].mean() > shown.probability[~stable & ~scene.truth].mean() + 0.1


def test_faint_lesions_lie_near_the_threshold(scene, draft):
    for seed in SEEDS:
        volume = drawn("faint", scene, draft, seed).probability
        assert 0.5 < volume.max() < 0.63


def test_confidence_is_pushed_to_its_ends_or_to_the_middle(scene, draft):
    doubt = {}
    for seed in range(30):
        shown = drawn("confidence", scene, draft, seed)
        volume = shown.probability
        doubt.setdefault(shown.parameters["temperature"] < 1, []).append(
            ((volume > 0.1) & (volume < 0.9)).mean()
        )
    assert max(doubt[True]) < 0.1 < min(doubt[False])


def test_holes_take_from_lesions_and_bridges_join_them(scene, draft):
    holes, plain, bridges = (
        [drawn(style, scene, draft, seed).probability >= 0.5 for seed in SEEDS]
        for style in ("holes", "sharp", "bridges")
    )
    assert np.mean([volume.sum() for volume in holes]) < plain[0].sum()
    joined = [label_lesions(volume)[1] for volume in bridges]
    assert np.mean(joined) < label_lesions(plain[0])[1]


def test_one_lesion_alone_has_nobody_to_be_bridged_with(scene, draft):
    alone = Draft(draft.found[:1], [], [])
    assert drawn("bridges", scene, alone).parameters["bridges"] == 0


@settings(deadline=None)
@given(st.floats(0, 1, width=32))
def test_what_is_predicted_is_predicted_after_storing_too(value):
    stored = quantise(np.full((1, 1, 1), value, np.float32))
    assert stored.dtype == np.uint8
    assert (stored >= 128).item() == (value >= 0.5)
    assert abs(stored.item() / 255 - value) <= 2.501 / 255
