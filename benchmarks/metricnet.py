"""The figures of an estimator: agreement, edits, slopes, ascents, and what its loss costs."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

from benchmarks.machine import describe
from datagen.errors import InputError
from datagen.files import read_table, require_file
from datagen.shell import SentenceCommand
from metricnet.checkpoint import load_estimator
from metricnet.config import EvaluateSettings
from metricnet.devices import resolve_precision, usual_device
from metricnet.loss import LesionWiseLoss
from metricnet.report import evaluate
from segnet.config import Network
from segnet.losses import dice_loss
from segnet.unet import build_unet

_REPEATS = 9
# the published kind of network, and the default
_NETWORKS: tuple[Network, ...] = ("full_resolution", "siamese")
_BATCH, _PATCH = 2, 64
Means = dict[tuple[str, str, str, int], float]


@click.command(cls=SentenceCommand)
@click.option("--pairs", type=click.Path(path_type=Path), help="Pair file of unseen patients.")
@click.option("--estimator", type=click.Path(path_type=Path), help="Default: the package's own.")
@click.option(
    "--recorded",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Run of 'segnet train --record-predictions' on unseen patients; repeatable.",
)
@click.option(
    "--compared",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of 'segnet compare': what the loss does in use.",
)
@click.option("--reference", default="Dice", help="Method that the others are compared with.")
@click.option("--split", default="validation", help="Split of the pairs to measure on.")
@click.option("--seed", type=int, default=0)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/benchmark_metricnet"))
def main(
    pairs: Path | None,
    estimator: Path | None,
    recorded: tuple[Path, ...],
    compared: Path | None,
    reference: str,
    split: str,
    seed: int,
    out: Path,
) -> None:
    """Print tables in Markdown; without --pairs, the cost alone."""
    print(f"{describe()}; seed {seed}")
    means = read_means(compared, reference) if compared else {}  # refused before minutes of work
    if pairs:
        settings = EvaluateSettings(
            estimator=estimator, pairs=pairs, predictions=recorded, split=split, seed=seed, out=out
        )
        print_agreement(settings)
    if compared:
        print(f"\n{(compared / 'table.md').read_text(encoding='utf-8')}")
        print_gains(means, reference)
    print_cost(LesionWiseLoss(load_estimator(estimator).estimator) if estimator else None, seed)


def print_agreement(settings: EvaluateSettings) -> None:
    """Print what `metricnet evaluate` measures."""
    summary = evaluate(settings).summary()
    print("\n| held-out pairs | MSE | MAE | Spearman | MSE of soft-Dice regression | of the mean |")
    print("|---|---|---|---|---|---|")
    names = ("mse", "mae", "spearman", "mse_soft_dice_regression", "mse_constant_mean")
    print(f"| {summary['pairs']:.0f} |", *(f"{summary[name]:.4f} |" for name in names))
    if summary["recorded"]:
        print("\n| recorded training | patches | mean |F̂ - F| | worst tenth |")
        print("|---|---|---|---|")
    for row in summary["recorded"]:
        figures = f"{row['mae']:.3f} | {row['worst_tenth']:.3f}"
        print(f"| {row['training']} | {row['patches']} | {figures} |")
    print(f"\none-lesion edits: {summary['edits']}, right sign {summary['right_edits']}")
    print(f"slope along pieces, right sign: {summary['right_slopes']}")
    print("\n| ascent by | starts | exact before | after | F̂ after | |F̂ - F| after |")
    print("|---|---|---|---|---|---|")
    for name, row in summary["attacks"].items():
        keys = ("exact_before", "exact_after", "estimated_after", "gap_after")
        figures = " | ".join(f"{row[key]:.3f}" for key in keys)
        print(f"| {name} gradient | {row['starts']:.0f} | {figures} |", flush=True)


def read_means(compared: Path, reference: str) -> Means:
    """Read the means of each method and seed; InputError without tables, or the reference."""
    require_file(compared / "table.md")
    means = {
        (row["method"], row["rule"], row["metric"], int(row["seed"])): float(row["mean"])
        for row in read_table(compared / "seeds.csv")
        if row["mean"]
    }
    if reference not in {method for method, *_ in means}:
        raise InputError(f"{compared / 'seeds.csv'} has no method '{reference}'; see --reference")
    return means


def print_gains(means: Means, reference: str) -> None:
    """Print by how much each method is above the reference in each seed."""
    columns = sorted({key[1:] for key in means if key[0] == reference and key[2] in ("f1", "dice")})
    heads = (f"{rule} {metric}, seed {seed}" for rule, metric, seed in columns)
    print(f"| less {reference} |", *(f"{head} |" for head in heads))
    print("|---" * (1 + len(columns)) + "|")
    for method in dict.fromkeys(key[0] for key in means if key[0] != reference):
        gains = (
            f"{means[method, *column] - means[reference, *column]:+.3f}"
            if (method, *column) in means
            else "–"
            for column in columns
        )
        print(f"| {method} |", *(f"{gain} |" for gain in gains))


def print_cost(loss: LesionWiseLoss | None, seed: int) -> None:
    """Print the loss's forward and backward pass beside a step of two networks."""
    loss = (loss or LesionWiseLoss.pretrained()).to(usual_device())
    for name in _NETWORKS:
        print_cost_beside(name, loss, seed)


def print_cost_beside(name: Network, loss: LesionWiseLoss, seed: int) -> None:
    """Time both in turn."""
    torch.manual_seed(seed)
    device = usual_device()
    network = build_unet(name, 16, 2).to(device)
    optimizer = torch.optim.Adam(network.parameters())
    visits = torch.randn(_BATCH, 2, *(_PATCH,) * 3, device=device)
    truth = _lesions(device)
    probability = (0.7 * truth + 0.3 * torch.rand_like(truth)).requires_grad_()
    half = resolve_precision("auto") == "bf16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network(visits)
        dice_loss(torch.sigmoid(logits.float()), truth).backward()
        optimizer.step()

    def learned() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss(probability, truth).backward()

    times = [(_seconds(step), _seconds(learned)) for _ in range(_REPEATS + 1)][1:]
    of_step, of_loss = (statistics.median(column) for column in zip(*times, strict=True))
    share = statistics.median(b / a for a, b in times)
    print(
        f"\nstep of {name} (16 channels, batch {_BATCH} x {_PATCH}³): "
        f"{1000 * of_step:.0f} ms; loss, forward and backward: {1000 * of_loss:.0f} ms, "
        f"{100 * share:.1f} % (medians of {_REPEATS}, taken in turn)"
    )


def _lesions(device: torch.device) -> torch.Tensor:
    truth = torch.zeros(_BATCH, 1, *(_PATCH,) * 3, device=device)
    for place in range(4, _PATCH - 8, 12):
        truth[..., place : place + 4, place : place + 3, 10:14] = 1
    return truth


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
