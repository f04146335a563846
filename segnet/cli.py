"""The command line of segnet."""

from pathlib import Path

import click

from datagen.shell import SentenceGroup, from_settings, say
from segnet.config import EvaluateSettings, PredictSettings, TrainSettings


@click.group(cls=SentenceGroup)
@click.version_option(package_name="lesionwise")
def main() -> None:
    """Two-timepoint networks that find new lesions."""


@main.command()
@from_settings(TrainSettings, "segnet.train")
def train(settings: TrainSettings) -> None:
    """Train a network on a cohort with Dice + α (1 - F̂)."""
    from segnet.training import MONITOR
    from segnet.training import train as train_network

    best = max(train_network(settings), key=lambda row: row[MONITOR])
    say(
        f"best epoch {best['epoch']:.0f} on validation cases: Dice {best['validation/dice']:.3f}, "
        f"L-F1 {best['validation/f1']:.3f}; wrote {settings.out}"
    )


@main.command()
@from_settings(PredictSettings, "segnet.predict")
def predict(settings: PredictSettings) -> None:
    """Find new lesions: one case (--time1 --time2) or a whole cohort (--cohort)."""
    from segnet.prediction import predict as predict_cases

    say(predict_cases(settings))


@main.command()
@from_settings(EvaluateSettings, "segnet.evaluate")
def evaluate(settings: EvaluateSettings) -> None:
    """Score predictions against truths: per case, clean patients apart, and on average."""
    from rich.console import Console

    from segnet.evaluation import aggregate
    from segnet.evaluation import evaluate as evaluate_cases
    from segnet.tables import active_sheet, as_terminal_table, clean_sheet

    scores = evaluate_cases(settings)
    means, console = aggregate(scores), Console()
    if not console.is_terminal:
        console.width = 120  # a log has no edge to wrap at
    for sheet in (active_sheet(means), clean_sheet(means)):
        console.print(as_terminal_table(sheet))
    say(f"wrote the scores of {len({score.case for score in scores})} cases to {settings.out}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--scores", type=click.Path(path_type=Path), help="Folder of 'segnet evaluate'.")
@click.option("--out", type=click.Path(path_type=Path), help="Page to write.  [RUN/report.html]")
def report(run: Path, scores: Path | None, out: Path | None) -> None:
    """Write one self-contained page: curves, tables, and slices of every case."""
    from segnet.report import write_report

    say(f"wrote {write_report(run, scores, out or run / 'report.html')}")
