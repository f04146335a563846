"""One cell of the table: train, predict the test cases, score them; go on where it stopped."""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits

from datagen.config import format_recipe
from datagen.errors import InputError
from datagen.files import make_folder, write_json, write_text
from metricnet import launch, runs
from segnet.comparison.plan import Cell, find_cell, fold_cohort, write_folds
from segnet.comparison.settings import (
    CompareSettings,
    Method,
    predict_settings,
    read_method,
    train_settings,
)
from segnet.config import TrainSettings
from segnet.evaluation.run import evaluate
from segnet.evaluation.settings import EvaluateSettings
from segnet.prediction import predict
from segnet.training import SECTION as TRAINING
from segnet.training import train

_DONE, _TRAINING = "cell.json", "training.json"
_GIB = 2**30


class Cost(NamedTuple):
    """What a cell took; training includes reading the cohort, and choosing threshold and volume.

    Memory is the most that the process that ended the cell held until its predictions were written,
    in GiB: None where the system does not tell. `gpu_memory_gib` is None without a GPU. A training
    that was resumed counts the seconds up to each checkpoint that was gone on from.
    """

    epochs: int
    train_seconds: float
    predict_seconds: float
    memory_gib: float | None
    gpu_memory_gib: float | None


def run_cell(settings: CompareSettings, name: str) -> Cell:
    """Bring a cell to its end; a finished one is left as it is.

    Raises InputError where a training, a prediction or a score cannot be had.
    """
    cell = find_cell(settings, name)
    method = read_method(settings, cell.method)
    if read_cost(settings, cell) is not None:
        return cell
    launch.leave_tasks()
    write_folds(settings)
    folder = make_folder(cell.folder(settings.out))
    cohort = fold_cohort(settings.out, cell.fold)
    with _threads(settings.threads):
        seconds = 0.0 if method.baseline else _train(method, cell, cohort, folder)
        started = time.monotonic()
        predict(predict_settings(method, cohort, folder / "run", folder / "predictions"))
        cost = Cost(
            0 if method.baseline else len(runs.read_history(folder / "run")),
            seconds,
            time.monotonic() - started,
            _peak_gib(),
            torch.cuda.max_memory_allocated() / _GIB if torch.cuda.is_available() else None,
        )
        _score(settings, cohort, folder)
    # this file comes last: where it is, the cell is complete
    write_json(folder / _DONE, {"settings": _recorded(settings, cell), **cost._asdict()})
    return cell


def read_cost(settings: CompareSettings, cell: Cell) -> Cost | None:
    """Return what a finished cell took, None for one that is not finished.

    Raises InputError where it was run with other settings than the method has now.
    """
    path = cell.folder(settings.out) / _DONE
    if not path.is_file():
        return None
    known = _read(path)
    _require_same(path, known.get("settings", {}), _recorded(settings, cell))
    return Cost._make(known.get(field) for field in Cost._fields)


def _require_same(path: Path, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key in sorted(wanted.keys() | known.keys()):
        was, now = known.get(key), wanted.get(key)
        if was != now:
            raise InputError(
                f"{path}: the cell was run with {key} = {was}, not {now}; "
                "give the changed method another name, or choose another --out"
            )


def _train(method: Method, cell: Cell, cohort: Path, folder: Path) -> float:
    """Train to the end, going on where an earlier attempt stopped; return the seconds of all.

    Raises InputError where a training that is at its end had other settings.
    """
    run, note = folder / "run", folder / _TRAINING
    before = _seconds_before(note, run / runs.LAST)
    if before.is_finished:
        begun = runs.read_config(run, TRAINING, TrainSettings)
        # the same list of cases, however its path was written
        wanted = train_settings(method, begun.cohort, run, cell.seed)
        _require_same(run / runs.CONFIG, begun.recorded(), wanted.recorded())
        return before.seconds
    wanted = train_settings(method, cohort, run, cell.seed)
    _take_cohort(run / runs.CONFIG, wanted)
    started, clock = time.time(), time.monotonic()
    write_json(note, {"seconds": before.seconds, "started": started})
    train(wanted)
    seconds = before.seconds + time.monotonic() - clock
    write_json(note, {"seconds": seconds, "started": None})
    return seconds


def _take_cohort(config: Path, wanted: TrainSettings) -> None:
    """Let a training go on where the folder was moved: the fold's list is the same."""
    if config.is_file():
        begun = runs.read_config(config.parent, TRAINING, TrainSettings)
        moved = begun.model_copy(update={"cohort": wanted.cohort})
        write_text(config, format_recipe(TRAINING, moved))


class _Before(NamedTuple):
    seconds: float
    is_finished: bool


def _seconds_before(note: Path, last: Path) -> _Before:
    """Seconds of earlier attempts, up to the checkpoint of each that is gone on from."""
    if not note.is_file():
        return _Before(0.0, False)
    known = _read(note)
    if known.get("started") is None:
        return _Before(float(known["seconds"]), True)
    kept = last.stat().st_mtime - known["started"] if last.is_file() else 0.0
    return _Before(float(known["seconds"]) + max(kept, 0.0), False)


def _score(settings: CompareSettings, cohort: Path, folder: Path) -> None:
    shutil.rmtree(folder / "scores", ignore_errors=True)  # of a call that was cut off
    scored = evaluate(
        EvaluateSettings(
            truth=cohort,
            split="test",
            prediction=(folder / "predictions",),
            rule=settings.rule,
            out=folder / "scores",
            resamples=100,  # intervals come of all cells together
            workers=1,
        )
    )
    if scored.failures:
        raise InputError(scored.failures[0].reason)


def _recorded(settings: CompareSettings, cell: Cell) -> dict[str, Any]:
    """Everything that decides a cell's result, but for the cases, which the fold's list decides."""
    method = read_method(settings, cell.method)
    trained = (
        {} if method.baseline else train_settings(method, Path(), Path(), cell.seed).recorded()
    )
    predicted = predict_settings(method, Path(), Path(), Path()).recorded()
    both = {**{f"predict.{key}": value for key, value in predicted.items()}, **trained}
    return {**both, "rule": list(settings.rule), "threads": settings.threads}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def _peak_gib() -> float | None:
    """Most memory that this process has held; other systems than Linux count its parent's in."""
    if sys.platform != "linux":
        return None
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 2**20


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged; delete the cell's folder and run it again") from error
    return dict(values)
