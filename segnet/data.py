"""Patches of two visits, drawn around lesions and tissue, from a cohort held in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Float, Float32, Integer, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from datagen import volumes
from datagen.boxes import foreground_box
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.progress import track
from datagen.resampling import resample, resample_mask
from datagen.scans import Scans, read_scans
from datagen.volumes import Grid, cut_patch
from segnet.augment import WARP_MARGIN, Volumes, augment, warp, warps
from segnet.choices import Augmentation
from segnet.sampling import Centres, Shares, count_share

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
    read = (read_labelled_case(case, spacing_mm, classes) for case in cases)
    return list(track(read, "scans read", len(cases)))


def read_labelled_case(case: Case, spacing_mm: float, classes: int) -> LabelledScans:
    """Read one case and its labels; see `read_labelled_cases`."""
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
    masks = [
        nib.Nifti1Image((values == label).astype(np.uint8), image.affine)
        for label in range(1, classes)
    ]
    shares = [resample(mask, grid) for mask in masks]
    background = 1 - np.sum(shares, axis=0)
    labels: np.ndarray = np.argmax([background, *shares], axis=0).astype(np.uint8)
    for label, mask in enumerate(masks, start=1):
        # a lesion too small to survive the interpolation keeps a voxel, as of one class
        labels[resample_mask(mask, grid) & (labels == 0)] = label
    return labels


def crop_to_brain(scans: Scans) -> Scans:
    """Cut a case to the box of its brain and its lesions; the affine moves along."""
    return _cropped(scans, _brain_box(scans))


def _brain_box(scans: Scans) -> tuple[slice, ...]:
    return foreground_box(scans.brain | scans.truth)


def _cropped(scans: Scans, box: tuple[slice, ...]) -> Scans:
    # copies: a view would keep the whole volume in memory
    cut = [volume[box].copy() for volume in (scans.time1, scans.time2, scans.brain, scans.truth)]
    return Scans(cut[0], cut[1], cut[2], cut[3], scans.grid.cropped(box))


class PatchOptions(NamedTuple):
    """How patches are changed, and the share that lies around what could be taken for new."""

    augmentation: Augmentation = "light"
    distractor_share: float = 0.0


class PatchDataset(Dataset[PatchSample]):
    """Item `n` is the n-th draw: its content depends on the seed and on `n` alone.

    A draw takes its turn among new lesions, distractors and voxels of the brain (see `Centres`);
    the patch around it is changed as `augment` does.
    """

    def __init__(
        self,
        cases: Sequence[Scans],
        patch: int,
        lesion_share: float,
        seed: int,
        labels: Sequence[UInt8[np.ndarray, "x y z"]] | None = None,
        options: PatchOptions = PatchOptions(),  # noqa: B008  (it is immutable)
    ) -> None:
        self._cases, self._patch, self._seed = cases, patch, seed
        self._labels = labels or [case.truth for case in cases]
        self._maps: Sequence[Sequence[np.ndarray]] = [()] * len(cases)
        self._outside = [_outside(case) for case in cases]
        self._strength = options.augmentation
        self._centres = Centres(
            cases, Shares(lesion_share, options.distractor_share), int(patch * _JITTER), seed
        )

    def add_maps(self, maps: Sequence[Sequence[Float32[np.ndarray, "x y z"]]]) -> None:
        """Hand over distance maps of each case, on its grid, which patches then carry along.

        Such patches are cut and mirrored, which keeps distances, and never warped; what lies beyond
        a volume has 0.
        """
        self._maps = maps

    def __len__(self) -> int:
        return len(self._cases)

    def place(self, item: int) -> tuple[int, np.ndarray]:
        """Return the number of a draw's case, and the voxel in the centre of its patch."""
        return self._centres.draw(item, self._generator(item))

    def _generator(self, item: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, item])

    def __getitem__(self, item: int) -> PatchSample:
        rng = self._generator(item)
        case, centre = self._centres.draw(item, rng)
        if warps(self._strength, bool(self._maps[case]), rng):
            drawn = warp(self._cut(case, centre, self._patch + 2 * WARP_MARGIN), self._patch, rng)
        else:
            drawn = self._cut(case, centre, self._patch)
        drawn = augment(drawn, self._strength, rng)
        truth = torch.from_numpy(drawn.labels)[None].float()
        sample = PatchSample(torch.from_numpy(np.stack(drawn.visits)), truth, torch.tensor(case))
        if not drawn.maps:
            return sample
        return sample._replace(maps=torch.from_numpy(np.stack(drawn.maps)))

    def _cut(self, case: int, centre: np.ndarray, edge: int) -> Volumes:
        scans = self._cases[case]
        shown = zip((scans.time1, scans.time2), self._outside[case], strict=True)
        first, second = (cut_patch(visit, centre, edge, fill) for visit, fill in shown)
        labels = cut_patch(self._labels[case], centre, edge)
        maps = [cut_patch(one, centre, edge) for one in self._maps[case]]
        return Volumes((first, second), labels, maps, self._outside[case])


class MixedDataset(Dataset[PatchSample]):
    """Draws from real and from synthetic patches, of which a stated share is real.

    Among the first n draws, and so in every batch, the number of real ones is that share of n to
    within one. Without synthetic patches all are real. Synthetic cases are numbered after the real
    ones.
    """

    def __init__(
        self, real: PatchDataset, synthetic: PatchDataset | None, real_share: float
    ) -> None:
        self._real, self._synthetic, self._share = real, synthetic, real_share

    def add_maps(self, maps: Sequence[Sequence[Float32[np.ndarray, "x y z"]]]) -> None:
        """Hand over distance maps of the real cases, followed by those of the synthetic ones."""
        self._real.add_maps(maps[: len(self._real)])
        if self._synthetic is not None:
            self._synthetic.add_maps(maps[len(self._real) :])

    def place(self, item: int) -> tuple[int, np.ndarray]:
        """Return the number of a draw's case, and the voxel in the centre of its patch."""
        drawn_from, own, before = self._turn(item)
        case, centre = drawn_from.place(own)
        return case + before, centre

    def __getitem__(self, item: int) -> PatchSample:
        drawn_from, own, before = self._turn(item)
        sample = drawn_from[own]
        return sample._replace(case=sample.case + before)

    def _turn(self, item: int) -> tuple[PatchDataset, int, int]:
        """Whose turn a draw is, the number it has there, and the cases that are numbered before."""
        if self._synthetic is None:
            return self._real, item, 0
        real, after = count_share(item, self._share), count_share(item + 1, self._share)
        if after > real:
            return self._real, real, 0
        return self._synthetic, item - real, len(self._real)


class CaseLoader:
    """Hands over whole cases, one by one, as they are."""

    def __init__(self, cases: Sequence[LabelledScans]) -> None:
        self._cases = cases

    def __iter__(self) -> Iterator[LabelledScans]:
        return iter(self._cases)

    def __len__(self) -> int:
        return len(self._cases)


def _outside(scans: Scans) -> tuple[float, float]:
    """What each visit holds beyond the brain; its darkest voxel where the brain fills the box."""
    if scans.brain.all():
        return float(scans.time1.min()), float(scans.time2.min())
    voxel = np.unravel_index(int(scans.brain.argmin()), scans.brain.shape)
    return float(scans.time1[voxel]), float(scans.time2[voxel])
