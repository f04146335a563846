"""The learned term α (1 − F̂): which estimator it asks, and when it is switched on."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datagen.errors import InputError
from metricnet.checkpoint import load_estimator, load_pretrained
from metricnet.trust import TrustedLoss, TrustedValue
from segnet.config import TrainSettings


class Course(NamedTuple):
    """Course of α: 0 in a warm-up, rising evenly, at its full value, and falling evenly again.

    From epoch `end` on, counted from 0, it is 0; None: it never falls.
    """

    alpha: float
    warmup_epochs: int = 0
    ramp_epochs: int = 0
    end: int | None = None

    def at(self, epoch: int) -> float:
        """Weight in an epoch, counted from 0."""
        steps = self.ramp_epochs + 1
        risen = (epoch - self.warmup_epochs + 1) / steps
        left = 1.0 if self.end is None else (self.end - epoch) / steps
        return self.alpha * min(max(min(risen, left), 0.0), 1.0)


class LearnedValue(NamedTuple):
    """Loss of one batch, the weight α of that epoch, and what the estimator said of each sample."""

    loss: Float[Tensor, ""]
    alpha: float
    measured: TrustedValue


class LearnedTerm(nn.Module):
    """The frozen estimator's term α (1 − F̂), in the course of a training."""

    def __init__(self, trusted: TrustedLoss, course: Course) -> None:
        super().__init__()
        self.trusted, self._course = trusted, course

    @property
    def false_weight(self) -> float:
        """How many times a false lesion counts to the slope."""
        return self.trusted.loss.false_weight

    def forward(
        self,
        probability: Float[Tensor, "batch class d h w"],
        truth: Float[Tensor, "batch class d h w"],
        epoch: int,
        first: int = 0,
    ) -> LearnedValue:
        """Weigh 1 − F̂ of each sample; no gradient while α is 0.

        `first` counts the samples before these: maps are cut at thresholds that change with it.
        """
        alpha = self._course.at(epoch)
        with torch.set_grad_enabled(alpha > 0):
            measured = self.trusted.measure(probability, truth, first)
        return LearnedValue(alpha * measured.loss, alpha, measured)


def learned_term(settings: TrainSettings, false_weight: float = 1.0) -> LearnedTerm | None:
    """Return the term of a training, None where it has none; see `LesionWiseLoss` for the weight.

    Raises InputError where the estimator cannot be read, or was trained for other patches.
    """
    if settings.estimator is None and not settings.alpha:
        return None
    saved = load_estimator(settings.estimator) if settings.estimator else load_pretrained()
    origin = settings.estimator or "of the package"
    fixed = ["spacing_mm"] if saved.takes_any_patch else ["patch", "spacing_mm"]
    for name in fixed:
        trained, wanted = getattr(saved.agreement, name), getattr(settings, name)
        if trained != wanted:
            raise InputError(
                f"estimator {origin} was trained for {name} {trained}, but the training asks for "
                f"{wanted}; give --{name.replace('_', '-')} {trained}"
            )
    gap = settings.trusted_gap if settings.trust_gate else None
    cuts = settings.lowest_cut, settings.highest_cut
    if cuts[0] > cuts[1]:
        raise InputError("--lowest-cut {:g} lies above --highest-cut {:g}".format(*cuts))
    return LearnedTerm(
        TrustedLoss.of(saved, settings.guided_gradient, gap, cuts, false_weight),
        course_of(settings),
    )


def course_of(settings: TrainSettings) -> Course:
    """Course of α over the epochs of a training."""
    finish = round(settings.epochs * settings.alpha_finish_share)
    return Course(
        settings.alpha,
        settings.alpha_warmup_epochs,
        settings.alpha_ramp_epochs,
        settings.epochs - finish if finish else None,
    )


def say_of_weight(learned: LearnedTerm | None) -> str:
    """Return the end of a line that tells how often a false lesion counts, where not once."""
    if learned is None or learned.false_weight == 1:
        return ""
    return f"; to F̂ a false lesion counts {learned.false_weight:g} times"
