"""What a network predicted while it was trained, for pairs that show the estimator its maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from datagen.layouts import Case
from datagen.recordings import Recording, write_recordings

FOLDER = "predictions"
_PATCHES_PER_FILE = 100


class Recorder:
    """Keeps patches at even distances along a training, and writes them by the hundred.

    Which patches are kept depends on the number of a draw alone, and a file never spans two epochs:
    a resumed training writes the same files again.
    """

    def __init__(
        self, folder: Path, cases: Sequence[Case], spacing_mm: float, draws: int, patches: int
    ) -> None:
        """Keep about `patches` of the `draws` of a whole training, of these cases, in order."""
        self._folder, self._cases, self._spacing_mm = folder, cases, spacing_mm
        self._distance = max(draws // patches, 1)
        self._kept: list[Recording] = []

    def take(
        self,
        step: int,
        probability: Float[Tensor, "batch 1 d h w"],
        truth: Float[Tensor, "batch 1 d h w"],
        cases: Integer[Tensor, " batch"],
    ) -> None:
        """Keep what is due of the batch of a step, counted from 0."""
        first = step * len(cases)
        for index, number in enumerate(cases.tolist()):
            if (first + index) % self._distance:
                continue
            stored = torch.round(probability[index, 0].detach() * 255).to(torch.uint8)
            mask, case = truth[index, 0] > 0, self._cases[number]
            self._kept.append(
                Recording(
                    mask.cpu().numpy().astype(np.uint8),
                    stored.cpu().numpy(),
                    case.name,
                    case.patient,
                    step,
                )
            )
        if len(self._kept) >= _PATCHES_PER_FILE:
            self.write()

    def write(self) -> None:
        """Write what is kept, under the number of its first step; nothing where nothing is."""
        if self._kept:
            path = self._folder / f"step{self._kept[0].step:07d}.h5"
            write_recordings(path, self._kept, self._spacing_mm)
            self._kept = []
