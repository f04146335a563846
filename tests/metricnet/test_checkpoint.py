import pickle

import pytest
import torch

from datagen.errors import InputError
from datagen.store import Agreement
from metricnet.checkpoint import SavedEstimator, load_estimator, save_estimator
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


def test_a_pickle_is_refused_unread(tmp_path):
    path = tmp_path / "estimator.safetensors"
    path.write_bytes(pickle.dumps({"weights": [1.0]}))
    with pytest.raises(InputError, match="is not an estimator"):
        load_estimator(path)


def test_definitions_that_differ_are_named_with_both_values():
    with pytest.raises(InputError, match="has patch 64, but mine has 32"):
        AGREEMENT.require(AGREEMENT._replace(patch=64), "mine", "theirs")
