"""Pairs for training: read from the pair file, turned at random, with dense lesion targets."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from datagen.errors import InputError
from datagen.store import PairFile

_MOST_RELATIVES = 64  # pairs after its first among which a family lies

# the six orders of the last three axes as swaps of neighbours: copied swap by swap, a volume is
# turned five times as fast as in one copy that makes its first axis the last
_SWAPS = ((), (-3,), (-2,), (-3, -2), (-2, -3), (-3, -2, -3))


class PairSample(NamedTuple):
    """One pair, or a batch of pairs, as the estimator is trained on it.

    Maps travel as they are stored, in bytes (`stored` in steps of 1/255), and become numbers where
    they are needed. `densities` are the four exact lesion densities, at stride 4. Pairs of one
    `family` differ by one edit from its first.
    """

    stored: UInt8[Tensor, "*batch 1 d h w"]
    mask: UInt8[Tensor, "*batch 1 d h w"]
    f1: Float[Tensor, "*batch"]
    densities: Float[Tensor, "*batch 4 i j k"]
    family: Integer[Tensor, "*batch"]

    @property
    def probability(self) -> Float[Tensor, "*batch 1 d h w"]:
        """Predicted probabilities in [0, 1]."""
        return self.stored.float() / 255

    @property
    def truth(self) -> Float[Tensor, "*batch 1 d h w"]:
        """The truth, 0 or 1."""
        return self.mask.float()

    @property
    def roots(self) -> Float[Tensor, "*batch 4 i j k"]:
        """Square roots of the densities."""
        return self.densities.float().sqrt()


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
        first = self._epoch * self._draws
        yield from (first + draw for draw in self._share())

    def __len__(self) -> int:
        return len(self._share())

    def _share(self) -> range:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        processes = torch.distributed.get_world_size() if distributed else 1
        return range(rank, self._draws, processes)


class PairDataset(Dataset[PairSample]):
    """Pairs of one split.

    With a seed, item `n` is the n-th draw: a pair picked and turned at random. Draws come in twos:
    the second is a relative of the first, turned alike, where it has one. Without a seed, items are
    the pairs in file order, unturned.
    """

    def __init__(self, path: Path, split: str, seed: int | None = None) -> None:
        self._file = PairFile(path)
        self._indices = np.flatnonzero(self._file.column("split") == split)
        self._seed = seed
        self._families = self._file.column("family")
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
            truth, probability, densities = self._read(index)
        else:
            two, second = divmod(item, 2)
            rng = np.random.default_rng([self._seed, two])
            index = self._draw_two(rng)[second]
            truth, probability, densities = turn_alike(self._read(index), rng)
        return PairSample(
            torch.from_numpy(probability)[None],
            torch.from_numpy(truth)[None],
            torch.tensor(self._f1[index]),
            torch.from_numpy(densities),
            torch.tensor(self._families[index]),
        )

    def _draw_two(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw a pair and a relative of it, or another pair where it has none."""
        pairs, place = len(self._indices), int(rng.integers(len(self._indices)))
        step = int(rng.integers(1, max(pairs, 2)))  # to any pair but the same
        first, other = int(self._indices[place]), int(self._indices[(place + step) % pairs])
        base = int(self._families[first])
        near = self._families[base : base + _MOST_RELATIVES]
        relatives = base + np.flatnonzero(near == base)
        relatives = relatives[relatives != first]
        return first, int(rng.choice(relatives)) if relatives.size else other

    def _read(self, index: int) -> tuple[np.ndarray, ...]:
        return *self._file.volumes(index), self._file.densities(index)


def turn_alike(volumes: tuple[np.ndarray, ...], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Mirror and transpose volumes at random by their last three axes, all in the same way."""
    mirrored = tuple((np.flatnonzero(rng.integers(2, size=3)) - 3).tolist())
    swaps = _SWAPS[int(rng.integers(len(_SWAPS)))]

    def turned(volume: np.ndarray) -> np.ndarray:
        turning = np.flip(volume, mirrored)
        for axis in swaps:
            turning = np.ascontiguousarray(np.swapaxes(turning, axis, axis + 1))
        return np.ascontiguousarray(turning)

    return tuple(turned(volume) for volume in volumes)
