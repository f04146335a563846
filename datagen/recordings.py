"""Patches that networks predicted, with their truths: what 'datagen build --predictions' takes.

A recording is an HDF5 file: `truth` and `probability` as in the pair file, `case`, `patient` and
`step` (of the training, from 0; -1 where there was none), and the attributes `recordings` (schema
1), `patch` and `spacing_mm`.
"""

import functools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, UInt8

from datagen import volumes
from datagen.errors import InputError
from datagen.files import is_nifti, nifti_stem, visible_below
from datagen.lesions import label_lesions
from datagen.maps import create_maps, pack_map, read_map, whole_hdf5, write_packed
from datagen.resampling import resample
from datagen.sources import SourceFile, read_source

_SCHEMA = 1
_PATCHES_PER_CASE = 40
_FILES_OPEN = 32


class Recording(NamedTuple):
    """One predicted patch, its truth, and the training step that it was recorded at."""

    truth: UInt8[np.ndarray, "d h w"]
    probability: UInt8[np.ndarray, "d h w"]
    case: str
    patient: str
    step: int


class RecordingFile:
    """A file of recordings: a long training leaves hundreds, so few are held open at a time."""

    def __init__(self, path: Path, patch: int, spacing_mm: float) -> None:
        """Read what it holds; InputError where it is damaged or was recorded otherwise."""
        self.path, self._changed = path, path.stat().st_mtime_ns
        file = self._open()
        attributes = file.attrs
        if attributes.get("recordings") != _SCHEMA:
            raise InputError(f"{path} holds no recordings of schema {_SCHEMA}; name another folder")
        for name, wanted in (("patch", patch), ("spacing_mm", spacing_mm)):
            if attributes[name] != wanted:
                flag, own = f"--{name.replace('_', '-')}", attributes[name]
                raise InputError(
                    f"{path} was recorded with {name} {own}, but {wanted} is needed; build pairs "
                    f"with {flag} {own}, or record with {flag} {wanted}"
                )
        self.patients, self._cases = (
            [name.decode() for name in file[column][:]] for column in ("patient", "case")
        )
        self._steps = file["step"][:].tolist()

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Recording:
        file = self._open()
        truth, probability = (
            read_map(file[name], index, self.path) for name in ("truth", "probability")
        )
        names = self._cases[index], self.patients[index]
        return Recording(truth, probability, *names, self._steps[index])

    def _open(self) -> h5py.File:
        return _open(self.path, self._changed)


@functools.lru_cache(maxsize=_FILES_OPEN)
def _open(path: Path, _changed: int) -> h5py.File:
    """Open a file, or return it open; one that was written anew since then is another."""
    try:
        return h5py.File(path)
    except OSError as error:
        raise InputError(f"{path} is not an HDF5 file, or is cut off; record anew") from error


def write_recordings(path: Path, recordings: Sequence[Recording], spacing_mm: float) -> None:
    """Write recordings of one patch size, whole or not at all."""
    shape = recordings[0].truth.shape
    with whole_hdf5(path) as file:
        attributes = {"recordings": _SCHEMA, "patch": shape[0], "spacing_mm": spacing_mm}
        file.attrs.update(attributes)
        for name in ("truth", "probability"):
            dataset = create_maps(file, name, len(recordings), shape)
            for index, recording in enumerate(recordings):
                write_packed(dataset, index, pack_map(getattr(recording, name)))
        for name in ("case", "patient"):
            file[name] = np.array([getattr(recording, name).encode() for recording in recordings])
        file["step"] = np.array([recording.step for recording in recordings])


def list_predictions(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Find recordings (step*.h5) and probability maps (NIfTI) below folders, sorted.

    Maps are the files named *probability.nii.gz or *probseg.nii.gz, packed or not. Raises
    InputError where a folder holds neither.
    """
    recorded, maps = [], []
    for folder in folders:
        found = sorted(path for path in visible_below(folder) if path.is_file())
        here = [path for path in found if path.match("step*.h5")]
        charts = [path for path in found if _is_probability(path)]
        if not here and not charts:
            raise InputError(
                f"{folder} holds no predictions: neither recordings of 'segnet train "
                "--record-predictions' (step*.h5) nor *probability.nii.gz maps"
            )
        recorded += here
        maps += charts
    return recorded, maps


def find_case(prediction: Path, cases: Collection[str]) -> str:
    """Find the case that a probability map's folder or file is named after.

    The file's name counts before its folders, and a nearer folder before those around it. Raises
    InputError where there is none.
    """
    for case in sorted(cases, key=len, reverse=True):
        if prediction.name.startswith(f"{case}_"):
            return case
    for folder in prediction.parents:
        if folder.name in cases:
            return folder.name
    raise InputError(
        f"{prediction} belongs to no case of --masks (as {min(cases)}); name its folder after the "
        "case, or begin its name with the case and '_'"
    )


def cut_recordings(
    prediction: Path, truth: SourceFile, patch: int, spacing_mm: float, rng: np.random.Generator
) -> list[Recording]:
    """Cut forty patches around lesions of the truth and of the predicted map of a whole case."""
    mask = read_source(truth, spacing_mm)
    image = volumes.read_image(prediction)
    if not volumes.same_grid(image, volumes.read_image(truth.path)):
        raise InputError(f"{prediction} and {truth.path} lie on different grids; resample one")
    probability = resample(image, volumes.working_grid_of(truth.path, image, spacing_mm))
    if probability.min() < -1e-3 or probability.max() > 1 + 1e-3:
        raise InputError(f"{prediction} holds values outside [0, 1]; give probabilities")
    stored = np.round(np.clip(probability, 0, 1) * 255).astype(np.uint8)
    centres = _lesion_centres(mask | (stored >= 128))
    reach = patch // 3
    recordings = []
    for _ in range(_PATCHES_PER_CASE):
        centre = centres[int(rng.integers(len(centres)))] + rng.integers(-reach, reach + 1, 3)
        recordings.append(
            Recording(
                volumes.cut_patch(mask, centre, patch).astype(np.uint8),
                volumes.cut_patch(stored, centre, patch),
                truth.case,
                truth.patient,
                -1,
            )
        )
    return recordings


def _is_probability(path: Path) -> bool:
    return is_nifti(path) and nifti_stem(path.name).endswith(("probability", "probseg"))


def _lesion_centres(mask: Bool[np.ndarray, "x y z"]) -> list[np.ndarray]:
    """One voxel of each lesion; the middle of the volume where there is none."""
    labels, count = label_lesions(mask)
    if not count:
        return [np.array(mask.shape) // 2]
    voxels = np.flatnonzero(labels)
    _, first = np.unique(labels.ravel()[voxels], return_index=True)
    return list(np.stack(np.unravel_index(voxels[first], mask.shape), axis=1))
