import pickle
from importlib import resources

import pytest
import torch

from datagen.errors import InputError
from datagen.store import Agreement
from metricnet import LesionWiseLoss
from metricnet.checkpoint import (
    SavedEstimator,
    load_estimator,
    load_pretrained,
    save_estimator,
)
from metricnet.estimator import LesionEstimator

AGREEMENT = Agreement("overlap", 26, 0.0, 1.0, 32)


@pytest.mark.parametrize("form", ["structured", "published"])
def test_a_saved_estimator_estimates_the_same(form, tmp_path):
    torch.manual_seed(0)
    saved = SavedEstimator(LesionEstimator(form, 32).eval(), AGREEMENT, {"mse": 0.5})
    save_estimator(tmp_path / "estimator.safetensors", saved)
    loaded = load_estimator(tmp_path)
    maps = torch.rand(2, 1, 1, 32, 32, 32).unbind(0)
    assert torch.equal(loaded.estimator(*maps), saved.estimator(*maps))
    assert loaded.agreement == AGREEMENT
    assert loaded.held_out == {"mse": 0.5}


def test_the_package_brings_a_small_estimator_that_tells_found_from_missed():
    saved = load_pretrained()
    assert saved.agreement == Agreement("overlap", 26, 0.0, 1.0, 64)
    assert saved.held_out["mse"] < 0.01
    folder = resources.files("metricnet") / "pretrained"
    assert (folder / "overlap.safetensors").stat().st_size < 4 * 2**20
    truth = torch.zeros(1, 1, 64, 64, 64)
    for place in (10, 30, 50):
        truth[..., place : place + 4, 20:24, 30:33] = 1
    one_missed, two_false = truth.clone(), truth.clone()
    one_missed[..., 10:14, :, :] = 0
    two_false[..., 40:43, 40:43, 10:13] = two_false[..., 5:8, 50:54, 50:53] = 1
    estimates = [
        saved.estimator(m, truth).item() for m in (truth, one_missed, two_false, 0 * truth)
    ]
    # exact: 1, 2 · ⅔ / (1 + ⅔), 2 · ⅗ / (1 + ⅗), 0
    assert estimates == pytest.approx([1, 0.8, 0.75, 0], abs=0.1)


@pytest.mark.parametrize("radius", [2, 4, 6])
def test_in_a_patch_without_lesions_a_false_one_scores_nearly_zero_and_is_lowered(radius):
    voxels = torch.stack(torch.meshgrid(*[torch.arange(64.0)] * 3, indexing="ij"))
    ball = ((voxels - 32).square().sum(0).sqrt() <= radius)[None, None]
    probability = (0.9 * ball).requires_grad_()
    loss = LesionWiseLoss.pretrained(thresholds=(0.5, 0.5))(probability, torch.zeros(ball.shape))
    loss.backward()
    assert loss.item() > 0.85
    assert (probability.grad[ball] > 0).all()


def test_the_pretrained_loss_is_that_estimator():
    maps = torch.rand(2, 1, 1, 32, 32, 32).unbind(0)
    loss, estimator = LesionWiseLoss.pretrained(), load_pretrained().estimator
    truth = (maps[1] > 0.999).float()
    assert loss(maps[0], truth).item() == pytest.approx(1 - estimator(maps[0], truth).item())
    assert loss.guided
    assert not LesionWiseLoss.pretrained(guided=False).guided


def test_a_rule_without_an_estimator_names_those_there_are():
    with pytest.raises(InputError, match=r"no estimator for rule 'geo' .*there is: .*overlap"):
        load_pretrained("geo")


def test_a_pickle_is_refused_unread(tmp_path):
    path = tmp_path / "estimator.safetensors"
    path.write_bytes(pickle.dumps({"weights": [1.0]}))
    with pytest.raises(InputError, match="is not an estimator"):
        load_estimator(path)


def test_weights_of_a_detector_are_no_estimator():
    detector = resources.files("segnet") / "pretrained/detector.safetensors"
    with resources.as_file(detector) as path, pytest.raises(InputError, match="is not an estim"):
        load_estimator(path)


def test_definitions_that_differ_are_named_with_both_values():
    with pytest.raises(InputError, match="has patch 64, but mine has 32"):
        AGREEMENT.require(AGREEMENT._replace(patch=64), "mine", "theirs")


def test_only_the_published_form_is_bound_to_its_patch():
    saved = {
        form: SavedEstimator(LesionEstimator(form, 32), AGREEMENT, {})
        for form in ("structured", "published")
    }
    larger = AGREEMENT._replace(patch=64)
    saved["structured"].require(larger, "mine", "theirs")
    with pytest.raises(InputError, match="has patch 64, but mine has 32"):
        saved["published"].require(larger, "mine", "theirs")
    with pytest.raises(InputError, match="has rule msseg2, but mine has overlap"):
        saved["structured"].require(larger._replace(rule="msseg2"), "mine", "theirs")
