"""The folder of a comparison: commands that share it, and what it must not be."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from datagen.config import CONFIG, resolve
from datagen.errors import InputError
from datagen.files import read_table
from metricnet import runs
from segnet.comparison.cells import read_cost, run_cell
from segnet.comparison.gathering import read_cell, require_one_estimator
from segnet.comparison.plan import find_cell
from segnet.comparison.run import advice, commands, compare_methods, run_alone
from segnet.comparison.settings import SECTION, CompareSettings
from segnet.config import TrainSettings

BASELINES = {"nothing": {"baseline": "empty"}, "difference": {"baseline": "subtraction"}}


@pytest.fixture
def cohort(tiny_cohort, tmp_path, run) -> Path:
    """The tiny cohort with two cases to test."""
    path = tmp_path / "cohort.csv"
    run("datagen", "cohort", tiny_cohort, "--out", path)
    head, *rows = path.read_text().splitlines()
    splits = ("train", "validation", "test", "test")
    dealt = [
        row.replace(",,case", f",{split},case") for row, split in zip(rows, splits, strict=True)
    ]
    path.write_text("\n".join([head, *dealt]))
    return path


@pytest.fixture
def settings_of(cohort, tmp_path):
    """Settings of a comparison in the folder out: settings_of(methods, method=("a",), ...)."""

    def build(methods, **changes) -> CompareSettings:
        known = {"cohort": cohort, "out": tmp_path / "out", "seeds": (0,), "resamples": 100}
        return CompareSettings.model_validate({**known, "methods": methods, **changes})

    return build


def test_a_printed_command_runs_after_a_call_for_another_method(settings_of, run):
    everything = settings_of(BASELINES)
    printed = commands(everything)
    only = settings_of(BASELINES, method=("nothing",))
    assert compare_methods(only).runs == 1
    run(*shlex.split(next(line for line in printed if "difference/0/0" in line)))
    assert commands(everything) == []
    kept = resolve(CompareSettings, SECTION, str(only.out / CONFIG), {})
    assert list(kept.methods) == ["nothing", "difference"]


def test_the_finished_are_tabulated_without_the_cohort_and_the_others_named(
    settings_of, cohort, run
):
    settings = settings_of(BASELINES, finished=True)
    with pytest.raises(InputError, match="holds no finished training; run the same without"):
        compare_methods(settings)
    run_cell(settings, "difference/0/0")
    commands(settings_of(BASELINES))  # writes the folder's settings
    cohort.unlink()
    compared = compare_methods(settings)
    assert (compared.runs, compared.failures) == (1, [])
    assert compared.remarks == ["not finished: nothing/0/0"]
    assert {row["method"] for row in read_table(settings.out / "cases.csv")} == {"difference"}
    assert not (settings.out / "cells/nothing").exists()
    printed = run(
        "segnet", "compare", "--config", settings.out / CONFIG, "--out", settings.out, "--finished"
    )
    assert "not finished: nothing/0/0" in printed
    with pytest.raises(ValueError, match="give cell or finished, not both"):
        settings_of(BASELINES, finished=True, cell="nothing/0/0")


def test_of_the_table_the_chosen_methods_stay_in_its_order(settings_of):
    methods = {**BASELINES, "dice": {"alpha": 0.0}}
    assert list(settings_of(methods, method=("dice", "nothing")).methods) == ["nothing", "dice"]
    with pytest.raises(ValueError, match="'dice' is none of the methods; add --method 'dice'"):
        settings_of(methods, method=("nothing",), reference="dice")
    one = settings_of(methods, method=("nothing",), reference="dice", print_commands=True)
    assert list(one.methods) == ["nothing"]


def test_a_method_whose_estimator_is_never_switched_on_is_told(settings_of):
    methods = {"dice": {"alpha": 0.0}, "late": {"alpha": 3.0}, "soon": {"alpha_warmup_epochs": 0}}
    told = advice(settings_of(methods, train={"epochs": 2}))
    assert len(told) == 1
    assert told[0].startswith("method 'late': --alpha-warmup-epochs 5 and --alpha-finish-share 0.3")
    assert not advice(settings_of(methods, train={"epochs": 2}, finished=True))


def test_a_job_of_several_tasks_prints_commands_of_one_process_each(settings_of, monkeypatch):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert len(commands(settings_of({"dice": {"alpha": 0.0, "batch": 2}}))) == 1


def test_a_cell_needs_no_other_method_to_be_usable(settings_of):
    methods = {**BASELINES, "odd": {"loss": "geodesic"}}
    assert find_cell(settings_of(methods), "nothing/0/0").method == "nothing"
    with pytest.raises(InputError, match="geodesic"):
        find_cell(settings_of(methods), "odd/0/0")


def test_a_finished_training_is_not_taken_for_one_of_changed_settings(settings_of, tiny_run):
    trained = runs.read_config(tiny_run, "segnet.train", TrainSettings).recorded()
    method = {
        key: value
        for key, value in trained.items()
        if key not in ("cohort", "seed", "validation_fraction")
    }
    settings = settings_of({"net": method})
    cell = find_cell(settings, "net/0/0")
    folder = cell.folder(settings.out)
    shutil.copytree(tiny_run, folder / "run")
    (folder / "training.json").write_text('{"seconds": 5.0, "started": null}')
    with pytest.raises(InputError, match=r"the cell was run with alpha = 3\.0, not 0\.0; give the"):
        run_cell(settings_of({"net": {**method, "alpha": 0.0}}), "net/0/0")
    assert not (folder / "predictions").exists()
    run_cell(settings, "net/0/0")
    assert json.loads((folder / "cell.json").read_text())["train_seconds"] == 5.0
    # nor do two seeds count as one method, between which the estimator was replaced
    finished = read_cell(cell, read_cost(settings, cell), settings.out)
    assert finished.estimator
    second = finished._replace(cell=cell._replace(seed=1))
    require_one_estimator([finished, second, second._replace(estimator=None)])
    with pytest.raises(InputError, match="net/0/1 was trained with another estimator than net/0/0"):
        require_one_estimator([finished, second._replace(estimator="another")])


@pytest.mark.parametrize("begin", [commands, compare_methods, lambda s: run_cell(s, "nothing/0/0")])
def test_the_folder_of_a_trained_run_is_refused_untouched(begin, settings_of):
    settings = settings_of(BASELINES)
    settings.out.mkdir()
    config = settings.out / CONFIG
    config.write_text("[segnet.train]\nalpha = 0.0\n")
    with pytest.raises(InputError, match="holds a run of 'segnet train'; choose another"):
        begin(settings)
    assert list(settings.out.iterdir()) == [config]
    assert config.read_text() == "[segnet.train]\nalpha = 0.0\n"


def test_a_training_that_is_killed_is_told_with_its_log(tmp_path, monkeypatch):
    # the end that a system out of memory makes
    (tmp_path / "sitecustomize.py").write_text("import os\nprint('epoch 3')\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = tmp_path / "log.txt"
    reason = run_alone(["compare"], str(tmp_path), str(log))
    assert reason == f"ended by SIGABRT, perhaps for lack of memory; its last words are in {log}"


def test_the_last_words_of_a_failed_command_are_its_reason(tmp_path):
    log = tmp_path / "log.txt"
    reason = run_alone(["compare", "--nothing"], str(tmp_path), str(log))
    assert "No such option" in reason
    assert reason in log.read_text()
