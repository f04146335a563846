"""The published comparison: its tables come of the scores that lie in the repository."""

import re
import tarfile
from pathlib import Path

import pytest

from datagen.files import read_table

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT / "benchmarks/compared.tar.xz"
SCORES = (("overlap", "f1"), ("msseg2", "f1"), ("voxel-wise", "dice"))
POINTS = ("usual", "best")


@pytest.fixture(scope="module")
def tables(tmp_path_factory, run) -> Path:
    """The tables of the archive's trainings, made as the documentation says."""
    out = tmp_path_factory.mktemp("published")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(out, filter="data")
    options = ["--config", "compare", "--out", out, "--finished", "--seeds", "0"]
    run("segnet", "compare", *options, "--resamples", "100")
    return out


def documented() -> dict[str, list[str]]:
    """Scores in the table of every loss, by the name of the method."""
    text = (ROOT / "docs/comparing.md").read_text(encoding="utf-8")
    section = text.split("## Every loss")[1].split("\n## ")[0]
    rows = (line.strip("| ").split(" | ") for line in section.splitlines() if "| 0." in line)
    return {row[0]: [re.sub(r"[*]| \(.*", "", cell) for cell in row[1:6]] for row in rows}


def test_the_documented_scores_are_those_of_the_trainings(tables):
    means = {
        (row["method"], row["rule"], row["metric"]): row["mean"]
        for row in read_table(tables / "aggregate.csv")
    }
    at_points = {
        (row["method"], row["rule"], row["point"]): float(row["mean"])
        for row in read_table(tables / "points.csv")
        if row["metric"] == "f1"
    }
    shown = documented()
    assert len(shown) == len({method for method, *_ in means})
    for method, scores in shown.items():
        own = [f"{float(means[method, *score]):.3f}" for score in SCORES]
        others = [
            ", ".join(f"{at_points[method, rule, point]:.3f}" for point in POINTS)
            for rule, metric in SCORES
            if metric == "f1"
        ]
        assert scores == [*own, *others], method


def test_no_path_of_a_machine_is_in_the_archive(tables):
    files = [path for path in (tables / "cells").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert not re.search(r'(^|[",])/', path.read_text(encoding="utf-8"), re.MULTILINE), path
