"""Bad inputs to every command: one sentence, an exit code, nothing left behind."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner, Result

from datagen.cli import main as datagen
from datagen.store import Agreement
from metricnet.checkpoint import SavedEstimator, save_estimator
from metricnet.cli import main as metricnet
from metricnet.estimator import LesionEstimator
from segnet.cli import main as segnet

PROGRAMS = {"datagen": datagen, "metricnet": metricnet, "segnet": segnet}
# what each command needs besides its inputs to end soon
SHORT = {
    "datagen build": "--pairs 20 --patch 32 --workers 1",
    "metricnet train": "--epochs 1 --steps-per-epoch 1 --batch 2",
    "segnet evaluate": "--workers 1",
    "segnet train": "--epochs 1 --steps-per-epoch 1 --batch 1 --patch 32 --channels 8",
}
FILES = {
    "time1": "flair_time01_on_middle_space",
    "time2": "flair_time02_on_middle_space",
    "truth": "ground_truth",
    "brain": "brain_mask",
}


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of everything that is good.

    A `cohort` of three cases, the first again in `one`, `pairs.h5`, `estimator.safetensors`, a
    `run`, `predictions` and their `scores`.
    """
    folder = tmp_path_factory.mktemp("good")
    for number in range(3):
        _write_case(folder / "cohort" / f"p{number}", np.random.default_rng(number))
    (folder / "one").mkdir()
    for name, stem in FILES.items():
        shutil.copy(folder / f"cohort/p0/{stem}.nii.gz", folder / f"one/{name}.nii.gz")
    agreement = Agreement("overlap", 26, 0.0, 1.0, 32)
    estimator = SavedEstimator(LesionEstimator("structured", agreement.patch), agreement, {})
    save_estimator(folder / "estimator.safetensors", estimator)
    before = Path.cwd()
    os.chdir(folder)
    try:
        for command in (
            "datagen build --masks cohort --out pairs.h5",
            "segnet train --cohort cohort --alpha 0 --out run",
            "segnet predict --baseline subtraction --cohort cohort --out predictions",
            "segnet evaluate --truth cohort --prediction predictions --out scores",
        ):
            result = _call(command)
            assert result.exit_code == 0, (command, result.stderr, result.exception)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def work(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fresh working folder that holds a copy of everything good."""
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def call() -> Callable[[str], Result]:
    """Run a command line, with `SHORT` added to it; its own flags win."""
    return _call


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Write an array as NIfTI: write(path, data, affine)."""
    return _write


@pytest.fixture(scope="session")
def load() -> Callable[[str], np.ndarray]:
    """Read the voxels of a NIfTI file."""

    def read(path: str) -> np.ndarray:
        return np.asanyarray(nib.load(path).dataobj)

    return read


@pytest.fixture
def refuses(work: Path) -> Callable[..., None]:
    """Check that a command ends in one sentence that names things, and leaves no trace.

    refuses(command, *named, code=2, begun="run"): `begun` is a folder that the command may have
    begun before it could see the fault.
    """

    def check(command: str, *named: str, code: int = 2, begun: str = "") -> None:
        before = _snapshot(begun)
        result = _call(command)
        stopped = result.exception is None or isinstance(result.exception, SystemExit)
        assert stopped, repr(result.exception)
        assert result.exit_code == code, (result.exit_code, result.output)
        assert result.stderr.startswith(command.split()[0])
        assert result.stderr.count("\n") == 1, result.stderr
        for name in named:
            assert name in result.stderr, f"{name!r} is not named in: {result.stderr}"
        after = _snapshot(begun)
        assert sorted(after.keys() - before.keys()) == [], "left behind"
        assert after == before, "changed or deleted a file"
        assert not list(Path().rglob(".partial-*"))

    return check


def _call(command: str) -> Result:
    program, name, *arguments = shlex.split(command)
    short = SHORT.get(f"{program} {name}", "").split()
    return CliRunner().invoke(PROGRAMS[program], [name, *short, *arguments], prog_name=program)


def _snapshot(begun: str) -> dict[str, tuple[int, int] | None]:
    """Every path below the working folder, with size and time of what is a file."""
    found = {}
    for path in Path().rglob("*"):
        if not begun or path.parts[0] != begun:
            status = path.lstat()
            found[str(path)] = None if path.is_dir() else (status.st_size, status.st_mtime_ns)
    return found


def _write_case(folder: Path, rng: np.random.Generator) -> None:
    """A noisy ball of a brain with five lesions of one width at visit 2, in MSSEG-2 layout."""
    grid = np.indices((32, 32, 32))
    brain = ((grid - 15.5) ** 2).sum(axis=0) < 13**2
    truth = np.zeros(brain.shape, np.uint8)
    for x, y, z in ((10, 16, 16), (21, 19, 13), (16, 22, 19), (16, 9, 19), (16, 16, 9)):
        truth[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = 1
    time1, time2 = (rng.normal(500, 40, brain.shape) * brain for _ in range(2))
    time2 += 400.0 * truth
    arrays = (time1.astype(np.int16), time2.astype(np.int16), truth, brain.astype(np.uint8))
    for stem, data in zip(FILES.values(), arrays, strict=True):
        _write(folder / f"{stem}.nii.gz", data)


def _write(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    return path
