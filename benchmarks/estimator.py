"""Held-out error of both estimator forms after the same time, beside two baselines."""

import time
from pathlib import Path

import click

from benchmarks.machine import describe
from datagen.shell import SentenceCommand
from datagen.store import PairFile
from metricnet.config import TrainSettings
from metricnet.runs import read_history
from metricnet.training import train

# epochs, steps and rate that fit into ten minutes of one core: the rate reaches its end
_PLANS = {"structured": (10, 100, 1e-3), "published": (6, 60, 1e-4)}


@click.command(cls=SentenceCommand)
@click.option("--pairs", type=click.Path(path_type=Path), required=True, help="Pair file.")
@click.option("--minutes", type=float, default=10.0, help="Time of each training.")
@click.option("--seed", type=int, default=0)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/benchmark_estimator"))
@click.option("--form", type=click.Choice(list(_PLANS)), multiple=True, default=tuple(_PLANS))
def main(pairs: Path, minutes: float, seed: int, out: Path, form: tuple[str, ...]) -> None:
    """Train each form and print a table in Markdown."""
    with PairFile(pairs) as file:
        patients = len(set(file.column("patient").tolist()))
        print(
            f"{len(file)} pairs of {patients} patients, patch {file.agreement.patch}, seed {seed}"
        )
    print(describe())
    print("| form | minutes | steps | held-out pairs | MSE | MAE | Pearson | Spearman |")
    print("|---|---|---|---|---|---|---|---|")
    for name in form:
        epochs, steps, rate = _PLANS[name]
        settings = TrainSettings(
            pairs=pairs,
            out=out / name,
            form=name,
            epochs=epochs,
            steps_per_epoch=steps,
            learning_rate=rate,
            seed=seed,
            max_minutes=minutes,
        )
        start = time.perf_counter()
        summary = train(settings).summary()
        taken = (time.perf_counter() - start) / 60
        done = len(read_history(settings.out)) * steps
        scores = " | ".join(f"{summary[key]:.4f}" for key in ("mse", "mae", "pearson", "spearman"))
        print(f"| {name} | {taken:.1f} | {done} | {summary['pairs']:.0f} | {scores} |", flush=True)
    print(
        f"constant mean: MSE {summary['mse_constant_mean']:.4f}; "
        f"regression on soft Dice: MSE {summary['mse_soft_dice_regression']:.4f}"
    )


if __name__ == "__main__":
    main()
