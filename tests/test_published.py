"""The published comparison: its figures come of the scores that lie in the repository."""

import re
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.repeated import main, read_finished, together
from segnet.comparison.froc import found_at
from segnet.comparison.gathering import Finished, over_seeds, values_by_seed
from segnet.comparison.points import at_points
from segnet.comparison.tabulation import method_costs, papers_sheet, seed_means
from segnet.evaluation.summaries import summarise
from segnet.tables import as_markdown

ROOT = Path(__file__).resolve().parents[1]
ARCHIVES = {name: ROOT / f"benchmarks/{name}.tar.xz" for name in ("compared", "compared_again")}
SCORES = (("overlap", "f1"), ("msseg2", "f1"), ("voxel-wise", "dice"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> dict[str, Path]:
    """The scores of the trainings of each archive, unpacked."""
    out = {name: tmp_path_factory.mktemp(name) for name in ARCHIVES}
    for name, path in ARCHIVES.items():
        with tarfile.open(path) as archive:
            archive.extractall(out[name], filter="data")
    return out


@pytest.fixture(scope="module")
def finished(unpacked) -> list[Finished]:
    """The trainings that `segnet compare --config compare --finished` tabulates."""
    return read_finished(unpacked["compared"])


@pytest.fixture(scope="module")
def again(unpacked) -> list[Finished]:
    """Those that were trained again on another machine, and those of that machine alone."""
    return read_finished(unpacked["compared_again"])


def of_seeds(finished: list[Finished], *seeds: int) -> list[Finished]:
    """The trainings of these seeds; baselines have the first alone."""
    return [one for one in finished if one.cell.seed in seeds]


def documented(page: str, heading: str) -> dict[str, list[str]]:
    """Scores in the table below a heading, by the name of the method."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = (line.strip("| ").split(" | ") for line in section.splitlines() if "| 0." in line)
    return {row[0]: [re.sub(r"[*]| \(.*", "", cell) for cell in row[1:6]] for row in rows}


def assert_same_scores(shown: dict[str, list[str]], finished: list[Finished]) -> None:
    rows = seed_means(values_by_seed(finished))
    points = at_points(finished, "Dice")
    at = {(row.method, row.rule, row.metric, row.point): row.mean for row in points}
    for method, scores in shown.items():
        means = [
            [row.mean for row in rows if (row.method, row.rule, row.metric) == (method, *score)]
            for score in SCORES
        ]
        own = [f"{sum(of_seed) / len(of_seed):.3f}" for of_seed in means]
        others = [
            ", ".join(f"{at[method, *score, point]:.3f}" for point in ("usual", "best"))
            for score in SCORES
            if score[1] == "f1"
        ]
        assert scores == [*own, *others], method


def test_the_papers_table_is_that_of_the_trainings(finished):
    shown = documented("README.md", "What it adds to Dice")
    finished = [one for one in finished if one.cell.method in shown]
    patients = {case: name for one in finished for case, name in one.patients.items()}
    values = over_seeds(values_by_seed(finished).values())
    summaries = [summarise(one, patients, resamples=1, seed=0) for one in values]
    table = as_markdown(papers_sheet(summaries, method_costs(finished)))
    assert table in (ROOT / "docs/papers_table.md").read_text(encoding="utf-8")


def test_the_scores_by_weight_are_those_of_the_trainings(finished):
    shown = documented("docs/comparing.md", "The weight of the learned term")
    names = {"0": "Dice", "component-exact": "component-exact"}
    by_name = {
        names.get(first := name.split(",")[0], f"Dice + {first} (1 - F̂)"): scores
        for name, scores in shown.items()
    }
    finished = [one for one in of_seeds(finished, 0) if one.cell.method in by_name]
    assert len(finished) == len(shown) == 10
    assert_same_scores(by_name, finished)


def test_the_scores_of_every_loss_are_those_of_the_trainings(finished):
    shown = documented("README.md", "What it adds to Dice")
    finished = [one for one in finished if one.cell.method in shown]
    runs = Counter(one.cell.method for one in finished)
    assert len(runs) == len(shown) == 16
    assert {name for name, count in runs.items() if count < 3} == {
        "growing",
        "subtraction",
        "Dice + 0.2 (1 - F̂), published F̂",
    }
    assert_same_scores(shown, finished)


@pytest.mark.parametrize(
    ("page", "heading", "seeds", "methods"),
    [
        ("docs/estimator.md", "At one half", (0, 1, 2), 5),
        ("docs/comparing.md", "Twice the steps", (0,), 4),
        ("docs/comparing.md", "A heavier rival", (0, 1, 2), 4),
        ("docs/comparing.md", "Dice last", (0,), 4),
    ],
)
def test_the_scores_of_the_second_machine_are_those_of_the_trainings(
    again, page, heading, seeds, methods
):
    shown = documented(page, heading)
    again = [one for one in of_seeds(again, *seeds) if one.cell.method in shown]
    assert len(shown) == methods
    assert len(again) == len(seeds) * methods
    assert_same_scores(shown, again)


def test_the_scores_over_both_machines_are_those_of_the_trainings(finished, again):
    shown = documented("docs/comparing.md", "Trained again")
    everything = together([finished, again])
    everything = [one for one in everything if one.cell.method in shown]
    assert len(everything) == 6 * len(shown) == 18
    assert_same_scores(shown, everything)


def test_what_is_found_at_the_same_number_of_false_lesions_is_that_of_the_trainings(finished):
    text = (ROOT / "docs/comparing.md").read_text(encoding="utf-8")
    section = text.split("## At the same number of false lesions\n")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if "| 0." in line]
    known = {
        (row.method, row.rule, row.false_lesions_per_patient): row for row in found_at(finished)
    }
    columns = [
        ("overlap", 2.0),
        ("overlap", 3.0),
        ("overlap", 4.0),
        ("msseg2", 3.0),
        ("msseg2", 4.0),
    ]
    assert len(lines) == 6
    for method, *shares in lines:
        rows = [known[method, *column] for column in columns]
        assert {row.seeds for row in rows} == {3}
        shown = [
            f"{row.ltpr:.3f} ({row.lowest:.3f} to {row.highest:.3f})" if row.ltpr else "–"
            for row in rows
        ]
        assert [share.replace("*", "") for share in shares] == shown, method


@pytest.mark.parametrize("name", ARCHIVES)
def test_no_path_of_a_machine_is_in_an_archive(unpacked, name):
    files = [path for path in (unpacked[name] / "cells").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert not re.search(r'(^|[",])/', path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_both_machines_are_tabulated_as_the_page_says(unpacked):
    folders = [word for folder in unpacked.values() for word in ("--compared", str(folder))]
    methods = ["--method", "component-exact", "--method", "Dice + 3 (1 - F)"]
    said = CliRunner().invoke(main, [*folders, *methods])
    assert said.exit_code == 0
    last = said.output.split("\nall: 18 trainings\n")[1]
    page = documented("docs/comparing.md", "Trained again")
    for method, scores in page.items():
        row = next(line for line in last.splitlines() if line.startswith(f"| {method} |"))
        assert row.split(" | ")[1] == "6"
        assert [cell.split()[0] for cell in row.split(" | ")[2:5]] == scores[:3]
    printed = gains(last.split("of its seed and machine\n")[1])
    assert len(printed) == 16
    shown = gains((ROOT / "docs/comparing.md").read_text(encoding="utf-8"))
    assert len(shown) == 7
    assert all(row in printed for row in shown)


def gains(text: str) -> list[list[str]]:
    """Rows of six differences from Dice in a text, each by its numbers."""
    rows = (re.findall(r"(?<=\| )[+-]0\.\d{3}(?= \|)", line) for line in text.splitlines())
    return [row for row in rows if len(row) == 6]


def test_a_folder_without_trainings_is_refused(tmp_path):
    said = CliRunner().invoke(main, ["--compared", str(tmp_path), "--method", "Dice-CE"])
    assert said.exit_code == 2
    assert "holds no finished training" in said.output
    assert "Traceback" not in said.output
