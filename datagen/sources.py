"""Lesion masks from which pairs are cut: folders of NIfTI masks, or cohorts."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from datagen import volumes
from datagen.cohort import read_cohort, split_by_patient
from datagen.errors import InputError
from datagen.files import is_nifti, nifti_stem, visible_below
from datagen.layouts import Case
from datagen.resampling import resample_mask


class SourceFile(NamedTuple):
    """Where a source mask lies, and to which patient and split it belongs."""

    case: str
    patient: str
    split: str
    path: Path


def list_sources(
    sources: Sequence[Path], validation_fraction: float, rng: np.random.Generator
) -> list[SourceFile]:
    """List the masks below the sources, sorted, each patient on one side of the split.

    A source is a folder of NIfTI masks, searched to any depth, where each file is a patient; or a
    cohort, whose truths are taken. Cases of the split "test" are left out. Raises InputError where
    a source holds no mask.
    """
    listed: list[Case] = []
    for source in sources:
        found = _masks_below(source)
        if not found:
            raise InputError(f"{source} holds no lesion mask (*.nii.gz, or a cohort with truths)")
        listed += found
    cases = split_by_patient(listed, validation_fraction, rng)
    files = [
        SourceFile(case.name, case.patient, case.split or "train", case.truth)
        for case in cases
        if case.truth and case.split != "test"
    ]
    if not files:
        raise InputError("every case of --masks is kept for the test; give cases to train on, too")
    return sorted(files, key=lambda file: (file.case, str(file.path)))


def cases_to_test(sources: Sequence[Path]) -> list[Case]:
    """Cases of the split "test" of the sources, which `list_sources` leaves out."""
    cases = [case for source in sources for case in _masks_below(source)]
    return [case for case in cases if case.split == "test"]


def read_source(file: SourceFile, spacing_mm: float) -> Bool[np.ndarray, "x y z"]:
    """Read one mask at the working spacing; it may hold no lesion."""
    image = volumes.read_mask(file.path)
    grid = volumes.working_grid_of(file.path, image, spacing_mm)
    return resample_mask(image, grid)


def _masks_below(source: Path) -> list[Case]:
    if is_nifti(source) and source.is_file():
        return [_single(source, source.parent)]
    if source.is_dir() and not is_cohort(source):
        found = (path for path in visible_below(source) if is_nifti(path))
        return [_single(path, source) for path in sorted(found) if path.is_file()]
    return [case for case in read_cohort(source) if case.truth]


def is_cohort(folder: Path) -> bool:
    """Tell a cohort's folder, in any layout, from a folder of masks."""
    lists = ("cohort.csv", "dataset_description.json")
    return any((folder / name).is_file() for name in lists) or any(folder.glob("*/flair_time0*"))


def _single(path: Path, folder: Path) -> Case:
    name = nifti_stem(path.relative_to(folder).as_posix())
    return Case(name, name, time1=path, time2=path, truth=path)
