"""One training by two processes, by SLURM twice, from its own folder: the same as by one."""

import subprocess
import sys

import pytest
import torch

from datagen.files import read_table
from metricnet import runs

OF_MASKS = ("validation/", "train/exact_f1", "train/gap", "train/trust")
SHORT = ["--patch", "32", "--channels", "8", "--precision", "32", "--learning-rate", "0.003"]


def weights(folder):
    return torch.load(folder / runs.LAST, weights_only=True)["state_dict"]


def assert_same_weights(first, second):
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_processes_have_the_loss_curve_of_one(tiny_cohort, tiny_estimator, tmp_path, run):
    # a loss of Dice and of distance maps
    options = ["--cohort", tiny_cohort, "--estimator", tiny_estimator, "--loss", "surface", *SHORT]
    options += ["--epochs", "3", "--steps-per-epoch", "4", "--batch", "4"]
    # each process scores one of two validation cases
    options += ["--alpha-warmup-epochs", "1", "--validation-fraction", "0.5"]
    run("segnet", "train", *options, "--out", tmp_path / "one")
    script = tmp_path / "command.py"
    script.write_text("from segnet.cli import main\nmain()\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = [
        *torchrun,
        "--nproc-per-node",
        "2",
        script,
        "train",
        *options,
        "--out",
        tmp_path / "two",
    ]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best epoch") == 1
    assert done.stderr.count("epoch 1/3: ") == 1
    one, two = (read_table(tmp_path / name / "history.csv") for name in ("one", "two"))
    assert len(one) == len(two) == 3
    assert one[0].keys() == two[0].keys()
    for alone, shared in zip(one, two, strict=True):
        for name in alone:
            # where a loss moves by a rounding, a voxel crosses the threshold, and with it the score
            # of one patch of an epoch's sixteen, from 0 to 1 at most
            error = 1.5 / 16 if name.startswith(OF_MASKS) else 2e-3
            assert float(shared[name]) == pytest.approx(float(alone[name]), abs=error), name
    assert (tmp_path / "two/operating_point.json").is_file()


def test_a_run_is_repeated_to_the_same_bits_by_the_settings_in_its_folder(tiny_run, tmp_path, run):
    run("segnet", "train", "--config", tiny_run / "config.toml", "--out", tmp_path / "again")
    assert_same_weights(tiny_run, tmp_path / "again")
    for name in (runs.CONFIG, runs.HISTORY, "operating_point.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tiny_run / name).read_bytes()


def test_a_training_stops_where_it_gets_no_better_and_stays_stopped(tiny_cohort, tmp_path, run):
    options = ["--cohort", tiny_cohort, "--alpha", "0", "--out", tmp_path, *SHORT]
    options += ["--epochs", "9", "--steps-per-epoch", "1", "--batch", "1", "--patience", "2"]
    # a network that does not move scores the same in each epoch
    options += ["--learning-rate", "1e-12", "--schedule", "constant"]
    printed = run("segnet", "train", *options)
    assert "stopped after epoch 3 of 9\n" in printed
    assert len(runs.read_history(tmp_path)) == 3
    before = (tmp_path / runs.LAST).read_bytes()
    run("segnet", "train", *options, "--resume")
    assert len(runs.read_history(tmp_path)) == 3
    assert (tmp_path / runs.LAST).read_bytes() == before


def test_a_requeued_job_goes_on_by_the_same_command(tiny_cohort, tmp_path, start):
    def train(name: str, *more: str, **environment: str) -> None:
        process = start("segnet", "train", *options, "--out", tmp_path / name, *more, **environment)
        process.join()
        assert process.exitcode == 0

    options = ["--cohort", tiny_cohort, "--alpha", "0", *SHORT]
    options += ["--epochs", "3", "--steps-per-epoch", "2", "--batch", "2"]
    job = {
        "SLURM_JOB_ID": "77",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
    }
    # the first start is cut off after an epoch, by the time it is given
    train("job", "--max-minutes", "0.0001", **job)
    assert len(runs.read_history(tmp_path / "job")) == 1
    train("job", **job, SLURM_RESTART_COUNT="1")
    assert not list(tmp_path.rglob("hpc_ckpt*"))
    train("whole")
    assert len(runs.read_history(tmp_path / "job")) == 3
    assert_same_weights(tmp_path / "job", tmp_path / "whole")
