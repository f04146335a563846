"""Each `--loss` on a cohort: fifty steps without NaN, and one patch learnt by heart."""

import tempfile
import time
from pathlib import Path
from typing import get_args

import click
import torch
from machine import describe
from torch.utils.data import DataLoader

from datagen.config import resolve
from segnet import preparation
from segnet.choices import Loss
from segnet.config import TrainSettings
from segnet.data import LabelledScans, PatchDataset, PatchSample
from segnet.training import Optimisation, SegmentationTask
from segnet.unet import build_unet

STEPS, MOST_STEPS, GOAL = 50, 400, 0.9


@click.command()
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
    recipe = {"cohort": cohort, "alpha": 0.0, "seed": seed, "region_schedule": "constant"}
    first = resolve(TrainSettings, "segnet.train", config, recipe)
    training = preparation.read_splits(first)[0][:cases]
    print(describe())
    print(f"{len(training)} cases of {cohort}, recipe {config}, seed {seed}, alpha 0")
    print("a distance loss has weight 0.5 throughout, as its region loss (Dice) has")
    print(f"| `--loss` | Dice loss, {STEPS} steps | s | steps to Dice > {GOAL} on one patch |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in loss:
            settings = first.model_copy(update={"loss": name})
            start = time.perf_counter()
            curve = train_shortly(settings, training, cache or Path(folder))
            taken = time.perf_counter() - start
            steps = learn_by_heart(settings, training, cache or Path(folder))
            shown = f"{steps}" if steps else f"not in {MOST_STEPS}"
            print(
                f"| `{name}` | {curve[0]:.3f} to {curve[-1]:.3f} | {taken:.0f} | {shown} |",
                flush=True,
            )


def train_shortly(
    settings: TrainSettings, training: list[LabelledScans], folder: Path
) -> list[float]:
    """Dice loss of each of fifty steps with the recipe's batches."""
    task, dataset = prepare(settings, training, folder)
    loader = DataLoader(
        [dataset[item] for item in range(STEPS * settings.batch)], batch_size=settings.batch
    )
    curve: list[float] = []
    task.log = lambda name, value, **_: curve.append(float(value)) if "dice_loss" in name else None
    optimiser = task.configure_optimizers()["optimizer"]
    for batch in loader:
        take_step(task, optimiser, batch)
    return curve


def learn_by_heart(settings: TrainSettings, training: list[LabelledScans], folder: Path) -> int:
    """Steps until the Dice coefficient of one patch exceeds the goal; 0: it never does."""
    task, dataset = prepare(settings, training, folder)
    task.log = lambda *_, **__: None
    draws = (dataset[item] for item in range(1000))
    sample = next(draw for draw in draws if draw.truth.sum() > 100)
    batch = PatchSample(sample.visits[None], sample.truth[None], sample.maps[None])
    optimiser = task.configure_optimizers()["optimizer"]
    for step in range(1, MOST_STEPS + 1):
        take_step(task, optimiser, batch)
        if step % 10 == 0 and dice_of(task, batch) > GOAL:
            return step
    return 0


def prepare(
    settings: TrainSettings, training: list[LabelledScans], folder: Path
) -> tuple[SegmentationTask, PatchDataset]:
    torch.manual_seed(settings.seed)
    dataset = PatchDataset(
        [case.scans for case in training], settings.patch, settings.lesion_share, settings.seed
    )
    plan = preparation.choose_losses(settings, training)
    if plan.map_kinds():
        dataset.add_maps(preparation.read_maps(training, plan, settings.classes, folder))
    network = build_unet(settings.network, settings.channels)
    rate = Optimisation(settings.learning_rate)
    return SegmentationTask(network, None, plan, settings.patch, rate), dataset


def take_step(task: SegmentationTask, optimiser: torch.optim.Optimizer, batch: PatchSample) -> None:
    optimiser.zero_grad()
    task.training_step(batch, 0).backward()
    optimiser.step()


def dice_of(task: SegmentationTask, batch: PatchSample) -> float:
    with torch.no_grad():
        found = task.network(batch.visits) > 0
    return float(2 * (found * batch.truth).sum() / (found.sum() + batch.truth.sum()))


if __name__ == "__main__":
    main()
