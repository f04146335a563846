"""Time of each loss, forward and backward, beside the same loss by others; and in a U-Net step."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.loss_peers import Closure, maps_of, pairs
from benchmarks.machine import describe
from datagen.shell import SentenceCommand
from metricnet.devices import usual_device
from segnet.choices import Loss
from segnet.data import PatchSample
from segnet.objective import LossPlan
from segnet.training import Optimisation, SegmentationTask
from segnet.unet import build_unet

EDGE, BATCH, LESIONS = 64, 2, 8


@click.command(cls=SentenceCommand)
@click.option("--repeats", type=int, default=15, help="Timed runs; the fastest is shown.")
@click.option("--seed", type=int, default=0)
@click.option(
    "--gsl-code",
    type=click.Path(path_type=Path, exists=True),
    help="runtime/loss.py of the surface loss's authors.",
)
@click.option(
    "--blob-code",
    type=click.Path(path_type=Path, exists=True),
    help="blob_loss.py of the blob loss's authors.",
)
def main(repeats: int, seed: int, gsl_code: Path | None, blob_code: Path | None) -> None:
    """Print both tables in Markdown."""
    torch.manual_seed(seed)
    print(describe())
    print(f"batch {BATCH} of {EDGE}³, {LESIONS} lesions each, seed {seed}, fastest of {repeats}")
    device = usual_device()
    labels = draw_labels(np.random.default_rng(seed)).to(device)
    print("\n| loss | ours, ms | others | ms | ours / others |")
    print("|---|---|---|---|---|")
    for name, ours, other, peer in pairs(labels, gsl_code, blob_code):
        logits = torch.randn(BATCH, 2, EDGE, EDGE, EDGE, device=device)
        both = compare([ours, peer] if peer else [ours], logits, repeats)
        ratio = f"{both[0] / both[1]:.2f}" if peer else ""
        shown = f"{both[1]:.1f}" if peer else ""
        print(f"| {name} | {both[0]:.1f} | {other} | {shown} | {ratio} |", flush=True)
    print("\n| `--loss` | U-Net step, ms | beside `dice` |")
    print("|---|---|---|")
    steps = time_steps(labels, repeats)
    for name, milliseconds in steps.items():
        print(f"| `{name}` | {milliseconds:.0f} | {milliseconds / steps['dice'] - 1:+.1%} |")


def draw_labels(rng: np.random.Generator) -> Tensor:
    """Patches with balls of 1 to 4 voxels of radius."""
    grid = np.indices((EDGE,) * 3)
    labels = np.zeros((BATCH, 1, EDGE, EDGE, EDGE), np.float32)
    for sample in labels[:, 0]:
        for _ in range(LESIONS):
            centre = rng.integers(6, EDGE - 6, (3, 1, 1, 1))
            sample[((grid - centre) ** 2).sum(axis=0) <= rng.uniform(1, 4) ** 2] = 1
    return torch.from_numpy(labels)


def compare(closures: list[Closure], logits: Tensor, repeats: int) -> list[float]:
    """Fastest forward and backward in milliseconds; the closures in turn, each first as often."""
    taken: list[list[float]] = [[] for _ in closures]
    for repeat in range(repeats + 2):
        turn = list(zip(taken, closures, strict=True))
        for own, closure in turn if repeat % 2 else reversed(turn):
            leaf = logits.clone().requires_grad_()
            milliseconds = stopwatch(lambda: closure(leaf).backward())  # noqa: B023
            if repeat >= 2:  # the first runs warm up
                own.append(milliseconds)
    return [min(own) for own in taken]


def time_steps(labels: Tensor, repeats: int) -> dict[str, float]:
    """Fastest training step in milliseconds, optimiser included, for each `--loss`."""
    visits = torch.randn(BATCH, 2, EDGE, EDGE, EDGE, device=labels.device)
    steps: dict[str, Callable[[], None]] = {}
    for name in get_args(Loss):
        plan = LossPlan(loss=name, schedule="constant", class_weights=(0.01, 0.99))
        kinds = [maps_of(labels, kind) for kind in plan.map_kinds()]
        sample = PatchSample(visits, labels, torch.cat(kinds, 1) if kinds else torch.zeros(1))
        steps[name] = make_step(plan, sample)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 2):
        for name, step in steps.items():
            milliseconds = stopwatch(step)
            if repeat >= 2:
                taken[name].append(milliseconds)
    return {name: min(own) for name, own in taken.items()}


def make_step(plan: LossPlan, sample: PatchSample) -> Callable[[], None]:
    torch.manual_seed(0)
    network = build_unet("siamese", 16).to(sample.visits.device)
    task = SegmentationTask(network, None, plan, EDGE, Optimisation(1e-3))
    task.log = lambda *_, **__: None
    optimiser = task.configure_optimizers()["optimizer"]

    def step() -> None:
        optimiser.zero_grad()
        task.training_step(sample, 0).backward()
        optimiser.step()

    return step


def stopwatch(action: Callable[[], Any]) -> float:
    """Milliseconds that an action takes, on the GPU until it is done."""
    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
