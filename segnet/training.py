"""Training of the two-timepoint network: one of the losses, plus α (1 − F̂)."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datagen.errors import InputError
from datagen.lesions import Rule, score_lesions
from metricnet import runs
from metricnet.checkpoint import load_estimator
from metricnet.data import DrawSampler
from metricnet.loss import LesionWiseLoss
from segnet import preparation
from segnet.config import MIN_VOLUME_MM3, Schedule, TrainSettings
from segnet.data import LabelledScans, MixedDataset, PatchSample
from segnet.evaluation import dice_coefficient
from segnet.inference import find_lesions, label_volume, predict_probabilities
from segnet.losses import dice_loss
from segnet.objective import LossInputs, LossPlan, LossTerms, as_inputs, foreground, total_loss
from segnet.transfer import start_from
from segnet.unet import build_unet

SECTION = "segnet.train"
MONITOR = "validation/dice_and_f1"
_HALVINGS = (0.5, 0.7, 0.9)  # shares of the training (Zhang et al. 2021)


class CaseLoader:
    """Hands over whole cases, one by one, as they are."""

    def __init__(self, cases: Sequence[LabelledScans]) -> None:
        self._cases = cases

    def __iter__(self) -> Iterator[LabelledScans]:
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


class Optimisation(NamedTuple):
    """Adam's rate and weight decay, the course of the rate, and how long the training is."""

    learning_rate: float
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    epochs: int = 1
    steps_per_epoch: int = 1


class SegmentationTask(lightning.LightningModule):
    """One network, its loss, and the exact scores that are logged beside it."""

    def __init__(
        self,
        network: nn.Module,
        learned: LearnedTerm | None,
        plan: LossPlan,
        patch: int,
        optimisation: Optimisation,
    ) -> None:
        super().__init__()
        self.network, self._patch = network, patch
        self._plan, self._optimisation = plan, optimisation
        # in a list, the frozen estimator stays out of this module's checkpoints
        self._learned = [learned] if learned else []

    def on_fit_start(self) -> None:
        """Bring the estimator to the network's device."""
        for learned in self._learned:
            learned.to(self.device)

    def training_step(self, batch: PatchSample, _: int) -> Float[Tensor, ""]:
        """Return the loss of one batch, with α (1 − F̂) on top of it."""
        inputs = as_inputs(self.network(batch.visits), batch.truth, batch.maps)
        terms = total_loss(self._plan, inputs, self.current_epoch, self._optimisation.epochs)
        loss = terms.total
        self._log_terms(terms, inputs)
        for learned in self._learned:
            loss = loss + self._lesion_term(learned, inputs.probability, inputs.truth)
        runs.require_finite(loss, self.global_step)
        return loss

    def _log_terms(self, terms: LossTerms, inputs: LossInputs) -> None:
        """Log the Dice loss of the foreground whatever is minimised, and the parts of that."""
        if self._plan.loss == "dice" and not self._plan.with_background:
            self._log_mean("train/dice_loss", terms.region)
            return
        with torch.no_grad():
            dice = dice_loss(foreground(inputs.probability), foreground(inputs.truth))
        self._log_mean("train/dice_loss", dice)
        self._log_mean("train/loss", terms.total)
        self._log_mean(f"train/{self._plan.region_name()}", terms.region)
        if self._plan.loss != self._plan.region_name():
            other = terms.region.new_zeros(()) if terms.other is None else terms.other
            self._log_mean(f"train/{self._plan.loss}", other)
            self._log_mean("train/region_weight", torch.tensor(terms.region_weight))

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

    def validation_step(self, case: LabelledScans, _: int) -> None:
        """Log the scores of one whole case: the mean Dice of its classes, and the L-F1 of all."""
        scans = case.scans
        found = predict_probabilities(self.network, scans, self._patch, overlap=0.0)
        total = found.sum(axis=0)
        prediction = find_lesions(total, 0.5, MIN_VOLUME_MM3, scans.grid)
        labels = label_volume(found, 0.5) * prediction
        classes = range(1, len(found) + 1)
        dice = float(np.mean([dice_coefficient(case.labels == k, labels == k) for k in classes]))
        f1 = score_lesions(scans.truth, prediction).f1 or 0.0
        scores = {"validation/dice": dice, "validation/f1": f1, MONITOR: (dice + f1) / 2}
        self.log_dict(scores, batch_size=1, sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam with a first-moment decay of 0.9, as published; the rate may fall with each step."""
        chosen = self._optimisation
        optimizer = torch.optim.Adam(
            self.network.parameters(),
            chosen.learning_rate,
            betas=(0.9, 0.999),
            weight_decay=chosen.weight_decay,
        )
        steps = chosen.epochs * chosen.steps_per_epoch
        course: torch.optim.lr_scheduler.LRScheduler
        match chosen.schedule:
            case "constant":
                return {"optimizer": optimizer}
            case "cosine":
                course = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            case "halving":
                milestones = [round(steps * share) for share in _HALVINGS]
                course = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": course, "interval": "step"}}


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
    preparation.require_possible(settings)
    learned = _learned_term(settings)
    torch.manual_seed(settings.seed)
    network = build_unet(settings.network, settings.channels, settings.classes)
    if settings.init_from:
        start_from(network, settings.init_from, settings)
    training, validation = preparation.read_splits(settings)
    synthetic = preparation.read_synthetic(settings)
    plan = preparation.choose_losses(settings, [*training, *synthetic])
    real = preparation.patch_dataset(settings, training)
    made = preparation.patch_dataset(settings, synthetic) if synthetic else None
    last = runs.open_run(settings.out, SECTION, settings, settings.resume)
    if plan.map_kinds():
        folder = settings.distance_cache or settings.out / "distance_maps"
        for dataset, cases in ((real, training), (made, synthetic)):
            if dataset is not None:
                dataset.add_maps(preparation.read_maps(cases, plan, settings.classes, folder))
    optimisation = Optimisation(
        settings.learning_rate,
        settings.weight_decay,
        settings.schedule,
        settings.epochs,
        settings.steps_per_epoch,
    )
    task = SegmentationTask(network, learned, plan, settings.patch, optimisation)
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
        DataLoader(
            MixedDataset(real, made, settings.real_share),
            settings.batch,
            sampler=draws,
            num_workers=settings.loader_workers,
            persistent_workers=settings.loader_workers > 0,
        ),
        # a clean case scores 1 or 0, nothing between: among a few cases it would choose the epoch
        CaseLoader([case for case in validation if case.labels.any()] or validation),
        last,
    )
    return runs.read_history(settings.out)


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
