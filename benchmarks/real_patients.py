"""The whole way on real patients, by the commands as a user types them."""

import subprocess
import sys
import time
from pathlib import Path

import click

from benchmarks.machine import describe
from datagen.files import read_table
from datagen.inspection import save_figure
from segnet.figures import draw_case, read_case

_PROGRAM = "import sys; from {0}.cli import main; main(prog_name='{0}')"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/real"))
@click.option("--config", default="demo", help="Recipe of the trainings.")
@click.option("--seed", type=int, default=0)
@click.option("--shown", default="patient01", help="Case to draw as a picture.")
def main(data: Path, out: Path, config: str, seed: int, shown: str) -> None:
    """Masks of `lesion_masks`, scans of `longitudinal`: two patients, each in both visit orders."""
    print(describe())
    cohort, network = out / "cohort.csv", out / "network"
    found = {name: out / "predictions" / name for name in ("network", "subtraction", "empty")}
    run("datagen cohort", data / "longitudinal", "--both-orders", "--out", cohort)
    recipe = ["--config", config, "--seed", seed]
    run("datagen build", *recipe, "--masks", data / "lesion_masks", "--out", out / "pairs.h5")
    run("metricnet train", *recipe, "--pairs", out / "pairs.h5", "--out", out / "estimator")
    inputs = ["--cohort", cohort, "--estimator", out / "estimator"]
    run("segnet train", *recipe, *inputs, "--out", network)
    run("segnet predict", "--model", network, "--cohort", cohort, "--out", found["network"])
    for baseline in ("subtraction", "empty"):
        options = ["--baseline", baseline, "--cohort", cohort]
        run("segnet predict", *options, "--out", found[baseline])
    methods = [word for folder in found.values() for word in ("--prediction", folder)]
    rules = ["--rule", "overlap", "--rule", "msseg2", "--out", out / "scores"]
    run("segnet evaluate", "--truth", cohort, *methods, *rules)
    run("segnet report", network, "--scores", out / "scores", "--out", out / "report.html")
    case = next(row for row in read_table(out / "scores/sources.csv") if row["case"] == shown)
    save_figure(draw_case(read_case(case)), out / f"{shown}.png")
    print(f"wrote {out / shown}.png")


def run(command: str, *arguments: object) -> None:
    """Run one command, show it and the time that it took; stop where it fails."""
    program, verb = command.split()
    words = [str(argument) for argument in arguments]
    print("$", command, *words, flush=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _PROGRAM.format(program), verb, *words], check=True)
    print(f"  ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
