"""What the finished cells hold, read back from their tables, and averaged over seeds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from datagen.errors import InputError
from datagen.files import read_table
from metricnet.runs import read_inputs
from segnet.comparison.cells import Cost
from segnet.comparison.plan import Cell
from segnet.evaluation.case import CaseScore, VoxelRow
from segnet.evaluation.paired import clean_values
from segnet.evaluation.patients import clean_cases
from segnet.evaluation.summaries import Values, values_of
from segnet.evaluation.sweeps import SweepRow
from segnet.operating_point import OperatingPoint, read_point

Row = TypeVar("Row", CaseScore, VoxelRow, SweepRow)


class Finished(NamedTuple):
    """A finished cell: what it took, and every score of its test cases, under its method's name.

    `point` is the operating point that the validation cases chose; None for a baseline.
    `estimator` is the checksum of the estimator it was trained with; None without, or unknown.
    """

    cell: Cell
    cost: Cost
    scores: list[CaseScore]
    voxels: list[VoxelRow]
    sweep: list[SweepRow]
    patients: dict[str, str]
    point: OperatingPoint | None
    estimator: str | None = None


def read_cell(cell: Cell, cost: Cost, out: Path) -> Finished:
    """Read the tables of a finished cell; InputError where one is missing or damaged."""
    folder = cell.folder(out) / "scores"
    name = cell.method
    sources = read_table(folder / "sources.csv")
    return Finished(
        cell,
        cost,
        [row._replace(method=name) for row in read_rows(folder / "cases.csv", CaseScore)],
        [row._replace(method=name) for row in read_rows(folder / "voxelwise.csv", VoxelRow)],
        [row._replace(method=name) for row in read_rows(folder / "sweep_cases.csv", SweepRow)],
        {row["case"]: row["patient"] for row in sources},
        read_point(cell.folder(out) / "run"),
        read_inputs(cell.folder(out) / "run").get("--estimator"),
    )


def require_one_estimator(finished: Sequence[Finished]) -> None:
    """Raise InputError where trainings of one method asked different estimators."""
    first: dict[str, Finished] = {}
    for one in finished:
        other = first.setdefault(one.cell.method, one) if one.estimator else one
        if one.estimator != other.estimator:
            raise InputError(
                f"{one.cell.name} was trained with another estimator than {other.cell.name}, which "
                "was replaced between them; delete the folder of one, and run it again"
            )


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read a table back into the named tuples it was written from; an empty cell is None.

    Raises InputError where the file is missing, or its columns or values are of another kind.
    """
    hints = get_type_hints(kind)
    try:
        return [
            kind(*(_typed(row[name], hint) for name, hint in hints.items()))
            for row in read_table(path)
        ]
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); delete the cell's folder") from error


def values_by_seed(finished: Sequence[Finished]) -> dict[int, list[Values]]:
    """Gather, for each seed, every score of every method over the cases of all folds.

    Scores of cases with new lesions, and the false lesions of those without.
    """
    gathered = {}
    for seed in dict.fromkeys(one.cell.seed for one in finished):
        own = [one for one in finished if one.cell.seed == seed]
        scores = [score for one in own for score in one.scores]
        voxels = [row for one in own for row in one.voxels]
        gathered[seed] = [*values_of(scores, voxels), *clean_values(clean_cases(scores))]
    return gathered


def over_seeds(by_seed: Iterable[Sequence[Values]]) -> list[Values]:
    """Average each score of each case over the seeds: a case is one piece of evidence, not three.

    Seeds in which the score is not defined are left out; None where it is in none.
    """
    groups: dict[tuple[str, str, str], list[Values]] = {}
    for values in by_seed:
        for one in values:
            groups.setdefault((one.method, one.rule, one.metric), []).append(one)
    return [Values(*key, by_case=_mean_by_case(group)) for key, group in groups.items()]


def _mean_by_case(group: Sequence[Values]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for case in dict.fromkeys(case for one in group for case in one.by_case):
        known = [value for one in group if (value := one.by_case.get(case)) is not None]
        means[case] = sum(known) / len(known) if known else None
    return means


def _typed(text: str, hint: Any) -> Any:
    """Return the value that a cell of a table was written from."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if text == "" and type(None) in kinds:
        return None
    if bool in kinds:
        return {"True": True, "False": False}[text]
    if int in kinds:
        return int(text)
    return float(text) if float in kinds else text
