"""Training of the two-timepoint network: one of the losses, plus α (1 − F̂)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import click
import numpy as np
import pytorch_lightning as lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn

from datagen.lesions import score_lesions
from metricnet import launch, runs
from metricnet.config import Precision
from metricnet.data import DrawSampler, load_draws
from metricnet.trainer import fit, keep_inputs, make_trainer, open_run, require_finite
from segnet import preparation
from segnet.config import MIN_VOLUME_MM3, Schedule, TrainSettings
from segnet.data import CaseLoader, LabelledScans, PatchSample
from segnet.early_stop import EarlyStop, first_whole_epoch
from segnet.evaluation import dice_coefficient
from segnet.inference import label_volume, lesion_mask, predict_probabilities
from segnet.learned import LearnedTerm, learned_term, say_of_weight
from segnet.losses import dice_loss
from segnet.objective import LossInputs, LossPlan, LossTerms, as_inputs, foreground, total_loss
from segnet.operating_point import FILE_NAME as POINT
from segnet.operating_point import choose_point, save_point
from segnet.recording import FOLDER, Recorder
from segnet.transfer import start_from
from segnet.unet import build_unet

SECTION = "segnet.train"
MONITOR = "validation/dice_and_f1"
_HALVINGS = (0.5, 0.7, 0.9)  # shares of the training (Zhang et al. 2021)


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
        recorder: Recorder | None = None,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        self.network, self._patch, self._recorder = network, patch, recorder
        self._plan, self._optimisation, self._precision = plan, optimisation, precision
        # in a list, the frozen estimator stays out of this module's checkpoints
        self._learned = [learned] if learned else []
        self._scores: list[tuple[float, float]] = []

    def on_fit_start(self) -> None:
        """Bring the estimator to the network's device."""
        for learned in self._learned:
            learned.to(self.device)

    def training_step(self, batch: PatchSample, _: int) -> Float[Tensor, ""]:
        """Return the loss of one batch, with α (1 − F̂) on top of it."""
        logits, batch = self._of_all_processes(self.network(batch.visits), batch)
        inputs = as_inputs(logits, batch.truth, batch.maps)
        terms = total_loss(self._plan, inputs, self.current_epoch, self._optimisation.epochs)
        loss = terms.total
        self._log_terms(terms, inputs)
        for learned in self._learned:
            loss = loss + self._lesion_term(learned, inputs.probability, inputs.truth)
        require_finite(loss, self.global_step)
        if self._recorder and self.trainer.is_global_zero:
            found = foreground(inputs.probability).sum(dim=1, keepdim=True)
            self._recorder.take(self.global_step, found, batch.truth, batch.case)
        return loss

    def on_train_epoch_end(self) -> None:
        """Write what is recorded, before the epoch's checkpoint says that it is done."""
        if self._recorder and self.trainer.is_global_zero:
            self._recorder.write()

    def _of_all_processes(self, logits: Tensor, batch: PatchSample) -> tuple[Tensor, PatchSample]:
        """Logits of the whole batch, and its truth, cases and maps, in the order of its draws.

        A loss over the batch is not the mean of losses over its parts, so each process computes
        that of the whole; gradients flow into its own part alone and are added up.
        """
        if self._trainer is None or self.trainer.world_size == 1:
            return logits, batch
        parts = (logits, batch.truth, batch.case, batch.maps)
        gathered = (self.all_gather(part, sync_grads=part is logits) for part in parts)
        # process r holds the draws r, r + processes, ...
        logits, truth, case, maps = (part.transpose(0, 1).flatten(0, 1) for part in gathered)
        return logits, batch._replace(truth=truth, case=case, maps=maps)

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
        maps = [foreground(volume) for volume in (probability, truth)]
        samples = maps[0].shape[0] * maps[0].shape[1]
        value = learned(*maps, self.current_epoch, self.global_step * samples)
        self._log_mean("train/alpha", torch.tensor(value.alpha))
        for name in ("estimated_f1", "exact_f1", "gap", "trust"):
            self._log_mean(f"train/{name}", getattr(value.measured, name).mean())
        if self.logger:
            # step by step, beside the means of the epochs
            shown = {"step/gap": value.measured.gap, "step/trust": value.measured.trust}
            means = {name: values.mean() for name, values in shown.items()}
            self.logger.log_metrics(means, self.global_step)
        loss: Tensor = value.loss
        return loss

    def _log_mean(self, name: str, value: Tensor) -> None:
        # processes on GPUs add up nothing that lies elsewhere
        value = value.detach().to(self.device)
        self.log(name, value, on_step=False, on_epoch=True, sync_dist=True)

    def validation_step(self, case: LabelledScans, index: int) -> None:
        """Score a whole case; several processes take turns, and add up what each has found."""
        is_own = index % self.trainer.world_size == self.trainer.global_rank
        self._scores.append(self.score(case) if is_own else (0.0, 0.0))

    def on_validation_epoch_end(self) -> None:
        """Log the means over all cases: of the Dice of their classes, of L-F1, and of both."""
        scores = torch.tensor(self._scores, device=self.device)
        self._scores.clear()
        dice, f1 = self.trainer.strategy.reduce(scores, reduce_op="sum").mean(dim=0)
        means = {"validation/dice": dice, "validation/f1": f1, MONITOR: (dice + f1) / 2}
        self.log_dict(means, sync_dist=True, prog_bar=True)

    def score(self, case: LabelledScans) -> tuple[float, float]:
        """Mean Dice of a case's classes, and the exact L-F1 of all of them together."""
        scans = case.scans
        found = predict_probabilities(
            self.network, scans, self._patch, overlap=0.0, precision=self._precision
        )
        total = found.sum(axis=0)
        prediction = lesion_mask(total, 0.5, MIN_VOLUME_MM3, scans.grid)
        labels = label_volume(found, 0.5) * prediction
        classes = range(1, len(found) + 1)
        dice = np.mean([dice_coefficient(case.labels == k, labels == k) for k in classes])
        return float(dice), score_lesions(scans.truth, prediction).f1 or 0.0

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


def require_possible(settings: TrainSettings) -> None:
    """Raise InputError for settings that no training can be begun with, whatever its cases."""
    preparation.require_possible(settings)
    launch.share_of_batch(settings.batch, settings.devices)
    learned_term(settings)


def train(settings: TrainSettings) -> list[dict[str, float]]:
    """Train a network on a cohort; return the history, one row per epoch.

    The best epoch by the mean of Dice and exact L-F1 on whole validation cases with new lesions is
    kept as `best.ckpt`; on them its threshold and smallest lesion are chosen. Several processes
    share each batch and compute what one would, but for the batch normalisation of V-Net, which
    sees the share alone. Raises InputError where the cohort, the estimator or the run folder cannot
    be used.
    """
    require_possible(settings)
    share = launch.share_of_batch(settings.batch, settings.devices)
    torch.manual_seed(settings.seed)
    network = build_unet(settings.network, settings.channels, settings.classes)
    # a training that goes on takes its weights from its own checkpoint
    if settings.init_from and not (settings.out / runs.LAST).is_file():
        start_from(network, settings.init_from, settings)
    training, validation = preparation.read_splits(settings)
    judged = preparation.choose_judges(validation)
    synthetic = preparation.read_synthetic(settings)
    drawn_from = [*training, *synthetic]
    plan = preparation.choose_losses(settings, drawn_from)
    dataset = preparation.mixed_dataset(settings, training, synthetic)
    weight = preparation.weigh_false(settings, dataset, training, synthetic)
    learned = learned_term(settings, weight)
    last = open_run(settings.out, SECTION, settings, settings.resume)
    if last:
        preparation.require_same_cases(settings)
    inputs = preparation.checksums_of(settings, [*training, *validation], synthetic)
    keep_inputs(settings.out, inputs, last is not None)
    if plan.map_kinds():
        folder = settings.distance_cache or settings.out / "distance_maps"
        dataset.add_maps(preparation.read_maps(drawn_from, plan, settings.classes, folder))
    # that of the epochs so far is not that of the network to come
    (settings.out / POINT).unlink(missing_ok=True)
    recorder = _recorder(settings, drawn_from)
    task = SegmentationTask(
        network,
        learned,
        plan,
        settings.patch,
        _optimisation(settings),
        recorder,
        settings.precision,
    )
    trainer = _trainer(settings)
    draws = DrawSampler(settings.steps_per_epoch * settings.batch)
    drawing = launch.drawing_processes(settings.loader_workers, settings.devices)
    loader = load_draws(dataset, share, draws, runs.epochs_done(last), drawing)
    if trainer.is_global_zero:
        preparation.write_splits(settings)
        told = preparation.say_of_cases(settings, training, synthetic, validation)
        click.echo(told + say_of_weight(learned), err=True)
    fit(trainer, task, loader, CaseLoader(judged), last)
    if trainer.is_global_zero:
        task.load_state_dict(runs.best_weights(settings.out))
        best = task.network.to(trainer.strategy.root_device).eval()
        save_point(settings.out, choose_point(best, judged, settings.patch, settings.precision))
    trainer.strategy.barrier()  # the first process writes what the others read
    return runs.read_history(settings.out)


def _optimisation(settings: TrainSettings) -> Optimisation:
    return Optimisation(
        settings.learning_rate,
        settings.weight_decay,
        settings.schedule,
        settings.epochs,
        settings.steps_per_epoch,
    )


def _trainer(settings: TrainSettings) -> lightning.Trainer:
    trainer = make_trainer(
        settings.out,
        epochs=settings.epochs,
        seed=settings.seed,
        monitor=MONITOR,
        mode="max",
        max_minutes=settings.max_minutes,
        precision=settings.precision,
        devices=settings.devices,
    )
    stop = EarlyStop(MONITOR, settings.patience, first_whole_epoch(settings))
    trainer.callbacks.insert(0, stop)
    return trainer


def _recorder(settings: TrainSettings, drawn_from: Sequence[LabelledScans]) -> Recorder | None:
    if not settings.record_predictions:
        return None
    draws = settings.epochs * settings.steps_per_epoch * settings.batch
    cases = [case.case for case in drawn_from]
    folder = settings.out / FOLDER
    return Recorder(folder, cases, settings.spacing_mm, draws, settings.recorded_patches)
