"""Patches of two visits, drawn around lesions and tissue, from a cohort held in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Float, Float32, Integer, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from datagen import volumes
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.lesions import label_lesions
from datagen.progress import track
from datagen.scans import Scans, read_scans
from datagen.volumes import Grid, cut_patch

_JITTER = 3 / 8  # of the patch's edge: a lesion lies anywhere but at the very border


class PatchSample(NamedTuple):
    """Both visits as two channels, and the truth's labels; one patch, or a batch of patches.

    `case` is the number of the case among those that are drawn from. `maps` holds the distance maps
    that a loss needs, one channel each; a single 0 without any.
    """

    visits: Float[Tensor, "*batch 2 d h w"]
    truth: Float[Tensor, "*batch 1 d h w"]
    case: Integer[Tensor, "*batch"] = torch.zeros((), dtype=torch.int64)
    maps: Float[Tensor, "..."] = torch.zeros(1)


class LabelledScans(NamedTuple):
    """One case cut to its brain, and its labels: 0 is background, every other a class.

    `whole` are the labels before the cut, and `box` is where they were cut: distances are measured
    on the whole volume.
    """

    case: Case
    scans: Scans
    labels: UInt8[np.ndarray, "x y z"]
    whole: UInt8[np.ndarray, "a b c"]
    box: tuple[slice, ...]


def read_cases(cases: Sequence[Case], spacing_mm: float) -> list[Scans]:
    """Read cases onto their working grids, cut to the brain's box."""
    scans = (read_scans(case, spacing_mm) for case in cases)
    return [crop_to_brain(scan) for scan in track(scans, "scans read", len(cases))]


def read_labelled_cases(
    cases: Sequence[Case], spacing_mm: float, classes: int
) -> list[LabelledScans]:
    """Read cases and their labels onto their working grids, cut to the brain's box.

    Raises InputError where a truth of more than two classes holds anything but whole numbers from 0
    to `classes` - 1, or lies on another grid than visit 2.
    """
    read = (_read_labelled(case, spacing_mm, classes) for case in cases)
    return list(track(read, "scans read", len(cases)))


def _read_labelled(case: Case, spacing_mm: float, classes: int) -> LabelledScans:
    if classes == 2 or case.truth is None:
        scans = read_scans(case, spacing_mm)
        whole = scans.truth.astype(np.uint8)
    else:
        scans = read_scans(case._replace(truth=None), spacing_mm)
        whole = _read_labels(case.truth, case.time2, scans.grid, classes)
        scans = scans._replace(truth=whole > 0)
    box = _brain_box(scans)
    return LabelledScans(case, _cropped(scans, box), whole[box], whole, box)


def _read_labels(path: Path, time2: Path, grid: Grid, classes: int) -> UInt8[np.ndarray, "x y z"]:
    image = volumes.read_image(path)
    if not volumes.same_grid(image, volumes.read_image(time2)):
        raise InputError(f"{path} and {time2} lie on different grids; register them first")
    values = np.asanyarray(image.dataobj)
    wrong = values[~np.isin(values, np.arange(classes))]
    if wrong.size:
        raise InputError(
            f"{path}: labels 0 to {classes - 1} are needed, found {wrong[0]:g}; see --classes"
        )
    shares = [
        volumes.resample(nib.Nifti1Image((values == label).astype(np.uint8), image.affine), grid)
        for label in range(1, classes)
    ]
    background = 1 - np.sum(shares, axis=0)
    labels: np.ndarray = np.argmax([background, *shares], axis=0).astype(np.uint8)
    return labels


def crop_to_brain(scans: Scans) -> Scans:
    """Cut a case to the box of its brain and its lesions; the affine moves along."""
    return _cropped(scans, _brain_box(scans))


def _brain_box(scans: Scans) -> tuple[slice, ...]:
    points = np.argwhere(scans.brain | scans.truth)
    low, high = points.min(axis=0), points.max(axis=0) + 1
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _cropped(scans: Scans, box: tuple[slice, ...]) -> Scans:
    cut = [volume[box] for volume in (scans.time1, scans.time2, scans.brain, scans.truth)]
    return Scans(cut[0], cut[1], cut[2], cut[3], scans.grid.cropped(box))


class PatchDataset(Dataset[PatchSample]):
    """Item `n` is the n-th draw: its content depends on the seed and on `n` alone.

    A draw picks a case, then with `lesion_share` a new lesion of it, else a voxel of its brain; the
    patch around it is mirrored, and each visit's intensities are changed a little on their own.
    """

    def __init__(
        self,
        cases: Sequence[Scans],
        patch: int,
        lesion_share: float,
        seed: int,
        labels: Sequence[UInt8[np.ndarray, "x y z"]] | None = None,
    ) -> None:
        self._cases, self._patch = cases, patch
        self._labels = labels or [case.truth for case in cases]
        self._maps: Sequence[Sequence[np.ndarray]] = [()] * len(cases)
        self._lesion_share, self._seed = lesion_share, seed
        self._lesions = [_lesion_voxels(case) for case in cases]
        self._brains = [np.flatnonzero(case.brain).astype(np.int32) for case in cases]
        self._active = [index for index, found in enumerate(self._lesions) if found]
        if not self._active:
            raise InputError("no case to train on holds a new lesion")

    def add_maps(self, maps: Sequence[Sequence[Float32[np.ndarray, "x y z"]]]) -> None:
        """Hand over distance maps of each case, on its grid, which patches then carry along.

        Patches are cut and mirrored, which keeps distances; what lies beyond a volume has 0.
        """
        self._maps = maps

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, item: int) -> PatchSample:
        rng = np.random.default_rng([self._seed, item])
        case, centre = self._draw_centre(rng)
        scans = self._cases[case]
        shown = [scans.time1, scans.time2, self._labels[case], *self._maps[case]]
        fill = [float(scans.time1.min()), float(scans.time2.min())] + [0.0] * (len(shown) - 2)
        cuts = [
            cut_patch(volume, centre, self._patch, value)
            for volume, value in zip(shown, fill, strict=True)
        ]
        mirror = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in range(3))
        time1, time2, truth, *maps = (np.ascontiguousarray(cut[mirror]) for cut in cuts)
        visits = np.stack([change_contrast(time1, rng), change_contrast(time2, rng)])
        sample = PatchSample(
            torch.from_numpy(visits), torch.from_numpy(truth)[None].float(), torch.tensor(case)
        )
        return sample._replace(maps=torch.from_numpy(np.stack(maps))) if maps else sample

    def _draw_centre(self, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        if rng.random() < self._lesion_share:
            case = int(rng.choice(self._active))
            lesions = self._lesions[case]
            voxels = lesions[int(rng.integers(len(lesions)))]
            reach = int(self._patch * _JITTER)
            jitter = rng.integers(-reach, reach + 1, size=3)
            return case, voxels[rng.integers(len(voxels))] + jitter
        case = int(rng.integers(len(self._cases)))
        voxel = self._brains[case][rng.integers(len(self._brains[case]))]
        return case, np.array(np.unravel_index(voxel, self._cases[case].brain.shape))


def change_contrast(
    visit: Float32[np.ndarray, "d h w"], rng: np.random.Generator
) -> Float32[np.ndarray, "d h w"]:
    """Change one visit's gain, offset and noise a little, in units of the brain's deviation."""
    gain, offset = rng.uniform(0.9, 1.1), rng.uniform(-0.15, 0.15)
    noise = rng.standard_normal(visit.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.1))
    changed: np.ndarray = visit * np.float32(gain) + np.float32(offset) + noise
    return changed


def _lesion_voxels(scans: Scans) -> list[np.ndarray]:
    """Voxels of each new lesion, an array (voxels, 3) per lesion."""
    labels, count = label_lesions(scans.truth)
    points = np.argwhere(labels)
    of_point = labels[tuple(points.T)]
    return [points[of_point == lesion] for lesion in range(1, count + 1)]
