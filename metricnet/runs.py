"""Run folders on disk: settings, checkpoints and history of a training; nothing is trained here."""

import json
import struct
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from datagen.config import AnySettings, read_recipe, resolve
from datagen.errors import InputError
from datagen.files import read_table, require_file
from datagen.shell import say

CONFIG, HISTORY, LAST, BEST = "config.toml", "history.csv", "last.ckpt", "best.ckpt"
INPUTS = "inputs.json"  # checksums of what a training learns from, by setting
# what reading one that is cut off or changed ends in
_BROKEN = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    UnpicklingError,
    struct.error,
)


def say_if_new(folder: Path, resume: bool) -> None:
    """Say that a run which is to be resumed is not there: its name may be mistyped."""
    if resume and not (folder / LAST).is_file():
        say(f"{folder} holds nothing to go on from; beginning anew")


def read_config(folder: Path, section: str, model: type[AnySettings]) -> AnySettings:
    """Return the settings with which a run was trained; InputError where the folder holds none."""
    config = folder / CONFIG
    if not config.is_file():
        raise InputError(f"{folder} is not a run folder: {CONFIG} is missing")
    if section not in read_recipe(str(config)):
        raise InputError(f"{folder} is not a run of '{section.replace('.', ' ')}'")
    return resolve(model, section, str(config), {})


def best_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of the best checkpoint of a run; only tensors and plain values are unpickled.

    Raises InputError where the run has no checkpoint yet.
    """
    state: dict[str, torch.Tensor] = read_checkpoint(folder / BEST)["state_dict"]
    return state


def epochs_done(checkpoint: Path | None) -> int:
    """Number of epochs after which a checkpoint was written; 0 where none is given."""
    return int(read_checkpoint(checkpoint)["epoch"]) + 1 if checkpoint else 0


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; InputError where there is none, or it is broken."""
    require_file(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if "state_dict" in checkpoint:
            return dict(checkpoint)
    except _BROKEN:
        pass
    raise InputError(f"{path} is not a checkpoint, or is cut off; train again")


def read_history(folder: Path) -> list[dict[str, float]]:
    """Rows of a run's history, one per epoch."""
    path = folder / HISTORY
    try:
        rows = [{name: float(value) for name, value in row.items()} for row in read_table(path)]
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error})") from error
    if not rows or "epoch" not in rows[0]:
        raise InputError(f"{path} holds no epoch yet; train on with --resume")
    return rows


def read_inputs(folder: Path) -> dict[str, str]:
    """Checksums of what a run learns from, by setting; none for a run of an earlier version."""
    path = folder / INPUTS
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); delete the folder, and begin anew"
        ) from error
