"""Free ascent on F̂: does what raises the estimate raise the exact score?"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from datagen.store import Agreement
from metricnet.devices import resolve_precision
from metricnet.exact import exact_f1
from metricnet.loss import LesionWiseLoss

_LIMIT = 1e-3  # from 0 and 1, where logits begin


class Attack(NamedTuple):
    """Exact and estimated scores before and after the ascent, one of each per start."""

    exact_before: Float[np.ndarray, " starts"]
    exact_after: Float[np.ndarray, " starts"]
    estimated_before: Float[np.ndarray, " starts"]
    estimated_after: Float[np.ndarray, " starts"]

    def summary(self) -> dict[str, float]:
        """Means of the scores, and of the distance |F̂ - F|, before and after."""
        return {
            "starts": float(self.exact_before.size),
            "exact_before": float(self.exact_before.mean()),
            "exact_after": float(self.exact_after.mean()),
            "estimated_before": float(self.estimated_before.mean()),
            "estimated_after": float(self.estimated_after.mean()),
            "gap_before": float(np.abs(self.estimated_before - self.exact_before).mean()),
            "gap_after": float(np.abs(self.estimated_after - self.exact_after).mean()),
        }


def attack(
    loss: LesionWiseLoss,
    agreement: Agreement,
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    steps: int = 40,
    rate: float = 0.1,
) -> Attack:
    """Raise F̂ of each map by Adam on the logits of its voxels; score it before and after.

    Nothing but the loss's own gradient holds the ascent back: no other loss, no network. Slopes are
    taken in bf16 where the processor computes in it, as in a training; scores are not.
    """
    logits = torch.logit(probability, eps=_LIMIT).requires_grad_()
    optimizer = torch.optim.Adam([logits], rate)
    is_half = resolve_precision("auto", probability.device.type) == "bf16"
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast(probability.device.type, torch.bfloat16, enabled=is_half):
            # each start by itself: the loss counts the lesions of a batch together
            losses = [
                loss(torch.sigmoid(own[None]), of[None])
                for own, of in zip(logits, truth, strict=True)
            ]
        sum(losses).backward()
        optimizer.step()
    raised = torch.sigmoid(logits.detach())
    spacing_mm = (agreement.spacing_mm,) * 3
    maps = probability, raised
    with torch.inference_mode():
        exact = [exact_f1(volume, truth, agreement.rule, spacing_mm) for volume in maps]
        estimated = [loss.estimated_f1(volume, truth) for volume in maps]
    return Attack(*(scores.cpu().double().numpy() for scores in (*exact, *estimated)))


def joined(attacks: list[Attack]) -> Attack:
    """The starts of several batches as one."""
    return Attack(*(np.concatenate(parts) for parts in zip(*attacks, strict=True)))
