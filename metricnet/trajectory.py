"""F̂ beside the exact score on what networks predicted while they were trained."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from datagen.errors import InputError
from datagen.recordings import Recording, RecordingFile, list_predictions
from metricnet.checkpoint import SavedEstimator
from metricnet.exact import exact_f1

TENTHS = 10
_BATCH = 8


class Trajectory(NamedTuple):
    """Scores of the recorded patches of one training, in the order of its steps."""

    name: str
    step: Integer[np.ndarray, " patches"]
    exact: Float[np.ndarray, " patches"]
    estimated: Float[np.ndarray, " patches"]

    def tenths(self) -> list[dict[str, Any]]:
        """One row per tenth of the training: how far estimates lie from exact scores."""
        tenth = self.step * TENTHS // (int(self.step.max(initial=0)) + 1)
        rows = []
        for number in np.unique(tenth).tolist():
            chosen = tenth == number
            error = (self.estimated - self.exact)[chosen]
            rows.append(
                {
                    "training": self.name,
                    "tenth": number + 1,
                    "patches": int(chosen.sum()),
                    "mean_exact": float(self.exact[chosen].mean()),
                    "mean_estimated": float(self.estimated[chosen].mean()),
                    "mae": float(np.abs(error).mean()),
                    "bias": float(error.mean()),
                }
            )
        return rows

    def summary(self) -> dict[str, Any]:
        """Mean distance |F̂ - F|, and that of the worst tenth."""
        distance = np.abs(self.estimated - self.exact)
        worst = max(row["mae"] for row in self.tenths())
        return {
            "training": self.name,
            "patches": int(distance.size),
            "mae": float(distance.mean()),
            "worst_tenth": worst,
        }


def follow(saved: SavedEstimator, folder: Path) -> Trajectory:
    """Estimate the patches that 'segnet train --record-predictions' left in a folder.

    Raises InputError where it holds none, or they were recorded for another patch or spacing.
    """
    agreement = saved.agreement
    paths, _ = list_predictions([folder])
    if not paths:
        raise InputError(
            f"{folder} holds maps of whole cases, but no recordings of 'segnet train "
            "--record-predictions' (step*.h5), which alone know their step"
        )
    files = [RecordingFile(path, agreement.patch, agreement.spacing_mm) for path in paths]
    steps: list[int] = []
    exact, estimated = [torch.zeros(0)], [torch.zeros(0)]
    for batch in (part for file in files for part in _batches(file)):
        truth = _as_batch([recording.truth for recording in batch])
        probability = _as_batch([recording.probability for recording in batch]) / 255
        steps += [recording.step for recording in batch]
        exact.append(exact_f1(probability, truth, agreement.rule, (agreement.spacing_mm,) * 3))
        with torch.inference_mode():
            maps = (volume.to(saved.estimator.device) for volume in (probability, truth))
            estimated.append(saved.estimator(*maps).cpu())
    scores = [torch.cat(parts).double().numpy() for parts in (exact, estimated)]
    return Trajectory(folder.name, np.array(steps), *scores)


def _batches(file: RecordingFile) -> Iterator[list[Recording]]:
    for start in range(0, len(file), _BATCH):
        yield [file[index] for index in range(start, min(start + _BATCH, len(file)))]


def _as_batch(volumes: Sequence[np.ndarray]) -> Float[Tensor, "batch 1 d h w"]:
    return torch.from_numpy(np.stack(volumes))[:, None].float()
