"""Each `--loss` on a cohort: fifty steps without NaN, and one patch learnt by heart."""

import tempfile
import time
from pathlib import Path
from typing import get_args

import click
import torch
from torch.utils.data import DataLoader

from benchmarks.machine import describe
from datagen.config import resolve
from datagen.shell import SentenceCommand
from metricnet.devices import resolve_precision
from segnet import preparation
from segnet.choices import Loss
from segnet.config import TrainSettings
from segnet.data import LabelledScans, PatchDataset, PatchSample
from segnet.objective import LossPlan
from segnet.training import Optimisation, SegmentationTask
from segnet.unet import build_unet

STEPS, MOST_STEPS, GOAL = 50, 400, 0.9
_PATCH = 64


@click.command(cls=SentenceCommand)
@click.option("--cohort", type=click.Path(path_type=Path), required=True, help="The demo's cohort.")
@click.option("--config", default="demo", help="Recipe of the trainings.")
@click.option("--loss", type=click.Choice(get_args(Loss)), multiple=True, default=get_args(Loss))
@click.option("--cases", type=int, default=4, help="Cases of the training split to read.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of distance maps to keep.")
@click.option("--seed", type=int, default=0)
def main(
    cohort: Path, config: str, loss: tuple[Loss, ...], cases: int, cache: Path | None, seed: int
) -> None:
    """Print a table in Markdown; a loss that is not finite ends the run with a sentence."""
    flags = {"cohort": cohort, "patch": _PATCH, "alpha": 0.0, "region_schedule": "constant"}
    first = resolve(TrainSettings, "segnet.train", config, {**flags, "seed": seed})
    training = preparation.read_splits(first)[0][:cases]
    print(describe())
    print(f"{len(training)} cases of {cohort}, recipe {config}, seed {seed}, alpha 0")
    print("a distance loss has weight 0.5 throughout, as its region loss (Dice) has")
    print(f"| `--loss` | Dice loss, {STEPS} steps | s | steps to Dice > {GOAL} on one patch |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        draws = Draws(first, training, cache or Path(folder))
        for name in loss:
            settings = first.model_copy(update={"loss": name})
            plan = preparation.choose_losses(settings, training)
            samples = draws.samples(plan)
            start = time.perf_counter()
            curve = train_shortly(settings, plan, samples)
            taken = time.perf_counter() - start
            steps = learn_by_heart(settings, plan, samples)
            shown = f"{steps}" if steps else f"not in {MOST_STEPS}"
            print(
                f"| `{name}` | {curve[0]:.3f} to {curve[-1]:.3f} | {taken:.0f} | {shown} |",
                flush=True,
            )


class Draws:
    """The same patches for every loss, drawn once for each kind of distance map."""

    def __init__(
        self, settings: TrainSettings, training: list[LabelledScans], folder: Path
    ) -> None:
        self._settings, self._training, self._folder = settings, training, folder
        self._drawn: dict[tuple[str, ...], list[PatchSample]] = {}

    def samples(self, plan: LossPlan) -> list[PatchSample]:
        """Patches of fifty steps, with the distance maps of the plan."""
        kinds, settings = plan.map_kinds(), self._settings
        if kinds not in self._drawn:
            cases = [case.scans for case in self._training]
            share, seed = settings.lesion_share, settings.seed
            dataset = PatchDataset(cases, settings.patch, share, seed)
            if kinds:
                maps = preparation.read_maps(self._training, plan, settings.classes, self._folder)
                dataset.add_maps(maps)
            self._drawn[kinds] = [dataset[item] for item in range(STEPS * settings.batch)]
        return self._drawn[kinds]


def train_shortly(
    settings: TrainSettings, plan: LossPlan, samples: list[PatchSample]
) -> list[float]:
    """Dice loss of each of fifty steps with the recipe's batches."""
    task = prepare(settings, plan)
    curve: list[float] = []
    task.log = lambda name, value, **_: curve.append(float(value)) if "dice_loss" in name else None
    optimiser = task.configure_optimizers()["optimizer"]
    # a list has all that is asked of a data set
    for batch in DataLoader(samples, batch_size=settings.batch):  # type: ignore[arg-type]
        take_step(task, optimiser, batch)
    return curve


def learn_by_heart(settings: TrainSettings, plan: LossPlan, samples: list[PatchSample]) -> int:
    """Steps until the Dice coefficient of one patch exceeds the goal; 0: it never does.

    It is the patch with most lesion voxels.
    """
    task = prepare(settings, plan)
    task.log = lambda *_, **__: None
    sample = max(samples, key=lambda drawn: float(drawn.truth.sum()))
    batch = PatchSample(sample.visits[None], sample.truth[None], maps=sample.maps[None])
    optimiser = task.configure_optimizers()["optimizer"]
    for step in range(1, MOST_STEPS + 1):
        take_step(task, optimiser, batch)
        if step % 10 == 0 and dice_of(task, batch) > GOAL:
            return step
    return 0


def prepare(settings: TrainSettings, plan: LossPlan) -> SegmentationTask:
    torch.manual_seed(settings.seed)
    network = build_unet(settings.network, settings.channels)
    rate = Optimisation(settings.learning_rate)
    return SegmentationTask(network, None, plan, settings.patch, rate)


def take_step(task: SegmentationTask, optimiser: torch.optim.Optimizer, batch: PatchSample) -> None:
    """One step in the arithmetic that 'segnet train' would choose; NaN raises InputError."""
    optimiser.zero_grad()
    is_half = resolve_precision("auto", "cpu") == "bf16"
    with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
        loss = task.training_step(batch, 0)
    loss.backward()
    optimiser.step()


def dice_of(task: SegmentationTask, batch: PatchSample) -> float:
    with torch.no_grad():
        found = task.network(batch.visits) > 0
    return float(2 * (found * batch.truth).sum() / (found.sum() + batch.truth.sum()))


if __name__ == "__main__":
    main()
