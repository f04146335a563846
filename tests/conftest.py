"""Small real volumes and runs that several tests look at."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """Folder of real scans and reference values, beside the checkout where it exists."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared reference data is not beside the checkout")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def save_volume(data: np.ndarray, path: Path, spacing_mm: float | tuple = 1.0) -> Path:
    """Write an array as NIfTI with axis-aligned voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*np.broadcast_to(spacing_mm, 3), 1.0])
    nib.save(nib.Nifti1Image(data, affine), path)
    return path
