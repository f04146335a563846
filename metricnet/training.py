"""Training of the estimator on a pair file."""

from typing import NamedTuple

import pytorch_lightning as lightning
import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from datagen.errors import InputError
from datagen.files import checksum
from datagen.store import Agreement, PairFile
from metricnet import launch, runs
from metricnet.agreement import Comparison, measure
from metricnet.checkpoint import FILE_NAME, SavedEstimator, load_estimator, save_estimator
from metricnet.config import TrainSettings
from metricnet.data import (
    TWO,
    DrawSampler,
    PairDataset,
    PairSample,
    dealt_together,
    load_draws,
)
from metricnet.estimator import LesionEstimator, lesion_f1
from metricnet.trainer import fit, keep_inputs, make_trainer, open_run, require_finite

_SECTION = "metricnet.train"
_BETWEEN = 0.75  # share of the twos of relatives that are shown a map between them
_FADED = 0.3  # share of the maps that are shown in part
_TINY = 1e-9


class Weights(NamedTuple):
    """Weights of the terms beside the MSE."""

    density: float
    contrast: float


class Seen(NamedTuple):
    """What the estimator is shown of a batch, and what it is to say."""

    shown: Float[Tensor, "batch 1 d h w"]
    f1: Float[Tensor, " batch"]
    densities: Float[Tensor, "batch 4 i j k"]


class EstimatorTask(lightning.LightningModule):
    """MSE on the exact score and on its differences, plus the structured form's dense targets."""

    def __init__(
        self, estimator: LesionEstimator, learning_rate: float, weights: Weights, steps: int
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self._learning_rate, self._weights, self._steps = learning_rate, weights, steps

    def training_step(self, batch: PairSample, _: int) -> Float[Tensor, ""]:
        """Return the loss of one batch."""
        seen = Seen(self.estimator.shown(batch.probability), batch.f1, batch.densities.float())
        if self.estimator.form == "structured":
            seen = faded(between_relatives(seen, batch.family))
        estimate = self.estimator.estimate(seen.shown, batch.truth)
        loss = error = functional.mse_loss(estimate.f1, seen.f1)
        if estimate.output is not None:
            dense = density_error(estimate.output, seen.densities)
            self.log("train/density_error", dense, on_step=False, on_epoch=True, sync_dist=True)
            loss = error + self._weights.density * dense
        if self._weights.contrast:
            contrast = contrast_error(estimate.f1, seen.f1, batch.family)
            self.log("train/contrast_error", contrast, on_step=False, on_epoch=True, sync_dist=True)
            loss = loss + self._weights.contrast * contrast
        require_finite(self._of_all_processes(loss), self.global_step)
        self.log("train/mse", error, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss

    def _of_all_processes(self, loss: Tensor) -> Tensor:
        """Mean loss of all processes, so that none goes on where another's is not finite."""
        if self._trainer is None or self.trainer.world_size == 1:
            return loss
        gathered: Tensor = self.all_gather(loss.detach())
        return gathered.mean()

    def validation_step(self, batch: PairSample, _: int) -> None:
        """Log the mean squared error on held-out patients."""
        error = functional.mse_loss(self.estimator(batch.probability, batch.truth), batch.f1)
        size = batch.f1.numel()
        self.log("validation/mse", error, batch_size=size, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> dict[str, object]:
        """AdamW with a short warm-up and a cosine end, stepped with every batch."""
        optimizer = torch.optim.AdamW(self.parameters(), self._learning_rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            self._learning_rate,
            total_steps=self._steps,
            pct_start=0.2 if self._steps == 10 else 0.1,  # of ten, a tenth divides by zero
            cycle_momentum=False,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _require_possible(settings: TrainSettings, agreement: Agreement, share: int) -> None:
    if settings.contrast_weight and share % TWO:
        raise InputError(
            f"--batch {settings.batch} gives each process {share} pairs, but they come in twos; "
            "give an even number to each, or --contrast-weight 0"
        )
    if settings.form == "structured" and agreement.rule == "geo":
        raise InputError(
            f"{settings.pairs} has scores by the rule 'geo', which the structured form cannot "
            "count: build the pairs by another --rule, or train --form published"
        )


def _first(settings: TrainSettings, agreement: Agreement) -> LesionEstimator:
    """Return a new estimator, or the one to begin with."""
    if settings.init_from is None:
        return LesionEstimator(settings.form, agreement.patch)
    saved = load_estimator(settings.init_from)
    if saved.estimator.form != settings.form:
        raise InputError(
            f"--init-from {settings.init_from} is of the form {saved.estimator.form}, but the "
            f"training asks for {settings.form}; give --form {saved.estimator.form}"
        )
    mine = f"estimator {settings.init_from}"
    saved.require(agreement, mine, f"pair file {settings.pairs}")
    return saved.estimator.train()


def density_error(
    output: Float[Tensor, "batch 4 i j k"], exact: Float[Tensor, "batch 4 i j k"]
) -> Float[Tensor, ""]:
    """Squared errors of the four maps, summed over a patch, averaged over the batch.

    Densities are compared by their square roots, where anything below 0 counts as 0 outside
    lesions; shares are compared where lesions are, each lesion with a weight of 1.
    """
    hit, missed, found, false = exact.unbind(1)
    density = torch.stack([hit + missed, found + false], dim=1)
    share = torch.stack([hit, false], dim=1) / density.clamp(min=_TINY)
    roots, shares = output[:, 0::2], output[:, 1::2]
    limited = torch.where(density > 0, roots, functional.relu(roots))
    error = (limited - density.sqrt()).square() + density * (shares - share).square()
    return error.sum(dim=(1, 2, 3, 4)).mean()


def between_relatives(seen: Seen, family: Integer[Tensor, " batch"]) -> Seen:
    """Replace the second of three in four twos of relatives, at random, by a map between the two.

    A map of which a share c is the one relative and 1 − c the other has that share of the
    densities of each: so the slope of the estimate along an edit is learnt, not only its ends.
    """
    second = torch.arange(1, len(family), 2, device=family.device)
    related = family[second] == family[second - 1]
    drawn = torch.rand(len(second)).to(seen.shown)
    is_mixed = related & (torch.rand(len(second)).to(drawn) < _BETWEEN)
    of_two = torch.where(is_mixed, drawn, 1.0)
    share = of_two.view(-1, 1, 1, 1, 1)
    shown, densities = seen.shown.clone(), seen.densities.clone()
    for maps, whole in ((shown, seen.shown), (densities, seen.densities)):
        maps[second] = share * whole[second] + (1 - share) * whole[second - 1]
    f1 = seen.f1.clone()
    f1[second] = torch.where(of_two < 1, lesion_f1(densities[second]), f1[second])
    return Seen(shown, f1, densities)


def faded(seen: Seen) -> Seen:
    """Show some maps in part: a map of which a share is there has that share of its lesions.

    So what the map shows counts in proportion however faint it is, not only along an edit.
    """
    drawn = torch.rand(len(seen.f1)).to(seen.shown)
    share = torch.where(torch.rand(len(drawn)).to(drawn) < _FADED, drawn, 1.0)
    hit, missed, found, false = seen.densities.unbind(1)
    part = share.view(-1, 1, 1, 1)
    densities = torch.stack([part * hit, missed + (1 - part) * hit, part * found, part * false], 1)
    f1 = torch.where(share < 1, lesion_f1(densities), seen.f1)
    return Seen(part[:, None] * seen.shown, f1, densities)


def contrast_error(
    estimated: Float[Tensor, " batch"],
    exact: Float[Tensor, " batch"],
    family: Integer[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Squared error of the difference between relatives, averaged over all twos of a batch.

    Samples 0 and 1 are a two, 2 and 3, and so on; a two of strangers counts as 0.
    """
    twos = len(exact) // 2
    error = (estimated - exact)[: 2 * twos].view(twos, 2)
    related = family[: 2 * twos].view(twos, 2)
    is_related = (related[:, 0] == related[:, 1]).float()
    return (is_related * (error[:, 0] - error[:, 1]).square()).sum() / max(twos, 1)


def train(settings: TrainSettings) -> Comparison:
    """Train, keep the best epoch by held-out MSE as `estimator.safetensors`, return its agreement.

    Raises InputError where the pair file or the run folder cannot be used.
    """
    with PairFile(settings.pairs) as file:
        agreement = file.agreement
    share = launch.share_of_batch(settings.batch, settings.devices)
    _require_possible(settings, agreement, share)
    draws = settings.steps_per_epoch * settings.batch
    training = PairDataset(settings.pairs, "train", settings.seed)
    held_out = PairDataset(settings.pairs, "validation")
    torch.manual_seed(settings.seed)
    estimator = _first(settings, agreement)
    inputs = {"--pairs": checksum([settings.pairs])}
    last = open_run(settings.out, _SECTION, settings, settings.resume)
    keep_inputs(settings.out, inputs, last is not None)
    steps = settings.epochs * settings.steps_per_epoch
    weights = Weights(settings.density_weight, settings.contrast_weight)
    task = EstimatorTask(estimator, settings.learning_rate, weights, steps)
    trainer = make_trainer(
        settings.out,
        epochs=settings.epochs,
        seed=settings.seed,
        monitor="validation/mse",
        mode="min",
        max_minutes=settings.max_minutes,
        precision=settings.precision,
        devices=settings.devices,
    )
    dealt = DrawSampler(draws, dealt_together(share))
    drawing = launch.drawing_processes(settings.loader_workers, settings.devices)
    loader = load_draws(training, share, dealt, runs.epochs_done(last), drawing)
    fit(trainer, task, loader, DataLoader(held_out, settings.batch), last)
    task.load_state_dict(runs.best_weights(settings.out))
    compared = measure(task.estimator.eval().to(trainer.strategy.root_device), settings.pairs)
    saved = SavedEstimator(task.estimator, agreement, compared.summary())
    if trainer.is_global_zero:
        save_estimator(settings.out / FILE_NAME, saved)
    return compared
