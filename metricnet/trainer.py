"""The trainer that both trainings share, and the run folder that it writes."""

import contextlib
import io
import logging
import sys
import tomllib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, Timer, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO

from datagen.config import Settings, format_recipe, read_recipe
from datagen.errors import InputError
from datagen.files import (
    make_folder,
    remove_partials,
    whole_file,
    write_json,
    write_table,
    write_text,
)
from metricnet import launch
from metricnet.config import Precision
from metricnet.devices import resolve_precision
from metricnet.runs import (
    BEST,
    CONFIG,
    HISTORY,
    INPUTS,
    LAST,
    read_checkpoint,
    read_inputs,
)


def open_run(
    folder: Path,
    section: str,
    settings: Settings,
    resume: bool,
) -> Path | None:
    """Prepare a run folder; return the checkpoint to go on from, None where there is none.

    The resolved settings are written to `config.toml`. Raises InputError where the folder holds a
    run and `resume` is off, or where a resumed run was begun with other settings. A job that SLURM
    requeued resumes by itself. Only the first of several processes looks and writes.
    """
    last, resume = folder / LAST, resume or launch.is_requeued()
    if launch.rank() > 0:
        return last if resume and last.is_file() else None
    make_folder(folder)
    config, recipe = folder / CONFIG, format_recipe(section, settings)
    if config.is_file():
        if not resume:
            raise InputError(
                f"{folder} holds a run; add --resume to go on, or choose another --out"
            )
        _require_same(config, recipe, section)
    is_begun = resume and last.is_file()
    if is_begun:
        read_checkpoint(last)
        remove_partials(folder)
    if not config.is_file():
        write_text(config, recipe)
    return last if is_begun else None


def make_trainer(
    folder: Path,
    *,
    epochs: int,
    seed: int,
    monitor: str,
    mode: Literal["min", "max"],
    max_minutes: float | None,
    precision: Precision,
    devices: int,
) -> lightning.Trainer:
    """Return a trainer that keeps last and best checkpoint, a history and a TensorBoard log."""
    each_epoch = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = Kept(folder, filename=Path(BEST).stem, monitor=monitor, mode=mode, **each_epoch)
    last = Kept(folder, filename=Path(LAST).stem, **each_epoch)
    callbacks: list[Callback] = [StepSeed(seed), History(folder / HISTORY), best, last]
    callbacks.append(launch.Requeue())
    if max_minutes is not None:
        limit = {"seconds": max_minutes * 60}
        callbacks.append(MinutesOfThisStart(limit, interval="epoch", verbose=False))
    callbacks.append(TQDMProgressBar(leave=True) if _shows_progress() else EpochLines())
    processes, machines = launch.layout(devices)
    with quiet_trainer():
        return lightning.Trainer(
            default_root_dir=folder,
            max_epochs=epochs,
            accelerator="auto",
            devices=processes,
            num_nodes=machines,
            plugins=[WholeCheckpoints(), *launch.cluster_plugins()],
            precision="bf16-mixed" if resolve_precision(precision) == "bf16" else "32-true",
            callbacks=callbacks,
            logger=TensorBoardLogger(folder, name="", version="tensorboard"),
            enable_progress_bar=_shows_progress(),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            use_distributed_sampler=False,
        )


@contextlib.contextmanager
def quiet_trainer() -> Iterator[None]:
    """Keep the trainer's advice off the terminal: what it advises is decided here."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # reading pairs in worker processes was measured to be slower on small machines
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            # a training begun with --max-minutes may go on without it
            warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
            warnings.filterwarnings("ignore", category=FutureWarning, module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)


def fit(
    trainer: lightning.Trainer,
    task: lightning.LightningModule,
    training: Iterable[Any],
    validation: Iterable[Any],
    last: Path | None,
) -> None:
    """Train to the end, going on from a checkpoint where one is given."""
    with quiet_trainer():
        try:
            trainer.fit(task, training, validation, ckpt_path=last)
        except SystemExit as stop:
            # the trainer turns Ctrl-C into an exit of its own, without a word
            raise KeyboardInterrupt from stop


def require_finite(loss: torch.Tensor, step: int) -> None:
    """Raise InputError where a loss has become NaN or infinite: nothing is learnt any more."""
    if not torch.isfinite(loss):
        raise InputError(f"the loss is {loss.item()} at step {step}; lower --learning-rate")


class StepSeed(Callback):
    """Seeds torch at each step, so that a resumed training draws what an unbroken one draws."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: object) -> None:
        """Seed by run, step and process."""
        of_step = np.random.SeedSequence([self._seed, trainer.global_step, trainer.global_rank])
        torch.manual_seed(int(of_step.generate_state(1)[0]))


class History(Callback):
    """Writes one row of metrics per epoch as CSV; a resumed run goes on after its checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Add the epoch's metrics and write the table."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._rows.append({"epoch": trainer.current_epoch + 1, **dict(sorted(metrics.items()))})
        if trainer.is_global_zero:
            write_table(self._path, self._rows, self._rows[-1])

    def state_dict(self) -> dict[str, Any]:
        """Rows so far, kept in each checkpoint."""
        return {"rows": list(self._rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of a checkpoint."""
        self._rows = list(state_dict["rows"])


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place before it takes it.

    The trainer's own way is over the system's folder for temporary files: from another disk, a kill
    or a full disk would leave half of a checkpoint where a whole one was.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *_: Any, **__: Any) -> None:
        """Write it, whole or not at all."""
        # on a full disk the library's own writer hides what is wrong
        packed = io.BytesIO()
        torch.save(checkpoint, packed)
        with whole_file(Path(path)) as partial:
            partial.write_bytes(packed.getbuffer())


class Kept(ModelCheckpoint):
    """Keeps a checkpoint; resumed in a folder that was moved, it still knows the best score."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state as if the run had always been in this folder."""
        here = Path(str(self.dirpath))
        moved = {
            name: str(here / Path(state_dict[name]).name)
            for name in ("best_model_path", "kth_best_model_path", "last_model_path")
            if state_dict.get(name)
        }
        kept = {
            str(here / Path(path).name): score
            for path, score in state_dict.get("best_k_models", {}).items()
        }
        state = {**state_dict, **moved, "dirpath": str(here), "best_k_models": kept}
        super().load_state_dict(state)


class MinutesOfThisStart(Timer):
    """Ends a training after so many minutes; those before a resume are not counted."""

    def state_dict(self) -> dict[str, Any]:
        """Keep nothing: a limit that is over would end each resumed training at once."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin to count anew."""


class EpochLines(Callback):
    """One line per epoch on the error stream, where no progress bar can be shown."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Write the epoch's metrics, once for all processes."""
        if not trainer.is_global_zero:
            return
        metrics = sorted(trainer.callback_metrics.items())
        shown = ", ".join(f"{name} {float(value):.4g}" for name, value in metrics)
        click.echo(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {shown}", err=True)


def _require_same(config: Path, recipe: str, section: str) -> None:
    package, command = section.split(".")
    begun = read_recipe(str(config)).get(section)
    if begun is None:
        raise InputError(f"{config} is not of a run of '{package} {command}'; choose another --out")
    wanted = tomllib.loads(recipe)[package][command]
    for key in sorted(begun.keys() | wanted.keys()):
        if begun.get(key) != wanted.get(key):
            raise InputError(
                f"{config}: the run was begun with {key} = {begun.get(key)}, not "
                f"{wanted.get(key)}; resume it with its own settings"
            )


def keep_inputs(folder: Path, inputs: Mapping[str, str], goes_on: bool) -> None:
    """Write checksums of what a run learns from, by setting, into its `inputs.json`.

    Raises InputError where a run that goes on was begun with others; what an earlier version did
    not write down is not held against it. Only the first of several processes looks and writes.
    """
    if launch.rank() > 0:
        return
    if not goes_on:
        write_json(folder / INPUTS, inputs)
        return
    begun = read_inputs(folder)
    for setting, found in inputs.items():
        if begun.get(setting, found) != found:
            raise InputError(
                f"{folder}: what {setting} names has changed since the run was begun; restore "
                "it, or begin anew with another --out"
            )


def _shows_progress() -> bool:
    return sys.stderr.isatty()
