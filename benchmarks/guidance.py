"""What each part of the guided slope does by itself: ascents on F̂ with every choice of parts."""

import itertools
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from benchmarks.machine import describe
from datagen.progress import track
from datagen.shell import SentenceCommand
from metricnet.attack import Attack, attack, joined
from metricnet.checkpoint import SavedEstimator, load_estimator, load_pretrained
from metricnet.data import PairDataset
from metricnet.estimator import LesionEstimator
from metricnet.exact import CutMaps
from metricnet.guidance import cut_into_pieces, estimate_with_slope
from metricnet.loss import LesionWiseLoss

_BATCH = 8
_PIECES, _LIMIT, _CUTS = "one slope a piece", "towards the truth", "cuts from 0.3 to 0.7"
_PARTS = (_PIECES, _LIMIT, _CUTS)


class PartlyGuided(LesionWiseLoss):
    """The guided loss with some of its parts; with all of them it is that loss."""

    def __init__(self, estimator: LesionEstimator, parts: frozenset[str]) -> None:
        super().__init__(estimator, thresholds=(0.3, 0.7) if _CUTS in parts else (0.5, 0.5))
        self.parts = parts

    def estimated_f1(
        self, probability: Tensor, truth: Tensor, maps: CutMaps | None = None
    ) -> Tensor:
        """Return F̂ of each sample, of one class."""
        if not (torch.is_grad_enabled() and probability.requires_grad):
            return super().estimated_f1(probability, truth, maps)
        f1: Tensor = _PartlyGuidedEstimate.apply(probability, truth, self.estimator, self.parts)
        return f1


class TruthAlone(LesionWiseLoss):
    """The pieces and the direction of the guidance, without an estimator's slope: the control."""

    def estimated_f1(
        self, probability: Tensor, truth: Tensor, maps: CutMaps | None = None
    ) -> Tensor:
        """Return F̂ of each sample, of one class; uphill is every lesion of the truth, no other."""
        f1 = super().estimated_f1(probability.detach(), truth, maps)
        pieces = cut_into_pieces(probability, truth, maps)
        slope = (pieces.number > 0) * (2 * truth - 1)
        straight = (slope * probability).flatten(1).sum(dim=1)
        return f1 + straight - straight.detach()


class _PartlyGuidedEstimate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        probability: Tensor,
        truth: Tensor,
        estimator: LesionEstimator,
        parts: frozenset[str],
    ) -> Tensor:
        f1, slope = estimate_with_slope(estimator, probability, truth)
        if _PIECES in parts:
            number = cut_into_pieces(probability, truth).number
            total = slope.new_zeros(int(number.max()) + 1).index_add(
                0, number.flatten(), slope.flatten()
            )
            mean = total / torch.bincount(number.flatten()).clamp(min=1)
            slope = torch.where(number > 0, mean[number], 0)
        if _LIMIT in parts:
            slope = torch.where(truth > 0, slope.clamp(min=0), slope.clamp(max=0))
        ctx.save_for_backward(slope)
        return f1

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return outer[0].view(-1, 1, 1, 1, 1) * slope, None, None, None


@click.command(cls=SentenceCommand)
@click.option("--pairs", type=click.Path(path_type=Path), required=True, help="Pair file.")
@click.option("--estimator", type=click.Path(path_type=Path), help="Default: the package's own.")
@click.option("--split", default="validation", help="Split of the pairs to start from.")
@click.option("--starts", type=int, default=48)
@click.option("--steps", type=int, default=40)
@click.option("--seed", type=int, default=0)
def main(
    pairs: Path, estimator: Path | None, split: str, starts: int, steps: int, seed: int
) -> None:
    """Print a table in Markdown."""
    saved = load_estimator(estimator) if estimator else load_pretrained()
    data = PairDataset(pairs, split)
    order = np.random.default_rng(seed).permutation(len(data))[:starts].tolist()
    print(f"{len(order)} starts of split {split}, {steps} steps of Adam, seed {seed}")
    print(describe())
    print("|", " | ".join(_PARTS), "| exact before | after | F̂ after | |F̂ - F| after |")
    print("|---" * (len(_PARTS) + 4) + "|")
    losses = [
        ("own gradient | | ", LesionWiseLoss(saved.estimator, guided=False)),
        ("no estimator | yes | yes", TruthAlone(saved.estimator, thresholds=(0.3, 0.7))),
    ]
    for count in range(len(_PARTS) + 1):
        for parts in itertools.combinations(_PARTS, count):
            marks = " | ".join("yes" if part in parts else "" for part in _PARTS)
            losses.append((marks, PartlyGuided(saved.estimator, frozenset(parts))))
    for name, loss in losses:
        row = ascend(loss, saved, data, order, steps).summary()
        keys = ("exact_before", "exact_after", "estimated_after", "gap_after")
        figures = " | ".join(f"{row[key]:.3f}" for key in keys)
        print(f"| {name} | {figures} |", flush=True)


def ascend(
    loss: LesionWiseLoss, saved: SavedEstimator, data: PairDataset, order: list[int], steps: int
) -> Attack:
    """Ascend from every start."""
    batches = [order[first : first + _BATCH] for first in range(0, len(order), _BATCH)]
    found = []
    for chosen in track(batches, f"ascents, {_BATCH} at a time", len(batches)):
        samples = default_collate([data[item] for item in chosen])
        found.append(attack(loss, saved.agreement, samples.probability, samples.truth, steps))
    return joined(found)


if __name__ == "__main__":
    main()
