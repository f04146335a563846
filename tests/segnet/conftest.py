"""Mask pairs as small as they get, and the reference pairs beside the checkout."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from datagen.files import read_table
from datagen.layouts import Case
from datagen.volumes import Grid
from segnet.evaluation.pairs import MaskPair


@pytest.fixture
def masks(tmp_path):
    """A truth of two lesions, a prediction of one of them and a false one, an empty mask."""
    truth, prediction, empty = np.zeros((3, 10, 10, 10), np.uint8)
    truth[1:3, 1:3, 1:3] = truth[7, 7, 7] = 1
    prediction[1:3, 1:3, 1:3] = prediction[5, 1:3, 1:5] = 1
    paths = {}
    for name, mask in {"truth": truth, "prediction": prediction, "empty": empty}.items():
        paths[name] = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(mask, np.eye(4)), paths[name])
    return paths


@pytest.fixture
def case_of() -> Callable[[Path], Case]:
    """A case that is a truth alone."""

    def build(truth: Path) -> Case:
        return Case("case", "case", truth, truth, truth=truth)

    return build


@pytest.fixture
def pair_of() -> Callable[..., MaskPair]:
    """A pair of arrays on a grid: pair_of(truth, prediction, probability, spacing_mm)."""

    def build(truth, prediction, probability=None, spacing_mm=(1.0, 1.0, 1.0)) -> MaskPair:
        grid = Grid(truth.shape, np.diag([*spacing_mm, 1.0]))
        diagonal_mm = float(np.linalg.norm(np.multiply(truth.shape, spacing_mm)))
        return MaskPair(truth, prediction, probability, grid, diagonal_mm, [])

    return build


@pytest.fixture
def reference(shared) -> Callable[[str], tuple[dict[str, str], Path, Path]]:
    """A row of the reference scores, and the paths of its truth and prediction."""
    folder = shared / "oracle/matching"
    rows = {row["pair"]: row for row in read_table(folder / "expected.csv")}

    def of(pair: str) -> tuple[dict[str, str], Path, Path]:
        return (
            rows[pair],
            folder / f"{pair}_truth.nii.gz",
            folder / f"{pair}_prediction.nii.gz",
        )

    return of
