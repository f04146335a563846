"""All cells of a comparison, here or elsewhere, and the tables that come of the finished ones."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from datagen.config import CONFIG, format_recipe, require_own
from datagen.crew import Crew
from datagen.errors import InputError
from datagen.files import make_folder, read_table, whole_file, write_table, write_text
from metricnet import launch
from metricnet.devices import turn_of
from segnet import curves, training
from segnet.comparison.cells import read_cost
from segnet.comparison.froc import FoundAt, found_at, found_sheet
from segnet.comparison.gathering import (
    Finished,
    over_seeds,
    read_cell,
    require_one_estimator,
    values_by_seed,
)
from segnet.comparison.pictures import draw_front, draw_methods
from segnet.comparison.plan import Cell, list_cells, say_if_uneven, write_folds
from segnet.comparison.points import AtPoint, at_points, points_sheet
from segnet.comparison.settings import SECTION, CompareSettings, read_method, train_settings
from segnet.comparison.tabulation import (
    MethodCost,
    SeedMean,
    against,
    against_sheet,
    method_costs,
    papers_sheet,
    seed_means,
)
from segnet.evaluation.case import CaseScore, VoxelRow
from segnet.evaluation.paired import Comparison, MeanRank, compare, mean_ranks
from segnet.evaluation.summaries import Summary, summarise
from segnet.evaluation.sweeps import FrocPoint, SweepPoint, froc_point, summarise_sweep
from segnet.operating_point import OperatingPoint
from segnet.tables import Sheet, as_latex, as_markdown
from segnet.unread import say_if_never_on

LOG = "log.txt"


class Failed(NamedTuple):
    """A cell that did not come to its end, and the last words of its log."""

    cell: str
    reason: str


class Compared(NamedTuple):
    """The tables to show, the papers' first, and the cells without a result.

    `remarks` are sentences on what the tables lack.
    """

    sheets: list[Sheet]
    failures: list[Failed]
    remarks: list[str]
    methods: int
    runs: int


def prepare(settings: CompareSettings) -> list[Cell]:
    """Check every method, write the folds and the settings; return the cells that are not finished.

    The settings hold the whole table, whatever --method takes of it: commands that were printed
    before, or run at the same time, read them too. Raises InputError where the table or the cohort
    cannot be used, or the folder holds cells or folds of another table, or is of another command.
    """
    launch.leave_tasks()  # each training is one process, whatever this job asked for
    cells = list_cells(settings)
    for cell in dict.fromkeys(cell._replace(fold=0, seed=0) for cell in cells):
        _require_trainable(settings, cell.method)
    unfinished = [cell for cell in cells if read_cost(settings, cell) is None]
    write_folds(settings)
    write_text(settings.out / CONFIG, format_recipe(SECTION, settings))
    return unfinished


def advice(settings: CompareSettings) -> list[str]:
    """Sentences on methods that are not what their names say, before they are trained."""
    if settings.finished or settings.cell:
        return []
    methods = [read_method(settings, name) for name in settings.methods]
    trained = {
        method.name: train_settings(method, settings.cohort, settings.out, 0)
        for method in methods
        if not method.baseline
    }
    said = {name: say_if_never_on(own) for name, own in trained.items()}
    return [f"method '{name}': {sentence}" for name, sentence in said.items() if sentence]


def _require_trainable(settings: CompareSettings, name: str) -> None:
    method = read_method(settings, name)
    if method.baseline:
        return
    try:
        out = Cell(name, 0, 0).folder(settings.out) / "run"
        training.require_possible(train_settings(method, settings.cohort, out, 0))
    except InputError as error:
        raise InputError(
            f"method '{name}': {error} (--method, once for each, takes others of the table alone)"
        ) from error


def commands(settings: CompareSettings) -> list[str]:
    """Return a command line for each open cell, to be run in any order, and on any machine."""
    return [shlex.join(["segnet", *_arguments(settings, cell)]) for cell in prepare(settings)]


def compare_methods(settings: CompareSettings) -> Compared:
    """Run the open cells, each in a process of its own, and write the tables of all finished ones.

    With `finished` the open ones are left as they are, and the cohort is not needed. Raises
    InputError where no cell came to its end, with the first failure.
    """
    require_own(settings.out, SECTION)
    failures = [] if settings.finished else _run_open(settings, prepare(settings))
    costs = {cell: read_cost(settings, cell) for cell in list_cells(settings)}
    finished = [read_cell(cell, cost, settings.out) for cell, cost in costs.items() if cost]
    require_one_estimator(finished)
    if not finished and failures:
        raise InputError(f"no training came to its end; {failures[0].cell}: {failures[0].reason}")
    if not finished:
        raise InputError(
            f"{settings.out} holds no finished training; run the same without --finished"
        )
    failed = {failure.cell for failure in failures}
    left = [name for cell, cost in costs.items() if not cost and (name := cell.name) not in failed]
    remarks = [f"not finished: {', '.join(left)}"] if left else []
    if uneven := say_if_uneven([one.cell for one in finished if one.point]):
        remarks.append(uneven)
    return _tabulate(finished, settings)._replace(failures=failures, remarks=remarks)


def _run_open(settings: CompareSettings, unfinished: Sequence[Cell]) -> list[Failed]:
    folders = [make_folder(cell.folder(settings.out)) for cell in unfinished]
    jobs = [
        (_arguments(settings, cell), str(Path.cwd()), str(folder.absolute() / LOG), number)
        for number, (cell, folder) in enumerate(zip(unfinished, folders, strict=True))
    ]
    said: list[str] = []
    if jobs:
        with Crew(settings.workers, settings.cluster) as crew:
            said = crew.run(run_alone, jobs, "trainings")
    failures = [
        Failed(cell.name, reason) for cell, reason in zip(unfinished, said, strict=True) if reason
    ]
    write_table(settings.out / "failures.csv", [row._asdict() for row in failures], Failed._fields)
    return failures


def run_alone(arguments: list[str], folder: str, log: str, number: int = 0) -> str:
    """Run a command of segnet in a process of its own; return its last words where it fails.

    What it says goes into the file `log`. Of several GPUs it has one, in turn by its number.
    """
    program = [sys.executable, "-c", "from segnet.cli import main; main(prog_name='segnet')"]
    with Path(log).open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            [*program, *arguments],
            cwd=folder,
            env=os.environ | turn_of(number),
            stdout=stream,
            stderr=stream,
            check=False,
        )
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"ended by {name}, perhaps for lack of memory; its last words are in {log}"
    lines = Path(log).read_text(encoding="utf-8").strip().splitlines()
    return lines[-1] if lines else f"ended with exit code {done.returncode}"


def _arguments(settings: CompareSettings, cell: Cell) -> list[str]:
    out = str(settings.out)
    config = str(settings.out / CONFIG)
    # a later call with other flags writes another config.toml
    own = {"seeds": [cell.seed], "rule": settings.rule, "threads": [settings.threads]}
    flags = [word for name, values in own.items() for one in values for word in (f"--{name}", one)]
    return ["compare", "--config", config, "--out", out, "--cell", cell.name, *map(str, flags)]


def _tabulate(finished: Sequence[Finished], settings: CompareSettings) -> Compared:
    by_seed = values_by_seed(finished)
    values, reference = over_seeds(by_seed.values()), settings.reference or _first(settings)
    patients = {case: name for one in finished for case, name in one.patients.items()}
    summaries = [summarise(one, patients, settings.resamples, settings.seed) for one in values]
    costs, tests, seeds = method_costs(finished), against(values, reference), seed_means(by_seed)
    sweep = summarise_sweep([row for one in finished for row in one.sweep], "threshold")
    points, out = at_points(finished, reference), settings.out
    sheets = [papers_sheet(summaries, costs), against_sheet(tests, reference)]
    found = found_at(finished)
    if points:
        sheets[1:1] = [points_sheet(points, reference), found_sheet(found)]
    _write(out / "aggregate.csv", summaries, Summary)
    _write(out / "comparisons.csv", compare(values), Comparison)
    _write(out / "against.csv", tests, Comparison)
    _write(out / "ranks.csv", mean_ranks(values), MeanRank)
    _write(out / "seeds.csv", seeds, SeedMean)
    _write(out / "costs.csv", costs, MethodCost)
    _write(out / "thresholds.csv", sweep, SweepPoint)
    _write(out / "points.csv", points, AtPoint)
    _write(out / "froc.csv", [froc_point(point) for point in sweep], FrocPoint)
    _write(out / "found.csv", found, FoundAt)
    _write_cells(out, finished)
    for suffix, turn in ((".md", as_markdown), (".tex", as_latex)):
        write_text(out / f"table{suffix}", "\n".join(map(turn, sheets)))
    _save(draw_methods(summaries, seeds), out / "methods.png")
    _save(draw_front(summaries), out / "front.png")
    if sweep:
        # as read back from the files, whose empty cells the curves leave out
        for name, draw in (("thresholds", curves.draw_thresholds), ("froc", curves.draw_froc)):
            rows = [dict(row) for row in read_table(out / f"{name}.csv")]
            _save(draw(rows), out / f"{name}.png")
    return Compared(sheets, [], [], len(costs), len(finished))


def _first(settings: CompareSettings) -> str:
    return next(iter(settings.methods))


def _write_cells(out: Path, finished: Sequence[Finished]) -> None:
    """Write what every cell says of every case, and what it took."""
    cell = ("method", "fold", "seed")
    tables: list[tuple[str, Any, Any]] = [
        ("cases", CaseScore, "scores"),
        ("voxelwise", VoxelRow, "voxels"),
    ]
    for name, kind, field in tables:
        rows = [
            {**row._asdict(), **one.cell._asdict()}
            for one in finished
            for row in getattr(one, field)
        ]
        write_table(out / f"{name}.csv", rows, dict.fromkeys([*cell, *kind._fields]))
    rows = [{**one.cell._asdict(), **one.cost._asdict(), **_chosen(one.point)} for one in finished]
    write_table(out / "cells.csv", rows, rows[0])


def _chosen(point: OperatingPoint | None) -> dict[str, float | None]:
    """What the validation cases chose, and the L-F1 they had with it."""
    return {
        "threshold": point.threshold if point else None,
        "min_volume_mm3": point.min_volume_mm3 if point else None,
        "validation_f1": point.f1 if point else None,
    }


def _write(path: Path, rows: Sequence[Any], kind: Any) -> None:
    write_table(path, [row._asdict() for row in rows], kind._fields)


def _save(figure: Figure, path: Path) -> None:
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=150)
