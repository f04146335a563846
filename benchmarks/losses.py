"""Time of each loss, forward and backward, beside the same loss by others; and in a U-Net step."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click
import monai.losses as theirs
import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe
from segnet import losses
from segnet.choices import Loss
from segnet.data import PatchSample
from segnet.distances import distance_maps
from segnet.losses.blob import number_lesions
from segnet.objective import LossPlan
from segnet.training import Optimisation, SegmentationTask
from segnet.unet import build_unet

Closure = Callable[[Tensor], Tensor]
EDGE, BATCH, LESIONS = 64, 2, 8
SPACING_MM = (1.0, 1.0, 1.0)


@click.command()
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
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
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


def pairs(
    labels: Tensor, gsl_code: Path | None, blob_code: Path | None
) -> list[tuple[str, Closure, str, Closure | None]]:
    """Losses of two-channel logits: name, ours, whose the other is, and the other."""
    truth = torch.cat([1 - labels, labels], 1)
    target = labels[:, 0].long()
    distance = maps_of(labels, "classes")
    penalty = maps_of(labels, "penalty")
    soft = lambda z: z.softmax(1)  # noqa: E731
    front = lambda z: z.softmax(1)[:, 1:]  # noqa: E731
    hausdorff = theirs.HausdorffDTLoss(include_background=True, softmax=True)
    squared = {"softmax": True, "squared_pred": True}
    rows: list[tuple[str, Closure, str, Closure | None]] = [
        (
            "Dice, over the batch",
            lambda z: losses.dice_loss(soft(z), truth),
            "MONAI",
            lambda z: theirs.DiceLoss(batch=True, **squared)(z, truth),
        ),
        (
            "Dice, per sample",
            lambda z: losses.dice_loss_per_sample(soft(z), truth),
            "MONAI",
            lambda z: theirs.DiceLoss(**squared)(z, truth),
        ),
        (
            "Dice-CE",
            lambda z: losses.dice_ce_loss(z, truth),
            "MONAI",
            lambda z: theirs.DiceCELoss(**squared)(z, truth),
        ),
        (
            "generalised Dice",
            lambda z: losses.generalised_dice_loss(soft(z), truth),
            "MONAI",
            lambda z: theirs.GeneralizedDiceLoss(softmax=True)(z, truth),
        ),
        (
            "Tversky",
            lambda z: losses.tversky_loss(soft(z), truth),
            "MONAI",
            lambda z: theirs.TverskyLoss(softmax=True, alpha=0.3, beta=0.7)(z, truth),
        ),
        (
            "focal",
            lambda z: losses.focal_loss(z, truth),
            "MONAI",
            lambda z: theirs.FocalLoss(use_softmax=True)(z, truth),
        ),
        (
            "cross entropy",
            lambda z: losses.cross_entropy(z, truth).mean(),
            "torch",
            lambda z: torch.nn.functional.cross_entropy(z, target),
        ),
        (
            "Hausdorff, one-sided",
            lambda z: losses.hausdorff_loss(soft(z), truth, distance),
            "MONAI, two-sided, maps at each step",
            lambda z: hausdorff(z, truth),
        ),
        (
            "boundary",
            lambda z: losses.boundary_loss(soft(z), distance),
            "MONAI, maps at each step",
            lambda z: theirs.BoundaryLoss(softmax=True)(z, truth),
        ),
        ("generalised surface", lambda z: losses.surface_loss(soft(z), truth, distance), "", None),
        (
            "distance-penalised CE",
            lambda z: losses.distance_penalised_ce_loss(z, truth, penalty),
            "",
            None,
        ),
        ("FOG", lambda z: losses.fog_loss(front(z), labels), "", None),
        ("SOG, two-sided", lambda z: losses.sog_loss(front(z), labels, True), "", None),
        (
            "confidence-penalised CE",
            lambda z: losses.confidence_penalised_ce_loss(z, truth),
            "",
            None,
        ),
        ("component-exact L-F1", lambda z: losses.lesion_f1_loss(front(z), labels), "", None),
    ]
    lesions = number_lesions(labels)
    rows.append(
        (
            "blob, lesions numbered before",
            lambda z: losses.blob_loss(z[:, 1:], lesions),
            *blob_peer(lesions, blob_code),
        )
    )
    return rows + (gsl_peers(labels, truth, distance, gsl_code) if gsl_code else [])


def maps_of(labels: Tensor, kind: Any) -> Tensor:
    volumes = labels[:, 0].byte().cpu().numpy()
    maps = [distance_maps(volume, 2, SPACING_MM, kind) for volume in volumes]
    return torch.from_numpy(np.stack(maps)).to(labels.device)


def blob_peer(lesions: Tensor, code: Path | None) -> tuple[str, Closure | None]:
    """The authors' loop over lesions with the same criteria."""
    if not code:
        return "", None
    module = load(code)
    dice, entropy = theirs.DiceLoss(), torch.nn.BCELoss()

    def criterion(found: Tensor, wanted: Tensor) -> Tensor:
        return dice(found, wanted.float()) + entropy(found, wanted.float())

    def peer(z: Tensor) -> Tensor:
        return module.compute_blob_loss_multi(criterion, torch.sigmoid(z[:, 1:]), lesions)

    return "authors' code", peer


def gsl_peers(
    labels: Tensor, truth: Tensor, distance: Tensor, code: Path
) -> list[tuple[str, Closure, str, Closure | None]]:
    """Blends of one half as the authors' code computes them."""
    module, who = load(code), "authors' code"
    region = lambda z: 0.5 * losses.dice_ce_loss(z, truth, "code")  # noqa: E731
    gdl, dice = module.WeightedDiceLoss(None), module.DiceLoss()
    surface, boundary = module.GenSurfLoss(None), module.BoundaryLoss()
    one_sided = module.HDOneSidedLoss()
    return [
        (
            "Dice, per sample",
            lambda z: losses.dice_loss_per_sample(z.softmax(1), truth),
            who,
            lambda z: dice(labels, z),
        ),
        (
            "generalised Dice",
            lambda z: losses.generalised_dice_loss(z.softmax(1), truth),
            who,
            lambda z: gdl(labels, z),
        ),
        (
            "½ Dice-CE + ½ surface",
            lambda z: region(z) + 0.5 * losses.surface_loss(z.softmax(1), truth, distance),
            who,
            lambda z: surface(labels, z, distance, 0.5),
        ),
        (
            "½ Dice-CE + ½ boundary",
            lambda z: region(z) + 0.5 * losses.boundary_loss(z.softmax(1), distance),
            who,
            lambda z: boundary(labels, z, distance, 0.5),
        ),
        (
            "½ Dice-CE + ½ Hausdorff",
            lambda z: region(z) + 0.5 * losses.hausdorff_loss(z.softmax(1), truth, distance),
            who,
            lambda z: one_sided(labels, z, distance, 0.5),
        ),
    ]


def load(path: Path) -> ModuleType:
    """Import a file of a checkout that is not installed."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not spec or not spec.loader:
        raise click.UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    network = build_unet("strided", 16).to(sample.visits.device)
    task = SegmentationTask(network, None, plan, EDGE, Optimisation(1e-3))
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
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
