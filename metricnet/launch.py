"""How a training was launched: alone, as one of several processes, or by SLURM."""

import os
import signal
import subprocess
from typing import Any

import click
import pytorch_lightning as lightning
import torch
from joblib import cpu_count
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment

from datagen.errors import InputError
from datagen.wording import counted


def rank() -> int:
    """Number of this process among those of the training; 0 writes the run folder."""
    for name in ("RANK", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return int(os.environ.get("SLURM_PROCID", 0)) if SLURMEnvironment.detect() else 0


def layout(devices: int) -> tuple[int, int]:
    """Processes per machine, and machines, as torchrun or srun started them; else `devices`, 1.

    Raises InputError where SLURM does not tell how many there are on each machine.
    """
    if torch.distributed.is_torchelastic_launched():
        here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return here, all_of_them // here
    all_of_them = int(os.environ.get("SLURM_NTASKS", 1)) if SLURMEnvironment.detect() else 1
    if all_of_them == 1:
        return devices, 1
    per_machine = os.environ.get("SLURM_NTASKS_PER_NODE")
    if per_machine is None:
        raise InputError(
            f"SLURM starts {all_of_them} tasks, but on how many machines? Ask for them with "
            "--ntasks-per-node instead of --ntasks"
        )
    return int(per_machine), all_of_them // int(per_machine)


def leave_tasks() -> None:
    """Make this process a training of its own, however many tasks its SLURM job has."""
    for name in [name for name in os.environ if name.startswith(("SLURM_NTASKS", "SLURM_PROCID"))]:
        del os.environ[name]


def share_of_batch(batch: int, devices: int) -> int:
    """Patches of a step for each process.

    Raises InputError where they cannot be dealt out evenly, or there are fewer GPUs than processes.
    """
    here, machines = layout(devices)
    processes = here * machines
    there = torch.cuda.device_count() if torch.cuda.is_available() else here
    if here > there:
        raise InputError(
            f"{here} processes on this machine: each needs a GPU, and each sees "
            f"{counted(there, 'GPU')}; give --devices {there}, or under SLURM let each task see "
            "all of its machine's, by --gres and not by --gpus-per-task"
        )
    if batch % processes:
        raise InputError(
            f"--batch {batch} cannot be dealt to {processes} processes; give a multiple of it"
        )
    return batch // processes


def drawing_processes(asked: int | None, devices: int) -> int:
    """Processes that draw the samples of each training process: as asked, else none without a GPU.

    Beside a GPU it is one for each of its cores but one, 8 at most.
    """
    if asked is not None:
        return asked
    if not torch.cuda.is_available():
        return 0
    here, _ = layout(devices)
    # SLURM may bind each task to its own cores, which are all that it sees
    of_task = int(os.environ.get("SLURM_CPUS_PER_TASK", 0)) if here > 1 else 0
    cores: int = min(cpu_count(), of_task) if of_task else cpu_count() // here
    return min(max(cores - 1, 0), 8)


def is_requeued() -> bool:
    """Tell whether SLURM starts this job anew after it was requeued."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def cluster_plugins() -> list[Any]:
    """Keep the trainer from its own requeueing: it would save and resume amid an epoch.

    A job of one task has as many processes as devices; the trainer starts them, not SLURM.
    """
    if torch.distributed.is_torchelastic_launched() or not SLURMEnvironment.detect():
        return []
    if os.environ["SLURM_NTASKS"] == "1":
        return [LightningEnvironment()]
    return [SLURMEnvironment(auto_requeue=False)]


class Requeue(Callback):
    """Asks SLURM to requeue the job when it announces its end by SIGUSR1.

    The last checkpoint is that of the last full epoch, from which the restarted job goes on. The
    first process asks; the others, and those that load patches for it, get the signal as well.
    """

    def on_fit_start(self, trainer: lightning.Trainer, *_: object) -> None:
        """Listen for the signal where this is a process of a job."""
        job = os.environ.get("SLURM_JOB_ID")
        if job and trainer.is_global_zero:
            first = os.getpid()
            signal.signal(
                signal.SIGUSR1, lambda *_: _requeue(job) if os.getpid() == first else None
            )
        elif job:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _requeue(job: str) -> None:
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    name = f"{array}_{task}" if array and task else job
    click.echo(f"requeueing job {name}; it goes on after its last full epoch", err=True)
    subprocess.run(["scontrol", "requeue", name], check=False)
