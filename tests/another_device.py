"""What a GPU computes, on a pretended device: run as a program, it tells what came of each check.

Its tensors hold their numbers on the CPU and say that they lie elsewhere. Like those of a GPU they
refuse to be mixed with others, but for single numbers, indices and copies, and to become arrays.
Registered once, the device stays: it needs a process of its own.
"""

import itertools
import json
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, library, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from torch.utils.data import default_collate

from datagen.scans import Scans
from datagen.volumes import Grid
from metricnet import LesionWiseLoss, report
from metricnet.agreement import measure
from metricnet.checkpoint import load_pretrained
from metricnet.config import EvaluateSettings, Form
from metricnet.data import PairDataset
from metricnet.estimator import LesionEstimator
from metricnet.training import EstimatorTask, Weights
from metricnet.trust import TrustedLoss
from segnet.choices import Loss
from segnet.config import Network
from segnet.data import PatchSample
from segnet.inference import predict_probabilities
from segnet.learned import Course, LearnedTerm
from segnet.objective import LossPlan
from segnet.training import Optimisation, SegmentationTask
from segnet.unet import build_unet

_NAME = "elsewhere"
_EDGE = 16
_MIXED = ("aten::index", "aten::copy_", "aten::_to_copy", "aten::_index_put_impl_")


class Elsewhere(Tensor):
    """A tensor of the pretended device."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        layout = {"strides": here.stride(), "storage_offset": here.storage_offset()}
        there = Tensor._make_wrapper_subclass(
            cls, here.size(), **layout, dtype=here.dtype, device=torch.device(_NAME, 0)
        )
        there.here = here
        return there

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return compute(function, args, kwargs or {})


def compute(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute on the CPU, if nothing lies there; RuntimeError if something does."""
    name = function._schema.name
    for one in tree_leaves((args, kwargs)):
        is_here = isinstance(one, Tensor) and not isinstance(one, Elsewhere)
        if is_here and one.dim() and name not in _MIXED:
            raise RuntimeError(f"{function} of a tensor on the CPU, {tuple(one.shape)}")
    device = kwargs.get("device")
    returns = device is not None and torch.device(device).type == "cpu"
    if device is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    unpack = partial(tree_map, lambda one: one.here if isinstance(one, Elsewhere) else one)
    found = function(*unpack(args), **unpack(kwargs))
    if returns:
        return found
    if args and found is unpack(args[0]):
        return args[0]  # changed in place
    return tree_map(lambda one: Elsewhere(one) if type(one) is Tensor else one, found)


def pretend() -> list[library.Library]:
    """Register the device; it is there for as long as what is returned is kept."""
    _setup_privateuseone_for_python_backend(_NAME)
    torch.elsewhere.get_amp_supported_dtype = lambda: [torch.bfloat16]
    every, aten = library.Library("_", "IMPL"), library.Library("aten", "IMPL")
    every.fallback(lambda function, *args, **kwargs: compute(function, args, kwargs), "PrivateUse1")
    every.fallback(library.fallthrough_kernel, "AutocastPrivateUse1")
    # PyTorch makes these by steps that a fallback does not see
    numbered = torch.ops.aten.arange.start_step
    aten.impl(numbered, lambda *args, **kwargs: compute(numbered, args, kwargs), "PrivateUse1")
    from_data = torch.tensor
    torch.tensor = lambda data, *, device=None, **kwargs: from_data(data, **kwargs).to(device)
    torch.inference_mode = torch.no_grad
    return [every, aten]


def there(tensor: Tensor) -> Tensor:
    return tensor.detach().to(_NAME)


def draw_truth() -> Tensor:
    truth = torch.zeros(2, 1, _EDGE, _EDGE, _EDGE)
    truth[0, 0, 4:8, 4:8, 4:8] = 1
    truth[0, 0, 11:14, 11:14, 11:14] = 1
    truth[1, 0, 10:14, 4:9, 3:5] = 1
    return truth


def draw_map(classes: int = 1) -> Tensor:
    return torch.rand(2, classes, _EDGE, _EDGE, _EDGE) ** 8


def mixed_devices() -> None:
    """The check of the checks: what a GPU refuses is refused here."""
    for mix in (lambda: there(draw_map()) + draw_map(), lambda: there(draw_map()).numpy()):
        try:
            mix()
        except RuntimeError:
            continue
        raise AssertionError("a mixture of devices went through")


def learned_loss() -> None:
    for guided in (True, False):
        here, truth = draw_map(2).requires_grad_(), draw_truth().repeat(1, 2, 1, 1, 1)
        LesionWiseLoss.pretrained(guided=guided)(here, truth).backward()
        away = there(here).requires_grad_()
        LesionWiseLoss.pretrained(guided=guided).to(_NAME)(away, there(truth)).backward()
        assert here.grad.any()
        torch.testing.assert_close(away.grad.cpu(), here.grad)


def losses_of_training() -> None:
    """Each loss, of one class and of two, and the learned term beside the first."""
    learned = [LearnedTerm(TrustedLoss.pretrained(), Course(3.0)) for _ in range(2)]
    for loss, classes in itertools.product(get_args(Loss), (2, 3)):
        if (loss, classes) == ("blob", 3):  # of one class alone
            continue
        plan = LossPlan(loss, with_background=True, class_weights=(0.2, 0.5, 0.3)[:classes])
        terms = learned if loss == "dice" else (None, None)
        channels = 1 if classes == 2 else classes
        here, away = (task_of(nn.Conv3d(2, channels, 3, padding=1), term, plan) for term in terms)
        away.load_state_dict(here.state_dict())
        away.to(_NAME).on_fit_start()
        truth, maps = draw_truth(), torch.randn(2, 4, _EDGE, _EDGE, _EDGE)
        visits = torch.randn(2, 2, _EDGE, _EDGE, _EDGE) + 3 * truth
        batch = PatchSample(visits, truth, torch.zeros(2, dtype=torch.int64), maps)
        total = here.training_step(batch, 0)
        total_away = away.training_step(PatchSample(*(there(part) for part in batch)), 0)
        torch.testing.assert_close(total, total_away.cpu(), msg=loss)
        total.backward()
        total_away.backward()
        for one, other in zip(here.parameters(), away.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad.cpu(), atol=1e-4, rtol=1e-3, msg=loss)


def task_of(network: nn.Module, learned: LearnedTerm | None, plan: LossPlan) -> SegmentationTask:
    task = SegmentationTask(network, learned, plan, _EDGE, Optimisation(1e-4))
    task.log = lambda *_, **__: None
    return task


def networks() -> None:
    visits = torch.randn(1, 2, 32, 32, 32)
    for name in get_args(Network):
        network = build_unet(name, 16).eval()
        here = network(visits)
        torch.testing.assert_close(here, network.to(_NAME)(there(visits)).cpu(), msg=name)


def prediction() -> None:
    network = build_unet("siamese", 4).eval()
    shape = (24, 20, 17)
    visits, brain = torch.randn(2, *shape).numpy(), np.ones(shape, bool)
    scans = Scans(*visits, brain, ~brain, Grid(shape, np.eye(4)))
    for flips in (False, True):
        here = predict_probabilities(network.to("cpu"), scans, _EDGE, 0.25, flips)
        away = predict_probabilities(network.to(_NAME), scans, _EDGE, 0.25, flips)
        np.testing.assert_allclose(here, away, atol=1e-5)


def training_of_the_estimator(pairs: Path) -> None:
    data = PairDataset(pairs, "train", 0)
    batch = default_collate([data[item] for item in range(4)])
    for form in get_args(Form):
        task = EstimatorTask(
            LesionEstimator(form, batch.mask.shape[-1]), 1e-3, Weights(0.02, 1.0), 10
        )
        task.log = lambda *_, **__: None
        task.to(_NAME).training_step(batch.to(torch.device(_NAME)), 0).backward()
        assert all(weight.grad.device.type == _NAME for weight in task.parameters())
        task.validation_step(batch.to(torch.device(_NAME)), 0)


def agreement_report(pairs: Path) -> None:
    with TemporaryDirectory() as out, patch.object(report, "usual_device", lambda: _NAME):
        few = {"edits": 4, "starts": 2, "attack_steps": 2}
        found = report.evaluate(EvaluateSettings(pairs=pairs, out=Path(out), **few)).summary()
    here = measure(load_pretrained().estimator.eval(), pairs).summary()
    assert found["mse"] == pytest.approx(here["mse"], rel=1e-3)
    assert found["edits"] == 4


def main(pairs: Path) -> None:
    """Print what each check ended in, by its name: nothing, or an error."""
    ended = {}
    kept = pretend()
    with_pairs = (training_of_the_estimator, agreement_report)
    for check in (mixed_devices, learned_loss, losses_of_training, networks, prediction):
        ended[check.__name__] = outcome(check)
    for check in with_pairs:
        ended[check.__name__] = outcome(partial(check, pairs))
    sys.stdout.write(json.dumps(ended))
    del kept


def outcome(check: Callable[[], None]) -> str:
    torch.manual_seed(0)
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
