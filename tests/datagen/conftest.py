"""Tiny NIfTI volumes, cases and masks, for all tests of datagen."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture(scope="session")
def save() -> Callable[..., Path]:
    """Write an array as NIfTI, save(data, path, affine); booleans become 0 and 1."""

    def write(data: np.ndarray, path: Path, affine: np.ndarray | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = data.astype(np.uint8) if data.dtype == bool else data
        nib.save(nib.Nifti1Image(stored, np.eye(4) if affine is None else affine), path)
        return path

    return write


@pytest.fixture
def visits(save, rng) -> Callable[..., list[Path]]:
    """Write two visits of 12³ voxels, of which a cube of 6³ is brain, and a truth of one voxel."""

    def write(folder: Path, brain_edge: int = 6, affine: np.ndarray | None = None) -> list[Path]:
        scan = np.zeros((12, 12, 12), np.int16)
        inside = (slice(3, 3 + brain_edge),) * 3
        scan[inside] = rng.integers(100, 200, scan[inside].shape)
        truth = np.zeros(scan.shape, bool)
        truth[5, 5, 5] = True
        stems = ("flair_time01_on_middle_space", "flair_time02_on_middle_space", "ground_truth")
        paths = [folder / f"{stem}.nii.gz" for stem in stems]
        for data, path in zip((scan, scan + 1 * (scan > 0), truth), paths, strict=True):
            save(data.astype(np.int16), path, affine)
        return paths

    return write


@pytest.fixture(scope="session")
def masks(tmp_path_factory, save) -> Path:
    """Folder of four masks of 40³ voxels with a dozen cube lesions each."""
    folder = tmp_path_factory.mktemp("masks")
    for number in range(4):
        rng = np.random.default_rng(number)
        mask = np.zeros((40, 40, 40), bool)
        for x, y, z in rng.integers(2, 36, (14, 3)):
            size = rng.integers(1, 4)
            mask[x : x + size, y : y + size, z : z + size] = True
        save(mask, folder / f"patient{number}.nii.gz")
    return folder


@pytest.fixture(scope="session")
def build_apart(masks, tmp_path_factory, start) -> Callable[[int, int], Path]:
    """Build in a process of its own, where neither types nor coverage cost time."""

    def build(pairs: int, patch: int) -> Path:
        out = tmp_path_factory.mktemp("built") / "pairs.h5"
        options = f"--pairs {pairs} --patch {patch} --workers 1 --validation-fraction 0.3"
        process = start("datagen", "build", "--masks", masks, "--out", out, *options.split())
        process.join()
        assert process.exitcode == 0
        return out

    return build


@pytest.fixture(scope="session")
def built(build_apart) -> Path:
    """A pair file of 600 pairs, which are three parts, to be read and never changed."""
    return build_apart(600, 32)


@pytest.fixture(scope="session")
def three_parts(build_apart) -> Path:
    """A pair file of 510 small pairs, to be read and never changed."""
    return build_apart(510, 16)


@pytest.fixture(scope="session")
def two_parts(build_apart) -> Path:
    """A pair file of 260 small pairs, 250 in its first part, to be read and never changed."""
    return build_apart(260, 16)


@pytest.fixture(scope="session")
def bank(masks, tmp_path_factory):
    """Lesions of the four masks, two patients of them held out."""
    from datagen.bank import open_bank, store_source, write_index
    from datagen.sources import list_sources

    folder = tmp_path_factory.mktemp("bank")
    files = list_sources([masks], 0.5, np.random.default_rng(0))
    for number, file in enumerate(files):
        store_source(file, 1.0, folder, number)
    write_index(files, folder)
    return open_bank(folder)
