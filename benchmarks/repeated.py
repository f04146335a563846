"""One comparison, trained on several machines: each machine by itself, and all together."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from datagen.config import resolve
from datagen.errors import InputError
from datagen.shell import SentenceCommand
from segnet.comparison.cells import read_cost
from segnet.comparison.froc import found_at, found_sheet
from segnet.comparison.gathering import (
    Finished,
    over_seeds,
    read_cell,
    require_one_estimator,
    values_by_seed,
)
from segnet.comparison.plan import list_cells
from segnet.comparison.points import at_points
from segnet.comparison.settings import SECTION, CompareSettings, find_name
from segnet.comparison.tabulation import against
from segnet.evaluation.summaries import NO_RULE
from segnet.tables import as_markdown

_F1 = (("overlap", "f1"), ("msseg2", "f1"))
_DICE = (NO_RULE, "dice")
# what is shown at each point, and the point in words
_COLUMNS = {"own": (*_F1, _DICE), "usual": (*_F1, _DICE), "best": _F1}
_POINTS = {"own": "own point", "usual": "0.5", "best": "best"}
_SMALLEST_P = 0.001


class Found(NamedTuple):
    """Mean of a score over cases, its difference from the reference, and p, uncorrected."""

    mean: float | None
    difference: float | None
    p: float | None


@click.command(cls=SentenceCommand)
@click.option(
    "--compared",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder of 'segnet compare --config compare' on one machine; repeatable.",
)
@click.option("--method", multiple=True, required=True, help="Method to compare; repeatable.")
@click.option("--reference", default="Dice", help="Method that is taken from each of the others.")
def main(compared: tuple[Path, ...], method: tuple[str, ...], reference: str) -> None:
    """Print each method less one, at three thresholds, and at the same number of false lesions."""
    machines = [read_finished(folder, (reference, *method)) for folder in compared]
    reference = find_name(reference, {one.cell.method for one in machines[0]}, "reference")
    everything = together(machines)
    for name, finished in [*zip(compared, machines, strict=True), ("all", everything)]:
        print(f"\n{name}: {len(finished)} trainings")
        print_means(finished, reference)
        print(f"\n{as_markdown(found_sheet(found_at(finished)))}")
    print(f"{reference}, and each training of all less {reference} of its seed and machine")
    print_each(everything, reference)


def read_finished(out: Path, methods: Sequence[str] = ()) -> list[Finished]:
    """Read the finished trainings of the recipe 'compare' in a folder; only of methods, if any.

    Raises InputError where the recipe lacks a method, or nothing is finished.
    """
    flags: dict[str, object] = {"out": out}
    if methods:
        flags |= {"method": tuple(methods), "reference": methods[0]}
    settings = resolve(CompareSettings, SECTION, "compare", flags)
    costs = {cell: read_cost(settings, cell) for cell in list_cells(settings)}
    finished = [read_cell(cell, cost, out) for cell, cost in costs.items() if cost]
    if not finished:
        raise InputError(f"{out} holds no finished training; unpack an archive of scores there")
    require_one_estimator(finished)
    return finished


def together(machines: Sequence[Sequence[Finished]]) -> list[Finished]:
    """Take the seeds of each further machine, which rounds otherwise, as further seeds."""
    seeds = 1 + max(one.cell.seed for finished in machines for one in finished)
    return [
        one._replace(cell=one.cell._replace(seed=one.cell.seed + number * seeds))
        for number, finished in enumerate(machines)
        for one in finished
    ]


def find(finished: Sequence[Finished], reference: str) -> dict[tuple[str, str, str, str], Found]:
    """Average over seeds and cases; by point, rule, metric and method."""
    values = over_seeds(values_by_seed(finished).values())
    tests = {(test.rule, test.metric, test.first): test for test in against(values, reference)}
    found = {}
    for one in values:
        scores = [score for score in one.by_case.values() if score is not None]
        test = tests.get((one.rule, one.metric, one.method))
        mean = sum(scores) / len(scores) if scores else None
        tested = (test.mean_difference, test.p) if test else (None, None)
        found["own", one.rule, one.metric, one.method] = Found(mean, *tested)
    for row in at_points(finished, reference):
        key = (row.point, row.rule, row.metric, row.method)
        found[key] = Found(row.mean, row.mean_difference, row.p)
    return found


def print_means(finished: Sequence[Finished], reference: str) -> None:
    """Print a row for each method."""
    found = find(finished, reference)
    columns = [(at, *score) for at, scores in _COLUMNS.items() for score in scores]
    heads = (f"{rule} {metric}, {_POINTS[at]} |" for at, rule, metric in columns)
    print("| method | trainings |", *heads)
    print("|---" * (2 + len(columns)) + "|")
    for method, trainings in Counter(one.cell.method for one in finished).items():
        shown = (f"{_shown(found.get((*column, method)))} |" for column in columns)
        print(f"| {method} | {trainings} |", *shown)


def print_each(finished: Sequence[Finished], reference: str) -> None:
    """Print the reference, and how far each training is above it."""
    seeds = sorted({one.cell.seed for one in finished})
    by_seed = [
        find([one for one in finished if one.cell.seed == seed], reference) for seed in seeds
    ]
    print("| method | score |", *(f"{number} |" for number, _ in enumerate(seeds, 1)))
    print("|---" * (2 + len(seeds)) + "|")
    for method in dict.fromkeys([reference, *(one.cell.method for one in finished)]):
        for at, scores in _COLUMNS.items():
            for rule, metric in scores:
                rows = (found.get((at, rule, metric, method)) for found in by_seed)
                shown = (_of_seed(row, method == reference) for row in rows)
                print(f"| {method} | {rule} {metric}, {_POINTS[at]} |", " | ".join(shown), "|")


def _of_seed(found: Found | None, is_reference: bool) -> str:
    figure = found and (found.mean if is_reference else found.difference)
    if figure is None:
        return "–"
    return f"{figure:.3f}" if is_reference else f"{figure:+.3f}"


def _shown(found: Found | None) -> str:
    if found is None or found.mean is None:
        return "–"
    if found.difference is None or found.p is None:
        return f"{found.mean:.3f}"
    p = f"p {found.p:.3f}" if found.p >= _SMALLEST_P else f"p < {_SMALLEST_P}"
    return f"{found.mean:.3f} ({found.difference:+.3f}, {p})"


if __name__ == "__main__":
    main()
