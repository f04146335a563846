"""Processes and machines as torchrun and SLURM announce them."""

import multiprocessing
import os
import signal

import pytest
import pytorch_lightning as lightning

from datagen.errors import InputError
from metricnet import launch

NAMES = (
    "RANK",
    "LOCAL_RANK",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_CPUS_PER_TASK",
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
)


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def launched_by_torchrun(monkeypatch, rank="3"):
    values = {"RANK": rank, "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_alone_a_process_is_the_first_and_has_the_devices_that_it_asks_for():
    assert (launch.rank(), launch.layout(3), launch.is_requeued()) == (0, (3, 1), False)


def test_beside_a_gpu_patches_are_drawn_by_the_other_cores(monkeypatch):
    monkeypatch.setattr(launch, "cpu_count", lambda: 6)
    monkeypatch.setattr(launch.torch.cuda, "is_available", lambda: False)
    assert [launch.drawing_processes(asked, 1) for asked in (None, 0, 3)] == [0, 0, 3]
    monkeypatch.setattr(launch.torch.cuda, "is_available", lambda: True)
    assert [launch.drawing_processes(asked, 1) for asked in (None, 0, 3)] == [5, 0, 3]
    assert [launch.drawing_processes(None, devices) for devices in (2, 6)] == [2, 0]
    monkeypatch.setattr(launch, "cpu_count", lambda: 64)
    assert launch.drawing_processes(None, 2) == 8


def test_a_task_that_slurm_gives_cores_of_its_own_draws_by_all_of_them(monkeypatch):
    monkeypatch.setattr(launch.torch.cuda, "is_available", lambda: True)
    for name, value in {"NTASKS": "4", "NTASKS_PER_NODE": "4", "CPUS_PER_TASK": "6"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    for seen in (6, 24):  # bound to its own cores, and not
        monkeypatch.setattr(launch, "cpu_count", lambda seen=seen: seen)
        assert launch.drawing_processes(None, 1) == 5


def test_torchrun_decides_over_processes_and_machines(monkeypatch):
    launched_by_torchrun(monkeypatch)
    assert (launch.rank(), launch.layout(1)) == (3, (2, 2))
    assert launch.share_of_batch(8, 1) == 2
    assert launch.cluster_plugins() == []


def test_a_batch_that_cannot_be_dealt_out_is_refused(monkeypatch):
    launched_by_torchrun(monkeypatch)
    with pytest.raises(InputError, match="--batch 6 cannot be dealt to 4 processes"):
        launch.share_of_batch(6, 1)


def test_more_devices_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert launch.share_of_batch(4, 1) == 4
    with pytest.raises(InputError, match="each needs a GPU, and each sees 1 GPU; give --devices 1"):
        launch.share_of_batch(4, 2)


def test_a_training_may_leave_the_tasks_of_its_job(monkeypatch):
    for name, value in {"NTASKS": "4", "PROCID": "1", "NTASKS_PER_NODE": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    launch.leave_tasks()
    assert (launch.rank(), launch.layout(1), launch.cluster_plugins()) == (0, (1, 1), [])


def test_slurm_decides_over_the_tasks_of_a_job(monkeypatch):
    for name, value in {"NTASKS": "4", "PROCID": "1", "NTASKS_PER_NODE": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert (launch.rank(), launch.layout(1)) == (1, (2, 2))
    (plugin,) = launch.cluster_plugins()
    assert not plugin.auto_requeue


def test_a_job_of_one_task_starts_a_process_for_each_device(monkeypatch):
    for name, value in {"NTASKS": "1", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert launch.layout(2) == (2, 1)
    (plugin,) = launch.cluster_plugins()
    assert not plugin.creates_processes_externally


def test_tasks_on_nobody_knows_how_many_machines_are_refused(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(InputError, match="--ntasks-per-node"):
        launch.layout(1)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What scontrol is asked in a job of SLURM; the signal's handler is put back."""
    path = tmp_path / "asked"
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {path}\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    before = signal.getsignal(signal.SIGUSR1)
    yield path
    signal.signal(signal.SIGUSR1, before)


def listen(rank, monkeypatch):
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    monkeypatch.setattr(lightning.Trainer, "is_global_zero", rank == 0)
    launch.Requeue().on_fit_start(trainer)


@pytest.mark.parametrize(("array", "name"), [({}, "77"), ({"JOB": "70", "TASK": "4"}, "70_4")])
def test_the_announced_end_of_a_job_requeues_it(array, name, monkeypatch, asked):
    for part, value in array.items():
        monkeypatch.setenv(f"SLURM_ARRAY_{part}_ID", value)
    listen(0, monkeypatch)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert asked.read_text().split() == ["requeue", name]


def test_the_other_processes_of_a_job_outlive_its_announced_end(asked, monkeypatch):
    listen(1, monkeypatch)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert not asked.exists()


def test_a_process_that_loads_patches_asks_for_nothing(asked, monkeypatch):
    listen(0, monkeypatch)
    forked = multiprocessing.get_context("fork").Process(
        target=lambda: os.kill(os.getpid(), signal.SIGUSR1)
    )
    forked.start()
    forked.join()
    assert (forked.exitcode, asked.exists()) == (0, False)
