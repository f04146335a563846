"""Pairs for training: read from the pair file, turned at random, with dense lesion targets."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Integer
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from datagen.errors import InputError
from datagen.lesions import Rule, match_lesions
from datagen.store import PairFile
from metricnet.estimator import DENSITY_STRIDE


class PairSample(NamedTuple):
    """One pair, or a batch of pairs, as the estimator is trained on it.

    `roots` holds the square roots of the four exact lesion densities, at stride 4.
    """

    probability: Float[Tensor, "*batch 1 d h w"]
    truth: Float[Tensor, "*batch 1 d h w"]
    f1: Float[Tensor, "*batch"]
    roots: Float[Tensor, "*batch 4 i j k"]


class DrawSampler(Sampler[int]):
    """Numbers every draw of a training from 0 on; each process takes its share of an epoch.

    A draw's content depends on its number alone, so that resumed and repeated trainings see the
    same samples.
    """

    def __init__(self, draws_per_epoch: int) -> None:
        self._draws, self._epoch = draws_per_epoch, 0

    def set_epoch(self, epoch: int) -> None:
        """Continue at the first draw of an epoch; the trainer calls it."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        processes = torch.distributed.get_world_size() if distributed else 1
        first = self._epoch * self._draws
        yield from range(first + rank, first + self._draws, processes)

    def __len__(self) -> int:
        return self._draws


class PairDataset(Dataset[PairSample]):
    """Pairs of one split.

    With a seed, item `n` is the n-th draw: a pair picked and turned at random. Without one, items
    are the pairs in file order, unturned.
    """

    def __init__(self, path: Path, split: str, seed: int | None = None) -> None:
        self._file = PairFile(path)
        self._indices = np.flatnonzero(self._file.column("split") == split)
        self._rule, self._seed = self._file.agreement.rule, seed
        self._spacing_mm = (self._file.agreement.spacing_mm,) * 3
        self._f1 = self._file.column("f1")
        if not self._indices.size:
            raise InputError(
                f"{path} holds no pair of split '{split}'; build it from more patients"
            )

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, item: int) -> PairSample:
        if self._seed is None:
            index = int(self._indices[item])
            truth, probability = self._file.volumes(index)
        else:
            rng = np.random.default_rng([self._seed, item])
            index = int(rng.choice(self._indices))
            truth, probability = turn_alike(self._file.volumes(index), rng)
        roots = exact_roots(truth > 0, probability >= 128, self._rule, self._spacing_mm)
        return PairSample(
            torch.from_numpy(probability)[None].float() / 255,
            torch.from_numpy(truth)[None].float(),
            torch.tensor(self._f1[index]),
            torch.from_numpy(roots),
        )


def turn_alike(volumes: tuple[np.ndarray, ...], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Mirror and transpose volumes at random, all in the same way."""
    flips = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in range(3))
    axes = rng.permutation(3)
    return tuple(np.ascontiguousarray(volume[flips].transpose(axes)) for volume in volumes)


def exact_roots(
    truth: Bool[np.ndarray, "d h w"],
    prediction: Bool[np.ndarray, "d h w"],
    rule: Rule,
    spacing_mm: tuple[float, float, float],
) -> Float32[np.ndarray, "4 i j k"]:
    """Square roots of four lesion densities: hit truth, missed truth, hit and false prediction.

    Each lesion spreads a mass of 1 over its voxels, summed over blocks of 4³.
    """
    matching = match_lesions(truth, prediction, rule, spacing_mm)
    densities = [
        _density(labels, chosen)
        for labels, hit in (
            (matching.truth_labels, matching.truth_hit),
            (matching.predicted_labels, matching.predicted_hit),
        )
        for chosen in (hit, ~hit)
    ]
    roots: np.ndarray = np.sqrt(np.stack(densities, dtype=np.float32))
    return roots


def _density(
    labels: Integer[np.ndarray, "d h w"], chosen: Bool[np.ndarray, " lesions"]
) -> Float[np.ndarray, "i j k"]:
    shape = tuple(side // DENSITY_STRIDE for side in labels.shape)
    voxels = np.nonzero(labels)
    of_voxel = labels[voxels]
    sizes = np.bincount(of_voxel, minlength=chosen.size + 1)
    mass = np.concatenate([[0.0], chosen / np.maximum(sizes[1:], 1)])
    blocks = np.ravel_multi_index(tuple(axis // DENSITY_STRIDE for axis in voxels), shape)
    counted = np.bincount(blocks, weights=mass[of_voxel], minlength=int(np.prod(shape)))
    density: np.ndarray = counted.reshape(shape).astype(np.float32)
    return density
