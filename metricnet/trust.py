"""The learned loss, each sample weighed by how close its estimate is to the exact score."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datagen.lesions import Rule
from metricnet.checkpoint import SavedEstimator, load_pretrained
from metricnet.config import TRUSTED_GAP
from metricnet.exact import CutMaps
from metricnet.loss import LesionWiseLoss


class TrustedValue(NamedTuple):
    """Value of the loss for one batch, and what it is made of: one number per sample and class.

    Estimated and exact score are those of the same cut, at the threshold of the sample.
    """

    loss: Float[Tensor, ""]
    estimated_f1: Float[Tensor, " patch"]
    exact_f1: Float[Tensor, " patch"]
    trust: Float[Tensor, " patch"]

    @property
    def gap(self) -> Float[Tensor, " patch"]:
        """Distance of estimate and exact score."""
        return (self.estimated_f1 - self.exact_f1).abs()


class TrustedLoss(nn.Module):
    """1 − F̂, each sample weighted by 1 − |F̂ − F| / `trusted_gap`, at least 0.

    An estimate that is as far as `trusted_gap` from the exact score of the thresholded patch
    teaches nothing. With `trusted_gap` None every estimate counts in full, as published. The exact
    score, by connected components, costs about a millisecond a patch.
    """

    def __init__(
        self,
        loss: LesionWiseLoss,
        rule: Rule,
        spacing_mm: float,
        trusted_gap: float | None = TRUSTED_GAP,
    ) -> None:
        """Take a loss, and the rule and spacing of the scores that its estimator learnt."""
        super().__init__()
        self.loss, self.rule, self.spacing_mm = loss, rule, (spacing_mm,) * 3
        self.trusted_gap = trusted_gap

    @classmethod
    def of(
        cls,
        saved: SavedEstimator,
        guided: bool = True,
        trusted_gap: float | None = TRUSTED_GAP,
        thresholds: tuple[float, float] = (0.3, 0.7),
        false_weight: float = 1.0,
    ) -> "TrustedLoss":
        """Return the loss of an estimator, with the rule and spacing it was trained for."""
        agreement = saved.agreement
        loss = LesionWiseLoss(saved.estimator, guided, thresholds, false_weight)
        return cls(loss, agreement.rule, agreement.spacing_mm, trusted_gap)

    @classmethod
    def pretrained(
        cls,
        rule: Rule = "overlap",
        trusted_gap: float | None = TRUSTED_GAP,
        false_weight: float = 1.0,
    ) -> "TrustedLoss":
        """Return the loss of the estimator that comes with the package; see `LesionWiseLoss`."""
        saved = load_pretrained(rule)
        return cls.of(saved, trusted_gap=trusted_gap, false_weight=false_weight)

    def forward(
        self,
        probability: Float[Tensor, "batch class d h w"],
        truth: Float[Tensor, "batch class d h w"],
    ) -> Float[Tensor, ""]:
        """Return the scalar loss in [0, 1], the mean over batch and classes."""
        loss: Tensor = self.measure(probability, truth).loss
        return loss

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def measure(
        self,
        probability: Float[Tensor, "batch class d h w"],
        truth: Float[Tensor, "batch class d h w"],
        first: int | None = None,
    ) -> TrustedValue:
        """Return the loss with estimate, exact score and trust, to be logged.

        Each class is a sample of its own to the estimate; the gradient is that of all of them.
        `first` counts the samples before these; see `LesionWiseLoss.at_thresholds`. Raises
        ValueError where `LesionWiseLoss` does.
        """
        self.loss.require_maps(probability, truth)
        probability, truth = (
            volume.as_subclass(Tensor).flatten(0, 1)[:, None] for volume in (probability, truth)
        )
        probability = self.loss.at_thresholds(probability, first)
        maps = CutMaps(probability, truth)
        estimated = self.loss.estimated_f1(probability, truth, maps)
        exact = torch.tensor(maps.f1(self.rule, self.spacing_mm), device=estimated.device)
        trust = self._trust((estimated.detach() - exact).abs())
        return TrustedValue((trust * (1 - estimated)).mean(), estimated, exact, trust)

    def _trust(self, gap: Float[Tensor, " patch"]) -> Float[Tensor, " patch"]:
        if self.trusted_gap is None:
            return torch.ones_like(gap)
        return (1 - gap / self.trusted_gap).clamp(min=0)
