"""Patience: when a training ends that gets no better."""

from unittest.mock import Mock

import pytest
import pytorch_lightning as lightning
import torch

from segnet import training
from segnet.config import TrainSettings
from segnet.early_stop import EarlyStop, first_whole_epoch
from segnet.training import MONITOR


def epochs_until_stopped(stop: EarlyStop, scores: list[float]) -> int | None:
    """Number of epochs after which the training ends; None where it does not."""
    trainer = Mock(lightning.Trainer, should_stop=False, callback_metrics={})
    for epoch, score in enumerate(scores):
        trainer.current_epoch, trainer.callback_metrics["f1"] = epoch, torch.tensor(score)
        stop.on_validation_end(trainer)
        if trainer.should_stop:
            return epoch + 1
    return None


@pytest.mark.parametrize(
    ("patience", "first", "scores", "stopped"),
    [
        (2, 0, [0.5, 0.4, 0.5, 0.6], 3),
        (2, 0, [0.5, 0.4, 0.6, 0.5, 0.5, 0.5], 5),
        (2, 4, [0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4], 6),
        (0, 0, [0.5] * 9, None),
    ],
)
def test_only_epochs_of_the_whole_loss_are_waited_for(patience, first, scores, stopped):
    assert epochs_until_stopped(EarlyStop("f1", patience, first), scores) == stopped


def test_the_loss_is_whole_after_every_warm_up_and_ramp():
    def first(**changes) -> int:
        return first_whole_epoch(TrainSettings(cohort="c", **changes))

    course = {"alpha_warmup_epochs": 5, "alpha_ramp_epochs": 2}
    assert first(alpha=3.0, alpha_finish_share=0.0, **course) == 7
    assert first(alpha=3.0, epochs=50, alpha_finish_share=0.3, **course) == 35
    assert first(alpha=0.0, alpha_finish_share=0.3, **course) == 0
    assert first(alpha=0.0, loss="lesion_f1", loss_warmup_epochs=4) == 4
    assert first(alpha=0.0, loss="lesion_f1", loss_finish_share=0.3, epochs=20) == 14
    assert first(alpha=0.0, loss="dice", loss_warmup_epochs=4) == 0


@pytest.mark.parametrize(("score", "is_told"), [(0.0, True), (0.01, False)])
def test_a_training_that_found_nothing_says_so(score, is_told, monkeypatch, tmp_path, run):
    row = {"epoch": 1.0, MONITOR: score, "validation/dice": score, "validation/f1": score}
    monkeypatch.setattr(training, "train", lambda settings: [row])
    printed = run("segnet", "train", "--cohort", "c", "--epochs", "1", "--out", tmp_path / "run")
    assert ("no epoch found a new lesion of the validation cases" in printed) == is_told
