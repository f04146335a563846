"""The end of a training that does not get better any more."""

from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback


class EarlyStop(Callback):
    """Ends a training after `patience` epochs in a row without a better score; 0: never.

    What it knows is kept in each checkpoint: a training that was ended stays so when resumed.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        self._monitor, self._patience = monitor, patience
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
        self._waited = 0 if is_better else self._waited + 1
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
