"""The learned term α (1 − F̂): when it is switched on, and how far its estimates are trusted."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datagen.errors import InputError
from datagen.lesions import Rule
from metricnet.checkpoint import load_estimator, load_pretrained
from metricnet.exact import exact_f1
from metricnet.loss import LesionWiseLoss
from segnet.config import TrainSettings


class Course(NamedTuple):
    """Course of α: 0 for some epochs of warm-up, then rising evenly to its full value."""

    alpha: float
    warmup_epochs: int = 0
    ramp_epochs: int = 0

    def at(self, epoch: int) -> float:
        """Weight in an epoch, counted from 0."""
        risen = (epoch - self.warmup_epochs + 1) / (self.ramp_epochs + 1)
        return self.alpha * min(max(risen, 0.0), 1.0)


class LearnedValue(NamedTuple):
    """Value of the term for one batch, and what it is made of: one number per sample, but α.

    Estimated and exact score are those of the same cut, at the threshold of the sample.
    """

    loss: Float[Tensor, ""]
    alpha: float
    estimated_f1: Float[Tensor, " batch"]
    exact_f1: Float[Tensor, " batch"]
    trust: Float[Tensor, " batch"]

    @property
    def gap(self) -> Float[Tensor, " batch"]:
        """Distance of estimate and exact score."""
        return (self.estimated_f1 - self.exact_f1).abs()


class LearnedTerm(nn.Module):
    """The frozen estimator's term α (1 − F̂), and the rule and spacing behind its labels.

    With `trusted_gap` each sample's term is weighted by 1 − |F̂ − F| / trusted_gap, at least 0: an
    estimate that is as far as that from the exact score of the thresholded patch teaches nothing.
    Without it every estimate counts in full, as published.
    """

    def __init__(
        self,
        loss: LesionWiseLoss,
        course: Course,
        rule: Rule,
        spacing_mm: float,
        trusted_gap: float | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.rule, self.spacing_mm = loss, rule, (spacing_mm,) * 3
        self._course, self._trusted_gap = course, trusted_gap

    def forward(
        self,
        probability: Float[Tensor, "batch 1 d h w"],
        truth: Float[Tensor, "batch 1 d h w"],
        epoch: int,
        first: int = 0,
    ) -> LearnedValue:
        """Weigh 1 − F̂ of each sample; no gradient while α is 0.

        `first` counts the samples before these: maps are cut at thresholds that change with it.
        """
        alpha = self._course.at(epoch)
        probability = self.loss.at_thresholds(probability, first)
        with torch.set_grad_enabled(alpha > 0):
            estimated = self.loss.estimated_f1(probability, truth)
        exact = exact_f1(probability, truth, self.rule, self.spacing_mm)
        trust = self._trust((estimated.detach() - exact).abs())
        loss = alpha * (trust * (1 - estimated)).mean()
        return LearnedValue(loss, alpha, estimated, exact, trust)

    def _trust(self, gap: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        if self._trusted_gap is None:
            return torch.ones_like(gap)
        return (1 - gap / self._trusted_gap).clamp(min=0)


def learned_term(settings: TrainSettings) -> LearnedTerm | None:
    """Return the term of a training, None where it has none.

    Raises InputError where the estimator cannot be read, or was trained for other patches.
    """
    if settings.estimator is None and not settings.alpha:
        return None
    saved = load_estimator(settings.estimator) if settings.estimator else load_pretrained()
    origin = settings.estimator or "of the package"
    # the structured form takes patches of any size
    fixed = ["spacing_mm"] if saved.estimator.form == "structured" else ["patch", "spacing_mm"]
    for name in fixed:
        trained, wanted = getattr(saved.agreement, name), getattr(settings, name)
        if trained != wanted:
            raise InputError(
                f"estimator {origin} was trained for {name} {trained}, but the training asks for "
                f"{wanted}; give --{name.replace('_', '-')} {trained}"
            )
    return LearnedTerm(
        LesionWiseLoss(saved.estimator, settings.guided_gradient),
        Course(settings.alpha, settings.alpha_warmup_epochs, settings.alpha_ramp_epochs),
        saved.agreement.rule,
        saved.agreement.spacing_mm,
        settings.trusted_gap if settings.trust_gate else None,
    )
