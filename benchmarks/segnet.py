"""Speed of the detector beside MONAI's networks: patches a second, equal minutes, a whole case."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import click
import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.machine import describe
from datagen.scans import Scans
from datagen.shell import SentenceCommand
from datagen.volumes import Grid
from metricnet.devices import resolve_precision, usual_device
from segnet.choices import Augmentation
from segnet.config import Network, TrainSettings
from segnet.data import PatchDataset, PatchOptions
from segnet.losses import dice_loss
from segnet.training import train
from segnet.unet import build_unet

# ours first; then MONAI's BasicUNet and DynUNet, as 'segnet train --network' builds them
_NETWORKS: dict[Network, str] = {
    "siamese": "siamese (default)",
    "strided": "strided",
    "full_resolution": "MONAI BasicUNet",
    "dynunet": "MONAI DynUNet",
}
_PATCH = 64
_WHOLE_BRAIN = (182, 218, 182)
_DRAWS = 40


@click.command(cls=SentenceCommand)
@click.option("--channels", type=int, default=16)
@click.option("--batch", type=int, default=4)
@click.option("--repeats", type=int, default=7)
@click.option(
    "--cohort", type=click.Path(path_type=Path, exists=True), help="Trains each network on it."
)
@click.option("--minutes", type=float, default=15.0, help="Time of each training.")
@click.option("--seed", type=int, default=0)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True),
    help="Run that predicts a whole brain; default: the detector of the package.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/benchmark_segnet"))
def main(
    channels: int,
    batch: int,
    repeats: int,
    cohort: Path | None,
    minutes: float,
    seed: int,
    model: Path | None,
    out: Path,
) -> None:
    """Print tables in Markdown, and the time of a whole case; trainings with --cohort."""
    print(describe())
    compare_steps(channels, batch, repeats, seed)
    compare_draws(repeats, seed)
    time_whole_brain(model, repeats)  # before a training fills the memory that a child begins with
    if cohort:
        recipe = TrainSettings(
            cohort=cohort,
            out=out,
            channels=channels,
            patch=_PATCH,
            batch=batch,
            alpha=0,
            learning_rate=2e-3,
            schedule="constant",
            steps_per_epoch=50,
            seed=seed,
        )
        if torch.cuda.is_available():
            watch_gpu(recipe)
        compare_minutes(recipe, minutes)


def compare_steps(channels: int, batch: int, repeats: int, seed: int) -> None:
    """Time forward pass, Dice, backward pass and Adam of each network, in turn."""
    steps = {name: training_step(name, channels, batch, seed) for name in _NETWORKS}
    times: dict[Network, list[float]] = {name: [] for name in _NETWORKS}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            taken = seconds(step)
            if repeat:  # the first of each is warming up
                times[name].append(taken)
    ours = statistics.median(times["siamese"])
    print(f"\n{channels} channels, batch {batch} x {_PATCH}³, medians of {repeats} steps in turn")
    print("| network | parameters | patches a second | time of a step, as a multiple of ours |")
    print("|---|---|---|---|")
    for name, label in _NETWORKS.items():
        size = sum(weights.numel() for weights in build_unet(name, channels).parameters())
        median = statistics.median(times[name])
        print(f"| {label} | {size / 1e6:.2f} M | {batch / median:.1f} | {median / ours:.2f} |")


def compare_draws(repeats: int, seed: int) -> None:
    """Time the drawing of patches from one noisy brain, as each process that draws them does."""
    rng = np.random.default_rng(seed)
    visits = rng.standard_normal((2, *_WHOLE_BRAIN), dtype=np.float32)
    lesions = np.zeros(_WHOLE_BRAIN, bool)
    lesions[90:93, 100:103, 90:93] = True
    grid = Grid(_WHOLE_BRAIN, np.eye(4))
    scans = Scans(visits[0], visits[1], np.ones(_WHOLE_BRAIN, bool), lesions, grid)
    print(f"\npatches of {_PATCH}³ drawn by one process, means of {_DRAWS}, median of {repeats}")
    print("| augmentation | ms a patch |")
    print("|---|---|")
    for strength in get_args(Augmentation):
        data = PatchDataset([scans], _PATCH, 0.5, seed, options=PatchOptions(strength))
        times = [seconds(partial(draw_patches, data)) for _ in range(repeats)]
        print(f"| {strength} | {1000 * statistics.median(times) / _DRAWS:.0f} |")


def draw_patches(data: PatchDataset) -> None:
    """Draw the patches that are timed."""
    for index in range(_DRAWS):
        data[index]


def training_step(name: Network, channels: int, batch: int, seed: int) -> Callable[[], None]:
    """Return a function that trains the network by one step on a batch of noise and a cube."""
    torch.manual_seed(seed)
    device = usual_device()
    network: nn.Module = build_unet(name, channels).to(device)
    optimizer = torch.optim.Adam(network.parameters())
    visits = torch.randn(batch, 2, *(_PATCH,) * 3, device=device)
    truth = torch.zeros(batch, 1, *(_PATCH,) * 3, device=device)
    truth[..., 8:14, 8:14, 8:14] = 1
    half = resolve_precision("auto") == "bf16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits: Tensor = network(visits)
        dice_loss(torch.sigmoid(logits.float()), truth).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def watch_gpu(recipe: TrainSettings) -> None:
    """Print how busy a training keeps the GPU: what four epochs more take, less reading and end."""
    print(f"\n'segnet train' on {recipe.cohort}, with drawing and validation")
    for alpha in (0.0, 3.0):
        always = {"alpha": alpha, "alpha_warmup_epochs": 0, "alpha_finish_share": 0.0}
        settings = recipe.model_copy(update=always)
        (short, inside_short), (long, inside_long) = (watched(settings, 2), watched(settings, 6))
        patches, taken = 4 * settings.steps_per_epoch * settings.batch, long - short
        print(
            f"alpha {alpha:g}: {patches / taken:.1f} patches a second, "
            f"{(inside_long - inside_short) / taken:.0%} of the time inside kernels"
        )


def watched(recipe: TrainSettings, epochs: int) -> tuple[float, float]:
    """Seconds of a training under the profiler, and those inside kernels."""
    out = recipe.out / f"watched_{recipe.alpha:g}_{epochs}"
    settings = recipe.model_copy(update={"out": out, "epochs": epochs})
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        taken = seconds(partial(train, settings))
    is_kernel = (event for event in profiler.key_averages() if not event.key.startswith("Mem"))
    return taken, sum(event.self_device_time_total for event in is_kernel) / 1e6


def compare_minutes(recipe: TrainSettings, minutes: float) -> None:
    """Train each network for the same time by the same recipe; print its validation scores."""
    print(
        f"\ntrained on {recipe.cohort} for {minutes:g} minutes each, Dice alone, seed {recipe.seed}"
    )
    print("| network | steps | best validation L-F1 | best validation Dice |")
    print("|---|---|---|---|")
    for name, label in _NETWORKS.items():
        own = {"network": name, "out": recipe.out / name, "epochs": 10_000, "max_minutes": minutes}
        settings = recipe.model_copy(update=own)
        history = train(settings)
        best = {
            score: max(row[f"validation/{score}"] for row in history) for score in ("f1", "dice")
        }
        steps = len(history) * settings.steps_per_epoch
        print(f"| {label} | {steps} | {best['f1']:.3f} | {best['dice']:.3f} |", flush=True)


def time_whole_brain(model: Path | None, repeats: int) -> None:
    """Time 'segnet predict' on a case of 182 x 218 x 182 voxels, as a user starts it."""
    with tempfile.TemporaryDirectory() as folder:
        scans = [Path(folder) / f"visit{visit}.nii.gz" for visit in (1, 2)]
        for path in scans:
            write_brain(path)
        words = [sys.executable, "-c", "from segnet.cli import main; main()", "predict"]
        words += ["--time1", str(scans[0]), "--time2", str(scans[1])]
        words += ["--model", str(model)] if model else []
        times = []
        for repeat in range(repeats):
            start = time.perf_counter()
            out = str(Path(folder) / f"mask{repeat}.nii.gz")
            subprocess.run([*words, "--out", out], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - start)
    size = " x ".join(map(str, _WHOLE_BRAIN))
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"\n'segnet predict' of one case of {size} voxels, {os.cpu_count()} cores: median of "
        f"{repeats} {statistics.median(times):.1f} s from start to end, {most:.0f} MB at most"
    )


def write_brain(path: Path) -> None:
    """Write a scan whose brain, an ellipsoid, fills about as much as a real one."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in _WHOLE_BRAIN), indexing="ij")
    is_inside = sum(axis**2 for axis in axes) < 0.72
    scan = (rng.normal(500, 40, _WHOLE_BRAIN) * is_inside).astype(np.int16)
    nib.save(nib.Nifti1Image(scan, np.eye(4)), path)


if __name__ == "__main__":
    main()
