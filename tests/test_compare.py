"""The command that compares: once through, again, in pieces, after a kill, on a cluster."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from datagen.files import read_table
from metricnet import runs
from segnet.cli import main

distributed = pytest.importorskip("distributed")

TABLE = """
[segnet.compare]
seeds = [0, 1]
resamples = 100

[segnet.compare.train]
alpha = 0.0
epochs = 2
steps_per_epoch = 2
batch = 2
patch = 32
channels = 4
learning_rate = 0.003

[segnet.compare.methods.dice]
loss = "dice"

[segnet.compare.methods."subtraction (0.4)"]
baseline = "subtraction"
predict = { threshold = 0.4 }
"""


@pytest.fixture(scope="module")
def place(tiny_cohort, tmp_path_factory, run) -> Path:
    """A folder with a cohort of four splits, and the table of a comparison on it."""
    folder = tmp_path_factory.mktemp("compare")
    run("datagen", "cohort", tiny_cohort, "--out", folder / "cohort.csv")
    text = (folder / "cohort.csv").read_text().splitlines()
    splits = ("train", "validation", "test", "test")
    rows = [
        row.replace(",,case", f",{split},case") for row, split in zip(text[1:], splits, strict=True)
    ]
    (folder / "cohort.csv").write_text("\n".join([text[0], *rows]))
    (folder / "compare.toml").write_text(TABLE)
    return folder


def words(place: Path, out: str = "out", *more: object) -> list[object]:
    options = ["--config", place / "compare.toml", "--cohort", place / "cohort.csv"]
    return ["segnet", "compare", *options, "--out", place / out, *more]


@pytest.fixture(scope="module")
def compared(place, run) -> tuple[Path, str]:
    """The whole comparison, and what the command printed."""
    return place / "out", run(*words(place))


def files_below(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_every_case_of_every_cell_is_in_the_tables(compared):
    out, printed = compared
    rows = read_table(out / "cases.csv")
    cells = {(row["method"], row["fold"], row["seed"]) for row in rows}
    assert cells == {("dice", "0", "0"), ("dice", "0", "1"), ("subtraction (0.4)", "0", "0")}
    assert len(rows) == len(cells) * 2 * 2  # test cases and rules
    assert {row["case"] for row in rows} == {"case2", "case3"}
    assert "compared 2 methods by 3 runs, 0 failed" in printed
    assert read_table(out / "failures.csv") == []


def test_the_papers_table_has_a_row_for_every_method(compared):
    for name in ("table.md", "table.tex"):
        text = (compared[0] / name).read_text()
        for head in ("DSC", "LPPV msseg2", "LTPR overlap", "L-F1 overlap", "HD95 (mm)", "ASD (mm)"):
            assert head in text
        assert "subtraction (0.4)" in text
        assert "Against dice" in text
        assert "L-F1 msseg2 at 0.5" in text
        assert "at so many false lesions per patient" in text
    tests = read_table(compared[0] / "against.csv")
    assert {(row["first"], row["second"]) for row in tests} == {("subtraction (0.4)", "dice")}


def test_pictures_curves_and_costs_are_there(compared):
    out = compared[0]
    for name in ("methods.png", "front.png", "thresholds.png", "froc.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    points = read_table(out / "thresholds.csv")
    assert {row["method"] for row in points} == {"dice", "subtraction (0.4)"}
    points = read_table(out / "points.csv")
    assert {row["method"] for row in points} == {"dice", "subtraction (0.4)"}
    assert {row["point"] for row in points} == {"usual", "best"}
    for name in ("froc.csv", "found.csv"):
        assert {row["method"] for row in read_table(out / name)} == {"dice", "subtraction (0.4)"}
    costs = {row["method"]: row for row in read_table(out / "costs.csv")}
    assert costs["dice"]["runs"] == "2"
    assert float(costs["dice"]["epochs"]) == 2
    assert float(costs["dice"]["train_seconds"]) > 0
    assert float(costs["subtraction (0.4)"]["train_seconds"]) == 0
    assert 0.1 < float(costs["dice"]["memory_gib"]) < 8
    cells = read_table(out / "cells.csv")
    assert len(cells) == 3
    assert all((row["validation_f1"] != "") == (row["method"] == "dice") for row in cells)


def test_a_method_predicts_with_its_own_settings_and_a_network_with_its_own_point(compared):
    out = compared[0]
    done = json.loads((out / "cells/subtraction (0.4)/fold0_seed0/cell.json").read_text())
    assert done["settings"]["predict.threshold"] == 0.4
    assert (out / "cells/dice/fold0_seed1/run/operating_point.json").is_file()


def test_a_finished_comparison_is_tabulated_again_without_a_training(compared, place, run):
    before = files_below(compared[0] / "cells")
    run(*words(place))
    assert files_below(compared[0] / "cells") == before
    assert run(*words(place, "out", "--print-commands")) == ""


def test_a_method_may_be_added_but_not_changed(compared, place, run):
    changed = place / "changed.toml"
    changed.write_text(TABLE.replace('loss = "dice"', 'loss = "sog"'))
    before = files_below(compared[0])
    command = [*words(place)[1:], "--config", changed]
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 2
    assert "run with loss = dice, not sog" in result.stderr
    assert files_below(compared[0]) == before


def test_the_printed_commands_fill_the_table_one_by_one(compared, place, run):
    few = ["--seeds", "1"]
    printed = run(*words(place, "pieces", "--print-commands", *few)).splitlines()
    assert len(printed) == 2
    line = next(line for line in printed if "subtraction" in line)
    run(*shlex.split(line))
    left = run(*words(place, "pieces", "--print-commands", *few)).splitlines()
    assert left == [other for other in printed if other != line]
    # another call with another seed, meanwhile, is none of theirs
    run(*words(place, "pieces", "--print-commands", "--seeds", "0"))
    line = next(line for line in printed if "dice/0/1" in line)
    # begun, and stopped after its first epoch: the cell goes on from there
    cell = place / "pieces/cells/dice/fold0_seed1"
    settings = TABLE.split("[segnet.compare.train]")[1].split("[segnet.compare.methods")[0]
    (place / "half.toml").write_text(f'[segnet.train]\nloss = "dice"\n{settings}')
    moved = shutil.copy(place / "pieces/folds/fold0.csv", place / "moved.csv")
    half = ["--config", place / "half.toml", "--cohort", moved]
    half += ["--seed", "1", "--out", cell / "run", "--max-minutes", "0.00001"]
    run("segnet", "train", *half)
    (cell / "training.json").write_text('{"seconds": 100.0, "started": 1.0}')
    assert len(runs.read_history(cell / "run")) == 1
    run(*shlex.split(line))
    assert len(runs.read_history(cell / "run")) == 2
    assert json.loads((cell / "cell.json").read_text())["train_seconds"] > 100
    whole = compared[0] / "cells/dice/fold0_seed1/run"
    for name in (runs.HISTORY, "operating_point.json"):
        assert (cell / "run" / name).read_bytes() == (whole / name).read_bytes()


def test_a_cell_without_its_cohort_leaves_nothing_behind(place):
    command = [*words(place, "missing", "--cell", "dice/0/0")[1:], "--cohort", place / "nowhere"]
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 2
    assert "nowhere does not exist" in result.stderr
    assert not (place / "missing").exists()


def test_a_table_of_some_of_the_methods_needs_no_others(place, run):
    name = "subtraction (0.4)"
    # a cell may come first of all, in a folder where nothing was prepared
    run(*words(place, "part", "--cell", f"{name}/0/0"))
    assert (place / f"part/cells/{name}/fold0_seed0/cell.json").is_file()
    refused = CliRunner().invoke(main, [str(word) for word in words(place)[1:]] + ["--method", "x"])
    assert refused.exit_code == 2
    assert "method 'x' is not in the table; it has dice, subtraction (0.4)" in refused.output
    printed = run(*words(place, "part"), "--method", name)
    assert "compared 1 method by 1 run, 0 failed" in printed
    (cell,) = read_table(place / "part/cells.csv")
    assert (cell["method"], cell["validation_f1"]) == (name, "")


def test_a_cell_that_fails_is_told_and_the_others_are_compared(place):
    broken = place / "broken.toml"
    text = TABLE.replace('loss = "dice"', 'loss = "dice"\nlearning_rate = 1e30')
    broken.write_text(text.replace("[0, 1]", "[0]").split('[segnet.compare.methods."')[0])
    with broken.open("a") as stream:
        stream.write('[segnet.compare.methods.nothing]\nbaseline = "empty"\n')
    command = [*words(place, "broken")[1:], "--config", broken]
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 3, result.output
    assert "dice/0/0: " in result.stderr
    assert "lower --learning-rate" in result.stderr
    assert "compared 1 method by 1 run, 1 failed" in result.stdout
    (failure,) = read_table(place / "broken/failures.csv")
    assert failure["cell"] == "dice/0/0"


def test_the_worker_of_a_cluster_fills_the_table(place, tmp_path, run):
    table = tmp_path / "compare.toml"
    table.write_text(
        "[segnet.compare]\nseeds = [3]\nresamples = 100\n"
        '[segnet.compare.methods.nothing]\nbaseline = "empty"\n'
    )
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        options = ["--config", table, "--cohort", place / "cohort.csv"]
        options += ["--cluster", cluster.scheduler_address, "--out", tmp_path / "out"]
        printed = run("segnet", "compare", *options)
    assert "compared 1 method by 1 run, 0 failed" in printed
    assert len(read_table(tmp_path / "out/cases.csv")) == 2 * 2
