"""The exact score of a batch, beside which every estimate is held."""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from datagen.lesions import Matching, Rule, match_lesions, score_lesions, score_matching
from metricnet.estimator import THRESHOLD


class CutMaps:
    """Truth and map of each sample of a batch, cut at one half, as masks on the CPU.

    Their lesions are found once, when they are first asked for: a GPU may be at work meanwhile.
    """

    def __init__(
        self, probability: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
    ) -> None:
        masks = torch.cat([truth > 0, probability.detach() >= THRESHOLD], dim=1)
        self._masks = masks.cpu().numpy()  # the only time that a GPU is waited for

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Samples, and the sides of each."""
        samples, _, *sides = self._masks.shape
        return (samples, *sides)

    @cached_property
    def matchings(self) -> list[Matching]:
        """Lesions of each sample and which of them are hit, under the rule "overlap"."""
        return [match_lesions(*both) for both in self._masks]

    def f1(self, rule: Rule, spacing_mm: tuple[float, float, float]) -> list[float]:
        """Exact L-F1 of each sample; where the rule gives none, 1 if nothing is predicted."""
        if rule == "msseg2":
            scores = [
                score_lesions(wanted, found, rule, spacing_mm) for wanted, found in self._masks
            ]
        else:
            scores = [score_matching(matching, rule) for matching in self.matchings]
        return [float(s.predicted_lesions == 0) if s.f1 is None else s.f1 for s in scores]


def exact_f1(
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    rule: Rule,
    spacing_mm: tuple[float, float, float],
) -> Float[Tensor, " batch"]:
    """Exact L-F1 of each sample's thresholded map; where the rule gives none, 1 if it is empty."""
    f1 = CutMaps(probability, truth).f1(rule, spacing_mm)
    return torch.tensor(f1, device=probability.device)
