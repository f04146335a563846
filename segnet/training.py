"""Training of the two-timepoint network with `Dice + α (1 − F̂)`."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datagen.cohort import of_split, read_cohort, split_by_patient
from datagen.errors import InputError
from datagen.lesions import Rule, score_lesions
from datagen.scans import Scans
from metricnet import runs
from metricnet.checkpoint import load_estimator
from metricnet.data import DrawSampler
from metricnet.loss import LesionWiseLoss
from segnet.config import MIN_VOLUME_MM3, TrainSettings
from segnet.data import PatchDataset, PatchSample, read_cases
from segnet.evaluation import dice_coefficient
from segnet.inference import find_lesions, predict_probability
from segnet.losses import dice_loss
from segnet.unet import build_unet

SECTION = "segnet.train"
MONITOR = "validation/dice_and_f1"


class CaseLoader:
    """Hands over whole cases, one by one, as they are."""

    def __init__(self, cases: Sequence[Scans]) -> None:
        self._cases = cases

    def __iter__(self) -> Iterator[Scans]:
        return iter(self._cases)

    def __len__(self) -> int:
        return len(self._cases)


class LearnedTerm(nn.Module):
    """The frozen estimator's term α (1 − F̂), silent for its warm-up, and the rule behind it."""

    def __init__(
        self, loss: LesionWiseLoss, alpha: float, warmup_epochs: int, rule: Rule, spacing_mm: float
    ) -> None:
        super().__init__()
        self.loss, self.rule, self.spacing_mm = loss, rule, (spacing_mm,) * 3
        self._alpha, self._warmup_epochs = alpha, warmup_epochs

    def alpha(self, epoch: int) -> float:
        """Weight in an epoch, counted from 0."""
        return self._alpha if epoch >= self._warmup_epochs else 0.0


class SegmentationTask(lightning.LightningModule):
    """One network, its loss, and the exact scores that are logged beside it."""

    def __init__(
        self,
        network: nn.Module,
        learned: LearnedTerm | None,
        patch: int,
        learning_rate: float,
        cosine_steps: int | None,
    ) -> None:
        super().__init__()
        self.network, self._patch = network, patch
        self._learning_rate, self._cosine_steps = learning_rate, cosine_steps
        # in a list, the frozen estimator stays out of this module's checkpoints
        self._learned = [learned] if learned else []

    def on_fit_start(self) -> None:
        """Bring the estimator to the network's device."""
        for learned in self._learned:
            learned.to(self.device)

    def training_step(self, batch: PatchSample, _: int) -> Float[Tensor, ""]:
        """Return `Dice + α (1 − F̂)` of one batch."""
        probability = torch.sigmoid(self.network(batch.visits).float())
        loss = dice_loss(probability, batch.truth)
        self._log_mean("train/dice_loss", loss)
        for learned in self._learned:
            loss = loss + self._lesion_term(learned, probability, batch.truth)
        runs.require_finite(loss, self.global_step)
        return loss

    def _lesion_term(
        self, learned: LearnedTerm, probability: Tensor, truth: Tensor
    ) -> Float[Tensor, ""]:
        alpha = learned.alpha(self.current_epoch)
        with torch.set_grad_enabled(alpha > 0):
            estimated = learned.loss.estimated_f1(probability, truth)
        exact = exact_f1(probability, truth, learned.rule, learned.spacing_mm)
        self._log_mean("train/alpha", torch.tensor(alpha))
        self._log_mean("train/estimated_f1", estimated.mean())
        self._log_mean("train/exact_f1", exact.mean())
        self._log_mean("train/gap", (estimated - exact).abs().mean())
        return alpha * (1 - estimated.mean())

    def _log_mean(self, name: str, value: Tensor) -> None:
        self.log(name, value.detach(), on_step=False, on_epoch=True, sync_dist=True)

    def validation_step(self, scans: Scans, _: int) -> None:
        """Log the scores of one whole case."""
        probability = predict_probability(self.network, scans, self._patch, overlap=0.0)
        prediction = find_lesions(probability, 0.5, MIN_VOLUME_MM3, scans.grid)
        dice = dice_coefficient(scans.truth, prediction)
        f1 = score_lesions(scans.truth, prediction).f1 or 0.0
        scores = {"validation/dice": dice, "validation/f1": f1, MONITOR: (dice + f1) / 2}
        self.log_dict(scores, batch_size=1, sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam with a first-moment decay of 0.9, as published; the rate may fall along a cosine."""
        parameters = self.network.parameters()
        optimizer = torch.optim.Adam(parameters, self._learning_rate, betas=(0.9, 0.999))
        if self._cosine_steps is None:
            return {"optimizer": optimizer}
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._cosine_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}


def exact_f1(
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    rule: Rule,
    spacing_mm: tuple[float, float, float],
) -> Float[Tensor, " batch"]:
    """Exact L-F1 of each sample's thresholded map; where the rule gives none, 1 if it is empty."""
    predicted = (probability[:, 0].detach() >= 0.5).cpu().numpy()
    scores = [
        score_lesions(wanted, found, rule, spacing_mm)
        for wanted, found in zip(truth[:, 0].cpu().numpy() > 0, predicted, strict=True)
    ]
    f1 = [float(s.predicted_lesions == 0) if s.f1 is None else s.f1 for s in scores]
    return torch.tensor(f1, device=probability.device)


def train(settings: TrainSettings) -> list[dict[str, float]]:
    """Train a network on a cohort; return the history, one row per epoch.

    The best epoch by the mean of Dice and exact L-F1 on whole validation cases with new lesions
    (all of them where none has any) is kept as `best.ckpt`. Raises InputError where the cohort, the
    estimator or the run folder cannot be used.
    """
    learned = _learned_term(settings)
    training, validation = _read_splits(settings)
    dataset = PatchDataset(training, settings.patch, settings.lesion_share, settings.seed)
    last = runs.open_run(settings.out, SECTION, settings, settings.resume)
    torch.manual_seed(settings.seed)
    network = build_unet(settings.network, settings.channels)
    steps = settings.epochs * settings.steps_per_epoch
    task = SegmentationTask(
        network,
        learned,
        settings.patch,
        settings.learning_rate,
        cosine_steps=steps if settings.schedule == "cosine" else None,
    )
    draws = DrawSampler(settings.steps_per_epoch * settings.batch)
    trainer = runs.make_trainer(
        settings.out,
        epochs=settings.epochs,
        seed=settings.seed,
        monitor=MONITOR,
        mode="max",
        max_minutes=settings.max_minutes,
        precision=settings.precision,
        devices=settings.devices,
    )
    runs.fit(
        trainer,
        task,
        DataLoader(dataset, settings.batch, sampler=draws),
        # a clean case scores 1 or 0, nothing between: among a few cases it would choose the epoch
        CaseLoader([scans for scans in validation if scans.truth.any()] or validation),
        last,
    )
    return runs.read_history(settings.out)


def _read_splits(settings: TrainSettings) -> tuple[list[Scans], list[Scans]]:
    """Read the cases to train on and those to validate on, patients apart."""
    rng = np.random.default_rng(settings.seed)
    cases = split_by_patient(read_cohort(settings.cohort), settings.validation_fraction, rng)
    unknown = next((case.name for case in cases if case.split != "test" and not case.truth), None)
    if unknown:
        raise InputError(f"{settings.cohort}: case {unknown} has no truth to train on")
    try:
        training, validation = (of_split(cases, split) for split in ("train", "validation"))
    except InputError as error:
        raise InputError(f"{settings.cohort}: {error}") from error
    return read_cases(training, settings.spacing_mm), read_cases(validation, settings.spacing_mm)


def _learned_term(settings: TrainSettings) -> LearnedTerm | None:
    if settings.estimator is None:
        if settings.alpha > 0:
            raise InputError("--alpha above 0 needs --estimator; train one with 'metricnet train'")
        return None
    saved = load_estimator(settings.estimator)
    for name in ("patch", "spacing_mm"):
        trained, wanted = getattr(saved.agreement, name), getattr(settings, name)
        if trained != wanted:
            raise InputError(
                f"estimator {settings.estimator} was trained for {name} {trained}, but the "
                f"training asks for {wanted}; give --{name.replace('_', '-')} {trained}"
            )
    return LearnedTerm(
        LesionWiseLoss(saved.estimator),
        settings.alpha,
        settings.alpha_warmup_epochs,
        saved.agreement.rule,
        saved.agreement.spacing_mm,
    )
