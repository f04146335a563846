"""The end of a training that does not get better any more."""

from typing import Any, get_args

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback

from segnet.choices import Added
from segnet.config import TrainSettings
from segnet.learned import course_of


def first_whole_epoch(settings: TrainSettings) -> int:
    """First epoch from which on every term of the loss keeps its weight, counted from 0."""
    course, last = course_of(settings), settings.epochs - 1
    changes = (one for one in range(last) if course.at(one) != course.at(last))
    learned = max(changes, default=-1) + 1
    if settings.loss not in get_args(Added):
        return learned
    finish = round(settings.epochs * settings.loss_finish_share)
    return max(learned, settings.epochs - finish if finish else settings.loss_warmup_epochs)


class EarlyStop(Callback):
    """Ends a training after `patience` epochs in a row without a better score; 0: never.

    Epochs before `first`, counted from 0, are not waited for: the loss is not yet what it will be.
    What it knows is kept in each checkpoint: a training that was ended stays so when resumed.
    """

    def __init__(self, monitor: str, patience: int, first: int = 0) -> None:
        self._monitor, self._patience, self._first = monitor, patience, first
        self._best: float | None = None
        self._waited = 0

    def on_fit_start(self, trainer: lightning.Trainer, *_: object) -> None:
        """End at once where the checkpoint that is resumed has ended already."""
        self._stop(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Compare the epoch's score, before the epoch's checkpoint is written."""
        score = float(trainer.callback_metrics[self._monitor])
        is_better = self._best is None or score > self._best
        if is_better:
            self._best = score
        is_waited_for = not is_better and trainer.current_epoch >= self._first
        self._waited = self._waited + 1 if is_waited_for else 0
        self._stop(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Best score, and for how many epochs it has stood."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint knows."""
        self._best, self._waited = state_dict["best"], state_dict["waited"]

    def _stop(self, trainer: lightning.Trainer) -> None:
        if 0 < self._patience <= self._waited:
            trainer.should_stop = True
