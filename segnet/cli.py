"""The command line of segnet."""

from pathlib import Path

import click

from datagen.shell import SentenceGroup, from_settings, say
from datagen.wording import counted
from segnet.comparison.settings import SECTION, CompareSettings
from segnet.config import EvolutionSettings, PredictSettings, TrainSettings
from segnet.evaluation.settings import EvaluateSettings


@click.group(cls=SentenceGroup)
@click.version_option(package_name="lesionwise")
def main() -> None:
    """Two-timepoint networks that find new lesions."""


@main.command()
@from_settings(TrainSettings, "segnet.train")
def train(settings: TrainSettings) -> None:
    """Train a network on a cohort with Dice + α (1 - F̂)."""
    from metricnet import launch
    from metricnet.runs import say_if_new
    from segnet.training import MONITOR
    from segnet.training import train as train_network
    from segnet.unread import say_if_never_on, unread_settings

    say_if_new(settings.out, settings.resume)
    if unread := unread_settings(settings):
        say(f"without effect beside the other settings: {', '.join(unread)}")
    if never := say_if_never_on(settings):
        say(never)
    history = train_network(settings)
    if launch.rank() > 0:  # the first process speaks for all
        return
    best = max(history, key=lambda row: row[MONITOR])
    if len(history) < settings.epochs:
        is_over = 0 < settings.patience <= len(history) - best["epoch"]
        more = "; --resume goes on" if settings.max_minutes and not is_over else ""
        say(f"stopped after epoch {len(history)} of {settings.epochs}{more}")
    if not best[MONITOR]:
        say("no epoch found a new lesion of the validation cases: train longer, or look at them")
    say(
        f"best epoch {best['epoch']:.0f} on validation cases: Dice {best['validation/dice']:.3f}, "
        f"L-F1 {best['validation/f1']:.3f}; wrote {settings.out}"
    )


@main.command()
@from_settings(PredictSettings, "segnet.predict")
def predict(settings: PredictSettings) -> None:
    """Find new lesions: one case (--time1 --time2) or a whole cohort (--cohort).

    Ends with exit code 3 where some cases of a cohort could not be predicted.
    """
    from segnet.prediction import predict_usable

    predicted = predict_usable(settings)
    for line in (*predicted.notes, *predicted.failures):
        click.echo(line, err=True)
    say(predicted.sentence)
    if predicted.failures:
        click.get_current_context().exit(3)


@main.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("detector.safetensors"),
    show_default=True,
    help="File to write.",
)
@click.option(
    "--choose-on",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Cohort with truths: threshold and smallest lesion are chosen anew, for the best L-F1 on "
    "its cases, such as a few patients of your own; repeatable.",
)
@click.option(
    "--match-visits/--no-match-visits",
    default=None,
    help="Whether the network is shown visit 1 in the intensities of visit 2, as if one scanner had"
    " taken both.  [default: as the file says; a run: no]",
)
def export(
    model: Path | None, out: Path, choose_on: tuple[Path, ...], match_visits: bool | None
) -> None:
    """Write the best network of a MODEL, and its operating point, as one small file.

    MODEL is a run folder of 'segnet train', or a file of this command; without it, the detector of
    the package is taken. The file holds no pickle; 'segnet predict --model' and 'segnet train
    --init-from' take it.
    """
    from segnet.export import export as export_model

    for line in export_model(model, out, choose_on, match_visits):
        say(line)


@main.command()
@from_settings(EvaluateSettings, "segnet.evaluate")
def evaluate(settings: EvaluateSettings) -> None:
    """Score predictions against truths: lesions, voxels, surfaces, patients, and methods.

    Ends with exit code 3 where some cases could not be scored.
    """
    from segnet.evaluation.run import closing_sheets
    from segnet.evaluation.run import evaluate as evaluate_cases
    from segnet.tables import print_sheets

    evaluation = evaluate_cases(settings)
    print_sheets(closing_sheets(evaluation), log_width=160)
    for line in [
        *(note.note for note in evaluation.notes),
        *(f.reason for f in evaluation.failures),
    ]:
        click.echo(line, err=True)
    scored = len({score.case for score in evaluation.cases})
    say(
        f"wrote the scores of {counted(scored, 'case')} to {settings.out}, "
        f"{len(evaluation.failures)} failed"
    )
    if evaluation.failures:
        click.get_current_context().exit(3)


@main.command()
@from_settings(CompareSettings, SECTION)
def compare(settings: CompareSettings) -> None:
    """Compare methods on one cohort: a table in --config of methods, with folds and seeds.

    Trains what is not trained yet: the same command goes on where it was stopped. Ends with exit
    code 3 where some trainings failed.
    """
    from segnet.comparison.cells import run_cell
    from segnet.comparison.run import advice, commands, compare_methods
    from segnet.tables import print_sheets

    for line in advice(settings):
        click.echo(line, err=True)
    if settings.cell:
        say(f"finished {run_cell(settings, settings.cell).name}")
        return
    if settings.print_commands:
        for line in commands(settings):
            say(line)
        return
    compared = compare_methods(settings)
    print_sheets(compared.sheets, log_width=260)
    for failed in compared.failures:
        click.echo(f"{failed.cell}: {failed.reason}", err=True)
    for line in compared.remarks:
        say(line)
    say(
        f"compared {counted(compared.methods, 'method')} by {counted(compared.runs, 'run')}, "
        f"{len(compared.failures)} failed; wrote {settings.out}"
    )
    if compared.failures:
        click.get_current_context().exit(3)


@main.command()
@from_settings(EvolutionSettings, "segnet.evolution")
def evolution(settings: EvolutionSettings) -> None:
    """Map what became of each lesion: new, growing, stable, shrinking, vanished."""
    from segnet.evolution import count_courses, trace_evolution

    courses = count_courses(trace_evolution(settings))
    counted = ", ".join(f"{count} {course}" for course, count in courses.items())
    say(f"{counted}; wrote {settings.out}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--scores", type=click.Path(path_type=Path), help="Folder of 'segnet evaluate'.")
@click.option("--out", type=click.Path(path_type=Path), help="Page to write.  [report.html there]")
@click.option(
    "--most-cases",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Cases that the slice viewer shows, about 1 MB of the page each.",
)
def report(run: Path | None, scores: Path | None, out: Path | None, most_cases: int) -> None:
    """Write one self-contained page: tables, curves, and a slice viewer of every case.

    RUN is a folder of 'segnet train', for its curves; scores alone will do.
    """
    from segnet.report import write_report

    page = out or (run or scores or Path()) / "report.html"
    say(f"wrote {write_report(run, scores, page, most_cases)}")
