"""A killed command, resumed, ends where an unbroken one ends."""

import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from metricnet import runs

PATIENCE_SECONDS = 120


def kill_once(process: BaseProcess, is_time) -> None:
    """Kill the whole group as soon as `is_time()`; fail where the command ends before."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_time():
        assert process.is_alive(), "the command ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


def finish(process: BaseProcess) -> None:
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / runs.LAST, weights_only=True)["state_dict"]


def assert_same_weights(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def epochs_done(folder: Path, count: int) -> bool:
    """Tell whether the checkpoint of an epoch is there, while the next one is on its way."""
    history = folder / runs.HISTORY
    is_written = history.is_file() and history.read_text().count("\n") > count
    return is_written and (folder / runs.LAST).is_file()


def test_a_killed_estimator_training_resumes_to_the_same_bits(tiny_pairs, tmp_path, start):
    options = ["--pairs", tiny_pairs, "--epochs", "4", "--steps-per-epoch", "4", "--batch", "2"]
    options += ["--seed", "3"]
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    process = start("metricnet", "train", *options, "--out", broken)
    kill_once(process, lambda: epochs_done(broken, 1))
    finish(start("metricnet", "train", *options, "--out", broken, "--resume"))
    finish(start("metricnet", "train", *options, "--out", whole))
    assert_same_weights(broken, whole)
    for name in (runs.HISTORY, "estimator.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_a_killed_network_training_resumes_to_the_same_bits(
    tiny_cohort, tiny_estimator, tmp_path, start
):
    options = ["--cohort", tiny_cohort, "--estimator", tiny_estimator, "--patch", "32"]
    options += ["--epochs", "4", "--steps-per-epoch", "5", "--batch", "2", "--channels", "8"]
    options += ["--alpha-warmup-epochs", "1"]
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    process = start("segnet", "train", *options, "--out", broken)
    kill_once(process, lambda: epochs_done(broken, 1))
    finish(start("segnet", "train", *options, "--out", broken, "--resume"))
    finish(start("segnet", "train", *options, "--out", whole))
    assert_same_weights(broken, whole)
    assert (broken / runs.HISTORY).read_bytes() == (whole / runs.HISTORY).read_bytes()
