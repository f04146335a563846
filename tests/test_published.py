"""The published comparison: its figures come of the scores that lie in the repository."""

import re
import tarfile
from pathlib import Path

import pytest

from datagen.config import resolve
from segnet.comparison.cells import read_cost
from segnet.comparison.gathering import Finished, over_seeds, read_cell, values_by_seed
from segnet.comparison.plan import list_cells
from segnet.comparison.points import at_points
from segnet.comparison.settings import SECTION, CompareSettings
from segnet.comparison.tabulation import method_costs, papers_sheet, seed_means
from segnet.evaluation.summaries import summarise
from segnet.tables import as_markdown

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT / "benchmarks/compared.tar.xz"
SCORES = (("overlap", "f1"), ("msseg2", "f1"), ("voxel-wise", "dice"))


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """The scores of the archive's trainings, unpacked."""
    out = tmp_path_factory.mktemp("published")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(out, filter="data")
    return out


@pytest.fixture(scope="module")
def finished(published) -> list[Finished]:
    """The trainings that `segnet compare --config compare --finished --seeds 0` tabulates."""
    settings = resolve(CompareSettings, SECTION, "compare", {"out": published, "seeds": (0,)})
    costs = {cell: read_cost(settings, cell) for cell in list_cells(settings)}
    return [read_cell(cell, cost, published) for cell, cost in costs.items() if cost]


def documented() -> dict[str, list[str]]:
    """Scores in the table of every loss, by the name of the method."""
    text = (ROOT / "docs/comparing.md").read_text(encoding="utf-8")
    section = text.split("## Every loss")[1].split("\n## ")[0]
    rows = (line.strip("| ").split(" | ") for line in section.splitlines() if "| 0." in line)
    return {row[0]: [re.sub(r"[*]| \(.*", "", cell) for cell in row[1:6]] for row in rows}


def test_the_papers_table_is_that_of_the_trainings(finished):
    patients = {case: name for one in finished for case, name in one.patients.items()}
    values = over_seeds(values_by_seed(finished).values())
    summaries = [summarise(one, patients, resamples=1, seed=0) for one in values]
    table = as_markdown(papers_sheet(summaries, method_costs(finished)))
    assert table in (ROOT / "docs/papers_table.md").read_text(encoding="utf-8")


def test_the_documented_scores_are_those_of_the_trainings(finished):
    means = {
        (row.method, row.rule, row.metric): row.mean for row in seed_means(values_by_seed(finished))
    }
    points = at_points(finished, "Dice")
    at = {(row.method, row.rule, row.metric, row.point): row.mean for row in points}
    shown = documented()
    assert set(shown) == {one.cell.method for one in finished}
    for method, scores in shown.items():
        own = [f"{means[method, *score]:.3f}" for score in SCORES]
        others = [
            ", ".join(f"{at[method, *score, point]:.3f}" for point in ("usual", "best"))
            for score in SCORES
            if score[1] == "f1"
        ]
        assert scores == [*own, *others], method


def test_no_path_of_a_machine_is_in_the_archive(published):
    files = [path for path in (published / "cells").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert not re.search(r'(^|[",])/', path.read_text(encoding="utf-8"), re.MULTILINE), path
