"""The blocks of docs/your_loop.md, run with a small estimator on tiny patches."""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from metricnet import LesionEstimator, LesionWiseLoss

PAGE = Path(__file__).parents[2] / "docs" / "your_loop.md"
MARKS = {  # words that one block alone holds
    "own": "load_estimator(",
    "plain": "def train(network, loader",
    "gap": "TrustedLoss.pretrained(",
    "monai": "class DiceAndLesions",
    "ignite": "SupervisedTrainer(",
    "nnunet": "class nnUNetTrainerLesionWise",
    "export": "torch.export.save(",
    "onnx": "torch.onnx.export(",
}
EDGE = 32


@pytest.fixture(scope="session")
def blocks() -> dict[str, str]:
    """Each Python block of the page by its name, for the tiny patches of these tests."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = [[name for name, mark in MARKS.items() if mark in block] for block in found]
    assert sorted(names) == sorted([name] for name in MARKS)
    tiny = [b.replace("64, 64, 64)", "32, 32, 32)").replace("patch=64", "patch=32") for b in found]
    return {name: block for (name,), block in zip(names, tiny, strict=True)}


@pytest.fixture(scope="session")
def run_block(blocks) -> Callable[..., dict]:
    """Runs the block of a name, among the names it is given; returns those it defines."""

    def run(name: str, **given: object) -> dict:
        space = {"__name__": "your_loop", **given}
        exec(compile(blocks[name], str(PAGE), "exec"), space)
        return space

    return run


@pytest.fixture(scope="session")
def lively() -> Callable[[str], LesionEstimator]:
    """Makes a small random estimator of a form, whose estimates lie well between 0 and 1."""

    def make(form: str) -> LesionEstimator:
        torch.manual_seed(0)
        estimator = LesionEstimator(form, EDGE)
        if form == "structured":
            torch.nn.init.normal_(estimator.network.head.weight, std=0.2)
            torch.nn.init.constant_(estimator.network.head.bias, 0.3)
        else:
            torch.nn.init.constant_(estimator.network[-1].bias, 0.5)
        return estimator.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="module")
def estimator(lively) -> Iterator[LesionEstimator]:
    """A small estimator, in the place of the one that ships; no test may change it."""
    estimator = lively("structured")
    before = copy.deepcopy(estimator.state_dict())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LesionWiseLoss, "pretrained", lambda: LesionWiseLoss(estimator))
        yield estimator
    after = estimator.state_dict()
    assert all(torch.equal(weights, after[name]) for name, weights in before.items())


@pytest.fixture
def truth() -> torch.Tensor:
    """Two lesions of 4³ voxels in the first of two samples, none in the second."""
    truth = torch.zeros(2, 1, EDGE, EDGE, EDGE)
    truth[0, 0, 4:8, 4:8, 4:8] = truth[0, 0, 20:24, 20:24, 20:24] = 1
    return truth


@pytest.fixture
def make_network() -> Callable[[], torch.nn.Module]:
    """Makes a network of two convolutions, with the same first weights each time."""

    def make() -> torch.nn.Module:
        torch.manual_seed(1)
        layers = torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, 1, 1)
        return torch.nn.Sequential(*layers)

    return make
