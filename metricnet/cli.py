"""The command line of metricnet."""

import click

from datagen.shell import SentenceGroup, from_settings, say
from datagen.wording import counted
from metricnet.config import EvaluateSettings, TrainSettings


@click.group(cls=SentenceGroup)
@click.version_option(package_name="lesionwise")
def main() -> None:
    """A network that estimates the lesion-wise F1 score of a prediction."""


@main.command()
@from_settings(TrainSettings, "metricnet.train")
def train(settings: TrainSettings) -> None:
    """Train the estimator on a pair file and measure it on held-out patients."""
    from metricnet import launch
    from metricnet.runs import say_if_new
    from metricnet.training import train as train_estimator

    say_if_new(settings.out, settings.resume)
    summary = train_estimator(settings).summary()
    if launch.rank() > 0:  # the first process speaks for all
        return
    say(_agreement(summary))
    say(f"wrote {settings.out / 'estimator.safetensors'}")


@main.command()
@from_settings(EvaluateSettings, "metricnet.evaluate")
def evaluate(settings: EvaluateSettings) -> None:
    """Measure how far estimated scores, their changes and their gradient can be trusted."""
    from metricnet.report import evaluate as measure

    summary = measure(settings).summary()
    say(_agreement(summary))
    for training in summary["recorded"]:
        say(
            f"recorded {training['training']}: {training['patches']} patches, "
            f"|F̂ - F| {training['mae']:.3f}, worst tenth {training['worst_tenth']:.3f}"
        )
    if summary["right_edits"] is not None:
        say(f"{summary['edits']} one-lesion edits: {100 * summary['right_edits']:.1f} % right")
    for name, found in summary["attacks"].items():
        say(
            f"ascent of {counted(int(found['starts']), 'start')} by the {name} gradient: exact "
            f"{found['exact_before']:.3f} to {found['exact_after']:.3f}, "
            f"|F̂ - F| {found['gap_after']:.3f}"
        )
    say(f"wrote {settings.out / 'report.html'}")


def _agreement(summary: dict[str, float]) -> str:
    return (
        f"{summary['pairs']:.0f} held-out pairs: MSE {summary['mse']:.4f} "
        f"(constant mean {summary['mse_constant_mean']:.4f}, "
        f"soft-Dice regression {summary['mse_soft_dice_regression']:.4f}), "
        f"MAE {summary['mae']:.3f}, Pearson {summary['pearson']:.3f}, "
        f"Spearman {summary['spearman']:.3f}"
    )
