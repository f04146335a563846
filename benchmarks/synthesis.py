"""Trained on synthetic cases alone, tried on real patients in both visit orders."""

from pathlib import Path

import click

from benchmarks.machine import describe
from benchmarks.real_patients import run
from datagen.shell import SentenceCommand


@click.command(cls=SentenceCommand)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/synthesis"))
@click.option("--cases", type=int, default=12, help="Synthetic cases.")
@click.option("--minutes", type=float, default=5.0, help="Time of the training.")
@click.option("--augmentation", default="full")
@click.option("--seed", type=int, default=0)
def main(data: Path, out: Path, cases: int, minutes: float, augmentation: str, seed: int) -> None:
    """Scans of `cross_sectional` become the cohort; `longitudinal` is only predicted.

    The baselines have no real case to fit a threshold to, and keep their own.
    """
    print(describe())
    synthetic, network, real = out / "cohort", out / "network", out / "real.csv"
    made = ["--scans", data / "cross_sectional", "--cases", cases, "--seed", seed]
    run("datagen synthesise", *made, "--out", synthetic)
    inputs = ["--config", "demo", "--cohort", synthetic, "--alpha", 0, "--seed", seed]
    inputs += ["--augmentation", augmentation, "--max-minutes", minutes, "--reverse-visits"]
    inputs += ["--epochs", 1000, "--steps-per-epoch", 50, "--schedule", "constant"]
    run("segnet train", *inputs, "--out", network)
    run("datagen cohort", data / "longitudinal", "--both-orders", "--out", real)
    found = {name: out / "predictions" / name for name in ("network", "growing", "subtraction")}
    run("segnet predict", "--model", network, "--cohort", real, "--out", found["network"])
    for baseline in ("growing", "subtraction"):
        options = ["--baseline", baseline, "--cohort", real]
        run("segnet predict", *options, "--out", found[baseline])
    methods = [word for folder in found.values() for word in ("--prediction", folder)]
    rules = ["--rule", "overlap", "--rule", "msseg2", "--out", out / "scores"]
    run("segnet evaluate", "--truth", real, *methods, *rules)


if __name__ == "__main__":
    main()
