"""The detector of the package on real patients, by the commands as a user types them."""

import subprocess
import sys
import time
from pathlib import Path

import click

from benchmarks.machine import describe
from datagen.files import read_table
from datagen.inspection import save_figure
from datagen.shell import SentenceCommand
from segnet.figures import draw_case, read_case

_PROGRAM = "import sys; from {0}.cli import main; main(prog_name='{0}')"


@click.command(cls=SentenceCommand)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/real"))
@click.option("--shown", default="patient01", help="Case to draw as a picture.")
def main(data: Path, out: Path, shown: str) -> None:
    """Scans of `longitudinal`: two patients, each in both visit orders; nothing is trained.

    The baselines have no other case to fit a threshold to, and keep their own.
    """
    print(describe())
    cohort = out / "cohort.csv"
    if cohort.exists():
        raise click.UsageError(f"{cohort} is there already; name another --out")
    if not (data / "longitudinal" / shown).is_dir():
        raise click.UsageError(f"{data / 'longitudinal' / shown} is no case; name another --shown")
    found = {name: out / "predictions" / name for name in ("detector", "growing", "subtraction")}
    run("datagen cohort", data / "longitudinal", "--both-orders", "--out", cohort)
    run("segnet predict", "--cohort", cohort, "--out", found["detector"])
    for baseline in ("growing", "subtraction"):
        options = ["--baseline", baseline, "--cohort", cohort]
        run("segnet predict", *options, "--out", found[baseline])
    methods = [word for folder in found.values() for word in ("--prediction", folder)]
    rules = ["--rule", "overlap", "--rule", "msseg2", "--out", out / "scores"]
    run("segnet evaluate", "--truth", cohort, *methods, *rules)
    run("segnet report", "--scores", out / "scores", "--out", out / "report.html")
    rows = read_table(out / "scores/sources.csv")
    case = next(row for row in rows if (row["case"], row["method"]) == (shown, "detector"))
    save_figure(draw_case(read_case(case), most_slices=1), out / f"{shown}.png")
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
