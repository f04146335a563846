"""The command line of metricnet."""

import click

from datagen.shell import SentenceGroup, from_settings, say
from metricnet.config import EvaluateSettings, TrainSettings


@click.group(cls=SentenceGroup)
@click.version_option(package_name="lesionwise")
def main() -> None:
    """A network that estimates the lesion-wise F1 score of a prediction."""


@main.command()
@from_settings(TrainSettings, "metricnet.train")
def train(settings: TrainSettings) -> None:
    """Train the estimator on a pair file and measure it on held-out patients."""
    from metricnet.training import train as train_estimator

    summary = train_estimator(settings).summary()
    say(_agreement(summary))
    say(f"wrote {settings.out / 'estimator.safetensors'}")


@main.command()
@from_settings(EvaluateSettings, "metricnet.evaluate")
def evaluate(settings: EvaluateSettings) -> None:
    """Measure how well estimated scores agree with exact ones, beside two baselines."""
    from metricnet.agreement import evaluate as measure

    compared = measure(settings.estimator, settings.pairs, settings.out, settings.split)
    say(_agreement(compared.summary()))
    say(f"wrote agreement.json, by_bin.csv and scatter.png to {settings.out}")


def _agreement(summary: dict[str, float]) -> str:
    return (
        f"{summary['pairs']:.0f} held-out pairs: MSE {summary['mse']:.4f} "
        f"(constant mean {summary['mse_constant_mean']:.4f}, "
        f"soft-Dice regression {summary['mse_soft_dice_regression']:.4f}), "
        f"MAE {summary['mae']:.3f}, Pearson {summary['pearson']:.3f}, "
        f"Spearman {summary['spearman']:.3f}"
    )
