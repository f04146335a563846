"""How well estimated scores agree with exact ones on held-out patients."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from numpy.polynomial import Polynomial
from scipy import stats
from torch.utils.data import DataLoader

from datagen.errors import InputError
from datagen.store import PairFile
from metricnet.data import PairDataset
from metricnet.estimator import LesionEstimator

_BINS = 10
_ROUNDING = 1e-5
ERRORS = ("pairs", "mse", "mae", "mean_estimate", "bias")


class Comparison(NamedTuple):
    """Exact and estimated scores of the held-out pairs, beside two baselines.

    `constant` is the mean score of the training pairs, `soft_dice` a cubic regression of the score
    on the soft Dice coefficient, fitted on the training pairs. `style` is the pair file's column,
    `step` the training step of a recorded prediction, -1 where there was none.
    """

    exact: Float[np.ndarray, " pairs"]
    estimated: Float[np.ndarray, " pairs"]
    constant: Float[np.ndarray, " pairs"]
    soft_dice: Float[np.ndarray, " pairs"]
    style: np.ndarray
    step: Integer[np.ndarray, " pairs"]

    def summary(self) -> dict[str, float]:
        """Errors and correlations; correlations are 0 where one side does not vary."""
        error = self.estimated - self.exact
        return {
            "pairs": float(error.size),
            "mse": float(np.mean(error**2)),
            "mae": float(np.mean(np.abs(error))),
            "pearson": _correlation(stats.pearsonr, self.exact, self.estimated),
            "spearman": _correlation(stats.spearmanr, self.exact, self.estimated),
            "mse_constant_mean": float(np.mean((self.constant - self.exact) ** 2)),
            "mse_soft_dice_regression": float(np.mean((self.soft_dice - self.exact) ** 2)),
        }

    def by_group(self) -> list[dict[str, Any]]:
        """One row per style, and one per tenth of the trajectory of recorded predictions."""
        groups = {str(style): self.style == style for style in np.unique(self.style)}
        recorded = self.step >= 0
        tenths = self.step * _BINS // (self.step.max(initial=0) + 1)
        for tenth in np.unique(tenths[recorded]):
            groups[f"recorded, tenth {tenth + 1}"] = recorded & (tenths == tenth)
        return [{"group": name, **self._errors(chosen)} for name, chosen in groups.items()]

    def _errors(self, chosen: np.ndarray) -> dict[str, Any]:
        row: dict[str, Any] = {"pairs": int(chosen.sum())}
        if chosen.any():
            error = self.estimated[chosen] - self.exact[chosen]
            row |= {"mse": np.mean(error**2), "mae": np.mean(np.abs(error))}
            row |= {"mean_estimate": self.estimated[chosen].mean(), "bias": error.mean()}
        return row

    def by_bin(self) -> list[dict[str, Any]]:
        """One row per tenth of the exact score."""
        edges = np.linspace(0, 1, _BINS + 1)
        # a score is stored in 32 bits: 0.7 comes back as a little less
        of_pair = np.minimum((self.exact * _BINS + _ROUNDING).astype(int), _BINS - 1)
        rows = []
        for index in range(_BINS):
            chosen = of_pair == index
            limits = {"from": round(edges[index], 1), "to": round(edges[index + 1], 1)}
            rows.append(limits | self._errors(chosen))
        return rows


def measure(estimator: LesionEstimator, pairs: Path, split: str = "validation") -> Comparison:
    """Estimate every pair of a split and fit the baselines on the pairs of "train"."""
    held_out = PairDataset(pairs, split)
    estimated, exact = [], []
    with torch.inference_mode():
        for sample in DataLoader(held_out, 8):
            there = sample.to(estimator.device)
            estimated.append(estimator(there.probability, there.truth).cpu())
            exact.append(sample.f1)
    with PairFile(pairs) as file:
        splits, scores = file.column("split"), file.column("f1").astype(float)
        styles = file.column("style")
        steps = np.array([json.loads(text).get("step", -1) for text in file.column("parameters")])
        overlap = np.array([_soft_dice(*file.volumes(index)) for index in range(len(file))])
    fitted, chosen = splits == "train", splits == split
    if not fitted.any():
        raise InputError(f"{pairs} holds no pair of split 'train' to fit the baselines on")
    regression = Polynomial.fit(overlap[fitted], scores[fitted], 3, domain=[0, 1])
    return Comparison(
        torch.cat(exact).double().numpy(),
        torch.cat(estimated).double().numpy(),
        np.full(len(held_out), scores[fitted].mean()),
        np.clip(regression(overlap[chosen]), 0, 1),
        styles[chosen],
        steps[chosen].astype(int),
    )


def _soft_dice(truth: np.ndarray, probability: np.ndarray) -> float:
    """Dice coefficient of a probability map; 1 where both are empty."""
    scaled = probability.astype(np.float32) / 255
    total = float(truth.sum()) + float((scaled**2).sum())
    return 2 * float((truth * scaled).sum()) / total if total else 1.0


def _correlation(function: Any, first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(function(first, second).statistic)
