"""Free ascent on F̂: does what raises the estimate raise the exact score?"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from datagen.lesions import score_lesions
from datagen.store import Agreement
from metricnet.estimator import LesionEstimator

_LIMIT = 1e-3  # from 0 and 1, where logits begin


class Attack(NamedTuple):
    """Exact and estimated scores before and after the ascent, one of each per start."""

    exact_before: Float[np.ndarray, " starts"]
    exact_after: Float[np.ndarray, " starts"]
    estimated_before: Float[np.ndarray, " starts"]
    estimated_after: Float[np.ndarray, " starts"]

    def summary(self) -> dict[str, float]:
        """Mean change of the exact score, and mean distance |F̂ - F| before and after."""
        return {
            "starts": float(self.exact_before.size),
            "exact_before": float(self.exact_before.mean()),
            "exact_after": float(self.exact_after.mean()),
            "estimated_after": float(self.estimated_after.mean()),
            "gap_before": float(np.abs(self.estimated_before - self.exact_before).mean()),
            "gap_after": float(np.abs(self.estimated_after - self.exact_after).mean()),
        }


def attack(
    estimator: LesionEstimator,
    agreement: Agreement,
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    steps: int = 40,
    rate: float = 0.1,
) -> Attack:
    """Raise F̂ of each map by Adam on the logits of its voxels; score it before and after."""
    logits = torch.logit(probability, eps=_LIMIT).requires_grad_()
    optimizer = torch.optim.Adam([logits], rate)
    with torch.inference_mode():
        before = estimator(probability, truth)
    for _ in range(steps):
        optimizer.zero_grad()
        (1 - estimator(torch.sigmoid(logits), truth)).sum().backward()
        optimizer.step()
    raised = torch.sigmoid(logits.detach())
    with torch.inference_mode():
        after = estimator(raised, truth)
    return Attack(
        _exact(probability, truth, agreement),
        _exact(raised, truth, agreement),
        before.double().numpy(),
        after.double().numpy(),
    )


def _exact(probability: Tensor, truth: Tensor, agreement: Agreement) -> np.ndarray:
    spacing_mm = (agreement.spacing_mm,) * 3
    masks = zip(truth[:, 0].numpy() > 0, probability[:, 0].numpy() >= 0.5, strict=True)
    scores = [score_lesions(a, b, agreement.rule, spacing_mm) for a, b in masks]
    return np.array([0.0 if score.f1 is None else score.f1 for score in scores])
