"""Which prediction belongs to which truth, and both as arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float

from datagen import volumes
from datagen.boxes import foreground_box
from datagen.cohort import of_split, read_cohort
from datagen.errors import InputError
from datagen.files import NIFTI, is_nifti, nifti_stem
from datagen.layouts import Case
from datagen.scans import difference
from datagen.sources import is_cohort
from datagen.volumes import Grid
from segnet.prediction_paths import cohort_paths, paths_beside

# affines differ by this much, in each of their elements, where programs rounded them differently
_ELEMENT_TOLERANCE = 1e-3
_ROUNDING = 1e-5


class Job(NamedTuple):
    """One method on one case: where its mask, and its map if given, are to be looked for."""

    case: Case
    method: str
    prediction: Path
    probability: Path | None


class Found(NamedTuple):
    """Files of one method on one case; `probability` is None where there is no map."""

    mask: Path
    probability: Path | None


class MaskPair(NamedTuple):
    """Truth, prediction and, where it exists, its probability map, cut to what they hold.

    `diagonal_mm` is that of the whole image; `notes` say what was tolerated.
    """

    truth: Bool[np.ndarray, "x y z"]
    prediction: Bool[np.ndarray, "x y z"]
    probability: Float[np.ndarray, "x y z"] | None
    grid: Grid
    diagonal_mm: float
    notes: list[str]


def list_jobs(
    truth: Path, split: str, predictions: Sequence[Path], probabilities: Sequence[Path]
) -> list[Job]:
    """List every method on every case; InputError where the inputs do not fit each other."""
    cases = _truths(truth, split)
    if probabilities and len(probabilities) != len(predictions):
        raise InputError(
            f"{len(probabilities)} --probability for {len(predictions)} --prediction; "
            "give one for each, in the same order, or none"
        )
    for path in (*predictions, *probabilities):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path")
        if len(cases) > 1 and not path.is_dir():
            raise InputError(f"{path} is one mask for {len(cases)} truths; give a folder of masks")
    methods = _method_names(predictions)
    maps: Sequence[Path | None] = probabilities or [None] * len(predictions)
    return [
        Job(case, method, path, probability)
        for case in cases
        for (method, path), probability in zip(methods.items(), maps, strict=True)
    ]


def unscored(jobs: Sequence[Job], split: str) -> list[str]:
    """Say which masks of the folders belong to no case; nothing where a split leaves cases out."""
    known = {job.case.name for job in jobs}
    folders = list(dict.fromkeys(job.prediction for job in jobs if job.prediction.is_dir()))
    notes = []
    for folder in folders if split == "all" else []:
        masks = _masks_in(folder)
        maps = {paths_beside(path).probability for path in masks}
        names = {stem(path) for path in masks if path not in maps}
        names |= {path.name for path in folder.iterdir() if (path / "new_lesions.nii.gz").is_file()}
        notes += [f"{folder}: '{name}' has no truth and is not scored" for name in names - known]
    return sorted(notes)


def find_files(job: Job) -> Found:
    """Return the files of a job; InputError where the mask, or a map that was asked for, is not."""
    mask = _find(job.prediction, job.case, "mask")
    if job.probability:
        return Found(mask, _find(job.probability, job.case, "probability"))
    beside = [cohort_paths(job.prediction, job.case).probability, paths_beside(mask).probability]
    return Found(mask, next((path for path in beside if path.is_file()), None))


def read_pair(case: Case, found: Found, lowest_threshold: float) -> MaskPair:
    """Read a truth and a prediction, cut to the box of both and of the map from a threshold on.

    Raises InputError where a volume cannot be read or they lie on different grids. Affines whose
    elements differ by up to 1e-3 are taken for the truth's, with a note.
    """
    if case.truth is None:
        raise InputError(f"case {case.name}: no truth to score against")
    truth_image, notes = volumes.read_mask(case.truth), list[str]()
    if found.mask.resolve() == case.truth.resolve():
        notes.append(f"case {case.name}: the prediction {found.mask} is the truth itself")
    predicted = _voxels(volumes.read_mask(found.mask), found.mask, truth_image, case, notes) > 0
    truth = np.asanyarray(truth_image.dataobj) > 0
    shown, probability = truth | predicted, None
    if found.probability:
        image = volumes.read_image(found.probability)
        probability = _voxels(image, found.probability, truth_image, case, notes)
        _require_probability(probability, found.probability)
        shown |= probability >= lowest_threshold
    box, grid = foreground_box(shown), volumes.grid_of(truth_image)
    return MaskPair(
        np.ascontiguousarray(truth[box]),
        np.ascontiguousarray(predicted[box]),
        None if probability is None else np.ascontiguousarray(probability[box], np.float32),
        grid.cropped(box),
        float(np.linalg.norm(np.multiply(grid.shape, grid.spacing_mm))),
        notes,
    )


def stem(path: Path) -> str:
    """Return a file's name without the suffix of NIfTI."""
    return nifti_stem(path.name)


def _voxels(
    image: nib.Nifti1Image, path: Path, truth: nib.Nifti1Image, case: Case, notes: list[str]
) -> np.ndarray:
    """Return an image's voxels; InputError where they do not lie where the truth's do."""
    apart = float(np.abs(image.affine - truth.affine).max())
    is_near = apart <= _ELEMENT_TOLERANCE and image.shape == truth.shape
    if not is_near and not volumes.same_grid(image, truth):
        how = difference(image, truth, "resample one onto the other")
        raise InputError(f"case {case.name}: prediction {path} and truth {case.truth} {how}")
    if apart > _ROUNDING:
        notes.append(
            f"case {case.name}: the affine of {path} differs from the truth's by up to {apart:.1g};"
            " the truth's is used"
        )
    return np.asanyarray(image.dataobj)


def _require_probability(probability: np.ndarray, path: Path) -> None:
    low, high = float(probability.min()), float(probability.max())
    if low < -1e-6 or high > 1 + 1e-6:
        raise InputError(
            f"{path}: a probability in [0, 1] is needed, found {low if low < 0 else high:g}"
        )


def _truths(source: Path, split: str) -> list[Case]:
    """Cases of a cohort, or of plain masks, which are then their own only volumes."""
    masks = _masks_in(source) if source.is_dir() else [source]
    if not masks or not is_nifti(masks[0]) or (source.is_dir() and is_cohort(source)):
        return _of_cohort(source, split)
    if split != "all":
        raise InputError(
            f"--split {split}: the plain masks of {source} have no splits; give a cohort, or leave "
            "--split out"
        )
    names = [stem(path) for path in masks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{source}: two masks are named '{twice}'; give each its own name")
    return [Case(name, name, path, path, path) for name, path in zip(names, masks, strict=True)]


def _of_cohort(source: Path, split: str) -> list[Case]:
    if source.is_dir() and any(source.glob("*/new_lesions.nii.gz")):
        raise InputError(
            f"{source} holds predictions, not truths; are --truth and --prediction swapped?"
        )
    cases = [case for case in of_split(read_cohort(source), split) if case.truth]
    if not cases:
        raise InputError(f"{source} holds no truth to score against")
    return cases


def _masks_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if is_nifti(path) and path.is_file() and not path.name.startswith(".")
    )


def _find(source: Path, case: Case, kind: str) -> Path:
    """Path of one case's mask or map below a folder, or the file itself."""
    if not source.is_dir():
        return source
    own = cohort_paths(source, case)
    candidates = [own.probability if kind == "probability" else own.mask]
    candidates += [source / f"{case.name}{suffix}" for suffix in NIFTI]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InputError(f"case {case.name}: no prediction {candidates[0]}, nor {candidates[1]}")
    return found


def _method_names(predictions: Sequence[Path]) -> dict[str, Path]:
    """Name each prediction by its file or folder; by its whole path where two would be alike."""
    # "." and ".." have no name of their own; a link keeps the one it was given
    names = [stem(path.resolve() if path.name in ("", "..") else path) for path in predictions]
    shown = [
        name if names.count(name) == 1 else str(path)
        for name, path in zip(names, predictions, strict=True)
    ]
    return dict(zip(shown, predictions, strict=True))
