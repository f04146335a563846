"""Real scans beside the checkout, and a tiny cohort, pair file and runs made by the commands."""

import multiprocessing
import os
from collections.abc import Callable
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xdist
from click.testing import CliRunner
from hypothesis import HealthCheck, settings

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the same tests on every machine

# a busy machine is no bug, and a run is to be repeatable
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

# half a minute and more each: begun first, they leave no worker alone at the end
SLOW = "build build_recorded cluster compare export phantom pipeline preprocess processes resume"
LARGE_LIBRARIES = (
    "jinja2",
    "matplotlib.figure",
    "monai.losses",
    "monai.networks.nets",
    "monai.transforms",
    "pydantic",
    "pytorch_lightning.loggers",
    "rich.table",
    "sklearn",
)
SHARED = Path(__file__).resolve().parents[2] / "shared"
EDGE = 40


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import the large libraries where tests are run: from their compiled files.

    What is first imported by a module whose types are checked is compiled anew, from its source:
    half a minute in each process.
    """
    if xdist.is_xdist_controller(session):
        return
    for library in LARGE_LIBRARIES:
        import_module(library)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first."""
    slow = {f"test_{name}.py" for name in SLOW.split()}
    items.sort(key=lambda item: item.path.name not in slow)


@pytest.fixture
def shared() -> Path:
    """Folder of real scans and reference values, beside the checkout where it exists."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared reference data is not beside the checkout")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="session")
def tiny_cohort(tmp_path_factory) -> Path:
    """Four patients of 40³ voxels with cube lesions that are brighter at visit 2; one is clean."""
    folder = tmp_path_factory.mktemp("tiny") / "cohort"
    for number in range(4):
        _write_case(folder / f"case{number}", number)
    return folder


def _write_case(folder: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    brain = np.zeros((EDGE,) * 3, bool)
    brain[4:-4, 4:-4, 4:-4] = True
    truth = np.zeros_like(brain)
    for x, y, z in rng.integers(8, EDGE - 12, (0 if number == 3 else 5, 3)):
        truth[x : x + 3, y : y + 3, z : z + 2] = True
    tissue = rng.normal(500, 40, brain.shape) * brain
    noise = rng.normal(0, 2, brain.shape) * brain
    visits = (tissue, tissue + 300 * truth + noise)
    folder.mkdir(parents=True)
    for visit, scan in enumerate(visits, start=1):
        _save(scan.astype(np.int16), folder / f"flair_time0{visit}_on_middle_space.nii.gz")
    _save(truth.astype(np.uint8), folder / "ground_truth.nii.gz")
    _save(brain.astype(np.uint8), folder / "brain_mask.nii.gz")


def _save(data: np.ndarray, path: Path) -> None:
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)


@pytest.fixture(scope="session")
def tiny_pairs(tiny_cohort, tmp_path_factory) -> Path:
    """A pair file of 60 pairs of 32³, built from the tiny cohort."""
    out = tmp_path_factory.mktemp("pairs") / "pairs.h5"
    options = ["--pairs", "60", "--patch", "32", "--workers", "1", "--validation-fraction", "0.4"]
    run_command("datagen", "build", "--masks", tiny_cohort, "--out", out, *options)
    return out


@pytest.fixture(scope="session")
def tiny_estimator(tiny_pairs, tmp_path_factory) -> Path:
    """Run folder of an estimator trained for two epochs of three steps."""
    out = tmp_path_factory.mktemp("estimator") / "run"
    options = ["--epochs", "2", "--steps-per-epoch", "3", "--batch", "4"]
    run_command("metricnet", "train", "--pairs", tiny_pairs, "--out", out, *options)
    return out


@pytest.fixture(scope="session")
def tiny_run(tiny_cohort, tiny_estimator, tmp_path_factory) -> Path:
    """Run folder of a network trained for three epochs of four steps, F̂ from the second on."""
    out = tmp_path_factory.mktemp("segnet") / "run"
    options = ["--epochs", "3", "--steps-per-epoch", "4", "--batch", "2", "--patch", "32"]
    options += ["--channels", "8", "--alpha-warmup-epochs", "1", "--learning-rate", "0.003"]
    options += ["--alpha-finish-share", "0"]
    inputs = ["--cohort", tiny_cohort, "--estimator", tiny_estimator, "--out", out]
    run_command("segnet", "train", *inputs, *options)
    return out


def run_command(program: str, *arguments: object) -> str:
    """Run a command in this process as a user types it; return what it prints."""
    from datagen import cli as datagen_cli
    from metricnet import cli as metricnet_cli
    from segnet import cli as segnet_cli

    mains = {"datagen": datagen_cli, "metricnet": metricnet_cli, "segnet": segnet_cli}
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(mains[program].main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="session")
def run():
    """Run a command in this process as a user types it: run("datagen", "build", ...)."""
    return run_command


@pytest.fixture(scope="session")
def start() -> Callable[..., ForkServerProcess]:
    """Start a command in a process and group of its own: start("segnet", "train", ..., OWN="1").

    Each is forked from one process that has imported the packages, and nothing of the test run.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["metricnet.training", "segnet.training", "datagen.build"])

    def begin(program: str, *arguments: object, **environment: str) -> ForkServerProcess:
        words = [str(argument) for argument in arguments]
        code = f"import os; os.setsid(); os.environ.update({environment!r})\n"
        code += f"from {program}.cli import main; main({words!r}, prog_name={program!r})"
        process = server.Process(target=exec, args=(code, {}))
        process.start()
        return process

    return begin
