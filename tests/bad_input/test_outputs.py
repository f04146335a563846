"""Places where nothing can be written, and files that must not be lost."""

import os
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

VISITS = "--time1 one/time1.nii.gz --time2 one/time2.nii.gz"
FILES = {
    "cohort": ("datagen cohort cohort --out", ".csv"),
    "build": ("datagen build --masks cohort --out", ".h5"),
    "predict": (f"segnet predict --baseline subtraction {VISITS} --out", ".nii.gz"),
    "report": ("segnet report run --scores scores --out", ".html"),
}
FOLDERS = {
    "phantom": "datagen phantom --cases 3 --out",
    "inspect": "datagen inspect pairs.h5 --out",
    "measure": "metricnet evaluate --estimator estimator.safetensors --pairs pairs.h5 --out",
    "fit": "metricnet train --pairs pairs.h5 --out",
    "train": "segnet train --cohort cohort --alpha 0 --out",
    "predict": "segnet predict --baseline empty --cohort cohort --out",
    "evaluate": "segnet evaluate --truth cohort --prediction predictions --out",
}


@pytest.mark.parametrize("name", FILES)
def test_a_folder_is_refused_where_a_file_is_written(name, refuses):
    command, suffix = FILES[name]
    Path(f"taken{suffix}").mkdir()
    refuses(f"{command} taken{suffix}", f"taken{suffix} is a folder")


@pytest.mark.parametrize("name", ["build", "predict"])
def test_a_file_below_a_file_is_refused(name, refuses):
    command, suffix = FILES[name]
    refuses(f"{command} pairs.h5/new{suffix}", "pairs.h5 is not a folder")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_is_refused_where_a_folder_is_written(name, refuses):
    refuses(f"{FOLDERS[name]} pairs.h5", "pairs.h5")


@pytest.mark.parametrize("command", [FOLDERS["train"], FILES["cohort"][0]])
def test_a_folder_that_cannot_be_made_is_refused(command, refuses):
    refuses(f"{command} /proc/new/list.csv", "/proc/new")


@pytest.mark.parametrize("name", ["cohort", "build"])
def test_a_name_that_is_too_long_is_refused_as_the_machine_says_it(name, refuses):
    command, suffix = FILES[name]
    refuses(f"{command} {'n' * 300}{suffix}", "n" * 300, "too long", code=1)


def test_predict_refuses_a_mask_that_is_no_nifti(refuses):
    refuses(f"segnet predict --baseline empty {VISITS} --out new.txt", "new.txt", ".nii.gz")


def test_predict_refuses_to_write_over_its_own_scan(refuses):
    out = "one/../one/time2.nii.gz"
    refuses(f"segnet predict --baseline empty {VISITS} --out {out}", out, "overwrite")


def test_phantom_refuses_a_folder_that_holds_a_cohort(refuses):
    Path("taken").mkdir()
    Path("taken/cohort.csv").touch()
    refuses("datagen phantom --cases 3 --out taken", "taken already holds a cohort")


def test_a_pair_file_gives_way_to_a_new_one_that_is_whole(work, refuses, call):
    before = Path("pairs.h5").read_bytes()
    refuses("datagen build --masks none --out pairs.h5", "none")
    assert call("datagen build --masks cohort --seed 1 --out pairs.h5").exit_code == 0
    assert Path("pairs.h5").read_bytes() != before
    assert call("datagen inspect pairs.h5 --out new").exit_code == 0


def fill_disk() -> None:
    """Let no file grow beyond 2 kB, as on a disk that has just filled up."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


@pytest.mark.parametrize("name", ["build", "predict", "report"])
def test_a_write_that_the_disk_cuts_short_is_the_machines_fault(name, work):
    line, suffix = FILES[name]
    short = " --pairs 10 --patch 32 --workers 1" if name == "build" else ""
    program, *words = shlex.split(f"{line} new{suffix}{short}")
    # in a process of its own: the limit would also cut off what the test run itself writes
    shell = [sys.executable, "-c", f"from {program}.cli import main; main()", *words]
    # nor may it leave compiled modules that are cut off
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        shell, preexec_fn=fill_disk, capture_output=True, text=True, env=environment
    )
    assert result.returncode == 1, result.stderr
    assert result.stderr.count("\n") == 1
    assert "new" in result.stderr
    assert ".partial" not in result.stderr
    assert not Path(f"new{suffix}").exists()
    assert not list(Path().rglob(".partial-*"))
