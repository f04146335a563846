"""Pairs for training: read from the pair file, turned at random, with dense lesion targets."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from datagen.densities import lesion_densities
from datagen.errors import InputError
from datagen.lesions import match_lesions, score_matching
from datagen.pieces import flip_lesion
from datagen.store import Agreement, PairFile

_MOST_RELATIVES = 64  # pairs after its first among which a family lies
_FLIPPED = 0.5  # share of the twos with relatives in the file that get a flipped lesion instead
HALF = 128  # of 255: from here on is predicted
TWO = 2  # draws that belong together: a pair and its relative

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

    def to(self, device: torch.device) -> "PairSample":
        """Bring it to a device; a GPU is not waited for."""
        return PairSample(*(part.to(device, non_blocking=True) for part in self))

    @property
    def probability(self) -> Float[Tensor, "*batch 1 d h w"]:
        """Predicted probabilities in [0, 1]."""
        return self.stored.float() / 255

    @property
    def truth(self) -> Float[Tensor, "*batch 1 d h w"]:
        """The truth, 0 or 1."""
        return self.mask.float()


class StoredPair(NamedTuple):
    """A pair as arrays, as the file holds it; see `PairSample`."""

    stored: UInt8[np.ndarray, "d h w"]
    truth: UInt8[np.ndarray, "d h w"]
    densities: Float[np.ndarray, "4 i j k"]
    f1: float | np.floating
    family: int | np.integer

    def turned(self, rng: np.random.Generator) -> "StoredPair":
        """Mirror and transpose at random."""
        stored, truth, densities = turn_alike((self.stored, self.truth, self.densities), rng)
        return self._replace(stored=stored, truth=truth, densities=densities)


class DrawSampler(Sampler[int]):
    """Numbers every draw of a training from 0 on; each process takes its share of an epoch.

    A draw's content depends on its number alone, so that resumed and repeated trainings see the
    same samples.
    """

    def __init__(self, draws_per_epoch: int, together: int = 1) -> None:
        """Number the draws of an epoch; so many at a time go to one process."""
        self._draws, self._together, self._epoch = draws_per_epoch, together, 0

    def set_epoch(self, epoch: int) -> None:
        """Continue at the first draw of an epoch; the trainer calls it."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        first = self._epoch * self._draws
        yield from (first + draw for draw in self._share())

    def __len__(self) -> int:
        return len(self._share())

    def _share(self) -> list[int]:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        processes = torch.distributed.get_world_size() if distributed else 1
        return [draw for draw in range(self._draws) if draw // self._together % processes == rank]


def load_draws(
    dataset: Dataset[Any], share: int, draws: DrawSampler, epochs_done: int, processes: int
) -> DataLoader[Any]:
    """Load `share` draws a step, from an epoch on; drawn by so many processes, 0: by this one."""
    # worker processes fetch ahead, before the trainer tells the sampler where it goes on
    draws.set_epoch(epochs_done)
    return DataLoader(
        dataset,
        share,
        sampler=draws,
        num_workers=processes,
        persistent_workers=processes > 0,
        pin_memory=torch.cuda.is_available(),
    )


def dealt_together(share: int) -> int:
    """Draws that go to a process at a time: two relatives, or one where its share is odd."""
    return 1 if share % TWO else TWO


class PairDataset(Dataset[PairSample]):
    """Pairs of one split.

    With a seed, item `n` is the n-th draw: a pair picked and turned at random. Draws come in twos:
    the second is a relative of the first, turned alike: an edited pair of the file, or the first
    with one lesion flipped and scored anew. Without a seed, items are the pairs in file order,
    unturned.
    """

    def __init__(self, path: Path, split: str, seed: int | None = None) -> None:
        with PairFile(path) as file:
            self._agreement = file.agreement
            self._indices = np.flatnonzero(file.column("split") == split)
            self._families, self._f1 = file.column("family"), file.column("f1")
        self._path, self._seed = path, seed
        self._opened: tuple[int, PairFile] | None = None  # by the process of this number
        if not self._indices.size:
            raise InputError(
                f"{path} holds no pair of split '{split}'; build it from more patients"
            )

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, item: int) -> PairSample:
        if self._seed is None:
            return as_sample(self.read(item))
        two, second = divmod(item, 2)
        rng = np.random.default_rng([self._seed, two])
        first = int(rng.choice(self._indices))
        relatives = self._relatives(first)
        # the same for both; a last key of 0 would be none, and repeat the draws of the pair
        turns = np.random.default_rng([self._seed, two, 1])
        if not second:
            return as_sample(self._read(first).turned(turns))
        if relatives.size and rng.random() >= _FLIPPED:
            return as_sample(self._read(int(rng.choice(relatives))).turned(turns))
        return as_sample(flipped(self._read(first), self._agreement, rng).turned(turns))

    def _relatives(self, index: int) -> Integer[np.ndarray, " pairs"]:
        """Other pairs of the same family."""
        base = int(self._families[index])
        near = self._families[base : base + _MOST_RELATIVES]
        relatives = base + np.flatnonzero(near == base)
        others: np.ndarray = relatives[relatives != index]
        return others

    def scores(self) -> Float[np.ndarray, " pairs"]:
        """Exact score of each pair of the split."""
        return self._f1[self._indices]

    def read(self, item: int) -> StoredPair:
        """Read a pair of the split, unturned."""
        return self._read(int(self._indices[item]))

    def _read(self, index: int) -> StoredPair:
        # an open file must not be shared by processes that draw
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), PairFile(self._path)
        file = self._opened[1]
        truth, stored = file.volumes(index)
        densities = file.densities(index)
        return StoredPair(stored, truth, densities, self._f1[index], self._families[index])


def flipped(pair: StoredPair, agreement: Agreement, rng: np.random.Generator) -> StoredPair:
    """Flip a lesion of a pair; the pair itself where none can be, or the rule has no score."""
    rule, spacing_mm = agreement.rule, (agreement.spacing_mm,) * 3
    matching = match_lesions(pair.truth > 0, pair.stored >= HALF, rule, spacing_mm)
    stored = flip_lesion(pair.stored, matching, rng)
    if stored is None:
        return pair
    matching = match_lesions(pair.truth > 0, stored >= HALF, rule, spacing_mm)
    f1 = score_matching(matching, rule, spacing_mm).f1
    if f1 is None or f1 > 1:
        return pair
    return StoredPair(stored, pair.truth, lesion_densities(matching), f1, pair.family)


def as_sample(pair: StoredPair) -> PairSample:
    """Return a pair as the estimator is trained on it."""
    return PairSample(
        torch.from_numpy(pair.stored)[None],
        torch.from_numpy(pair.truth)[None],
        torch.tensor(pair.f1, dtype=torch.float32),
        torch.from_numpy(pair.densities),
        torch.tensor(pair.family),
    )


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
