"""What each part of the estimator's training does: short trainings without it, and without all."""

import math
import shutil
import statistics
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import click
import h5py
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from benchmarks.machine import describe
from datagen.files import checksum, whole_file
from datagen.shell import SentenceCommand
from metricnet import training
from metricnet.config import EvaluateSettings, TrainSettings
from metricnet.data import PairSample
from metricnet.edits import KINDS
from metricnet.report import evaluate
from segnet.losses import lesion_f1_loss

_EDITS, _STARTS = 500, 16
_POOL = 8  # voxels: slopes are compared by their sums over cubes of this edge


class Arm(NamedTuple):
    """A training: shares of maps that are changed on the way, weights, and pairs."""

    between: float = training._BETWEEN
    faded: float = training._FADED
    contrast: float = 1.0
    density: float = 0.02
    is_recorded: bool = True
    slope: float = 0.0


ARMS = {
    "everything": Arm(),
    "and slopes of the component-exact loss": Arm(slope=0.05),
    "no maps between relatives": Arm(between=0),
    "no faded maps": Arm(faded=0),
    "no differences of relatives": Arm(contrast=0),
    "no dense targets": Arm(density=0),
    "no recorded predictions": Arm(is_recorded=False),
    "none of the five": Arm(between=0, faded=0, contrast=0, density=0, is_recorded=False),
}


class SlopeTask(training.EstimatorTask):
    """The training, and an error of the estimate's slope, which is differentiated once more."""

    weight = 0.0

    def training_step(self, batch: PairSample, number: int) -> Float[Tensor, ""]:
        """Return the loss of one batch, with the slope's error where it has a weight."""
        loss = super().training_step(batch, number)
        if not self.weight:
            return loss
        shown = self.estimator.shown(batch.probability).detach().requires_grad_()
        estimated = self.estimator.estimate(shown, batch.truth).f1.sum()
        (slope,) = torch.autograd.grad(estimated, shown, create_graph=True)
        return loss + self.weight * slope_error(slope, exact_slope(shown, batch.truth))


def exact_slope(
    shown: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
) -> Float[Tensor, "batch 1 d h w"]:
    """Slope of the soft L-F1 that knows the components, each patch by itself."""
    shown = shown.detach().requires_grad_()
    patches = zip(shown.split(1), truth.split(1), strict=True)
    score = torch.stack([1 - lesion_f1_loss(*patch) for patch in patches]).sum()
    return torch.autograd.grad(score, shown)[0]


def slope_error(
    slope: Float[Tensor, "batch 1 d h w"], exact: Float[Tensor, "batch 1 d h w"]
) -> Float[Tensor, ""]:
    """Squared error of the slopes' sums over cubes, as a share of the squared exact ones."""
    sums, wanted = (functional.avg_pool3d(one, _POOL) * _POOL**3 for one in (slope, exact))
    return (sums - wanted).square().sum() / wanted.square().sum().clamp(min=1e-6)


@click.command(cls=SentenceCommand)
@click.option("--pairs", type=click.Path(path_type=Path), required=True, help="Pair file.")
@click.option(
    "--recorded",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Run of 'segnet train --record-predictions' on unseen patients; repeatable.",
)
@click.option("--arm", type=click.Choice(list(ARMS)), multiple=True, default=tuple(ARMS))
@click.option("--epochs", type=int, default=8)
@click.option("--steps-per-epoch", type=int, default=100)
@click.option("--seed", type=int, default=0)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/levers"))
def main(
    pairs: Path,
    recorded: tuple[Path, ...],
    arm: tuple[str, ...],
    epochs: int,
    steps_per_epoch: int,
    seed: int,
    out: Path,
) -> None:
    """Train each arm, or go on with it, and print a table in Markdown."""
    print(f"{epochs} x {steps_per_epoch} steps, seed {seed}; {_EDITS} edits, {_STARTS} ascents")
    print(describe())
    heads = "MSE | recorded: mean |F̂ - F| | edits right | slopes right: " + " | ".join(KINDS)
    print(f"| training | {heads} | ascent: exact before | after | |F̂ - F| after |")
    print("|---" * 10 + "|")
    for name, chosen in ((name, ARMS[name]) for name in arm):
        folder = out / f"{name.replace(' ', '_')}_seed{seed}"
        settings = TrainSettings(
            pairs=pairs if chosen.is_recorded else without_recordings(pairs, out),
            out=folder,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            seed=seed,
            resume=True,
            contrast_weight=chosen.contrast,
            density_weight=chosen.density,
        )
        changed: dict[str, Any] = {
            "_BETWEEN": chosen.between,
            "_FADED": chosen.faded,
            "EstimatorTask": SlopeTask,
        }
        with patch.multiple(training, **changed), patch.object(SlopeTask, "weight", chosen.slope):
            training.train(settings)
        measured = EvaluateSettings(
            estimator=folder,
            pairs=pairs,
            predictions=recorded,
            edits=_EDITS,
            starts=_STARTS,
            seed=seed,
            out=folder / "agreement",
        )
        print_row(name, measured)


def without_recordings(pairs: Path, out: Path) -> Path:
    """Copy a pair file, and keep its recorded predictions out of the training."""
    copied = out / f"without_recordings-{checksum([pairs])[:16]}.h5"
    if not copied.is_file():
        with whole_file(copied) as partial:
            shutil.copy(pairs, partial)
            with h5py.File(partial, "r+") as file:
                is_recorded = file["style"][:] == b"recorded"
                split = file["split"][:]
                split[is_recorded & (split == b"train")] = b"test"
                file["split"][:] = split
    return copied


def print_row(name: str, settings: EvaluateSettings) -> None:
    """Measure a trained arm on the held-out pairs of the whole file, and on recorded trainings."""
    found = evaluate(settings).summary()
    ascent = found["attacks"]["guided"]
    gaps = [training["mae"] for training in found["recorded"]]
    figures = [
        found["mse"],
        statistics.mean(gaps) if gaps else math.nan,
        found["right_edits"],
        *(found["right_slopes"][kind] for kind in KINDS),
        *(ascent[key] for key in ("exact_before", "exact_after", "gap_after")),
    ]
    shown = (f"{math.nan if figure is None else figure:.4f}" for figure in figures)
    print(f"| {name} |", " | ".join(shown), "|", flush=True)


if __name__ == "__main__":
    main()
