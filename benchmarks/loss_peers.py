"""Each loss of two-channel logits beside the same loss by others, for the timing of losses."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import monai.losses as theirs
import numpy as np
import torch
from torch import Tensor

from segnet import losses
from segnet.distances import distance_maps
from segnet.losses.blob import number_lesions

Closure = Callable[[Tensor], Tensor]
_SPACING_MM = (1.0, 1.0, 1.0)


def pairs(
    labels: Tensor, gsl_code: Path | None, blob_code: Path | None
) -> list[tuple[str, Closure, str, Closure | None]]:
    """Losses of two-channel logits: name, ours, whose the other is, and the other."""
    truth = torch.cat([1 - labels, labels], 1)
    target = labels[:, 0].long()
    distance = maps_of(labels, "classes")
    penalty = maps_of(labels, "penalty")
    soft = lambda z: z.softmax(1)  # noqa: E731
    front = lambda z: z.softmax(1)[:, 1:]  # noqa: E731
    hausdorff = theirs.HausdorffDTLoss(include_background=True, softmax=True)
    squared = {"softmax": True, "squared_pred": True}
    rows: list[tuple[str, Closure, str, Closure | None]] = [
        (
            "Dice, over the batch",
            lambda z: losses.dice_loss(soft(z), truth),
            "MONAI",
            lambda z: theirs.DiceLoss(batch=True, **squared)(z, truth),
        ),
        (
            "Dice, per sample",
            lambda z: losses.dice_loss_per_sample(soft(z), truth),
            "MONAI",
            lambda z: theirs.DiceLoss(**squared)(z, truth),
        ),
        (
            "Dice-CE",
            lambda z: losses.dice_ce_loss(z, truth),
            "MONAI",
            lambda z: theirs.DiceCELoss(**squared)(z, truth),
        ),
        (
            "generalised Dice",
            lambda z: losses.generalised_dice_loss(soft(z), truth),
            "MONAI",
            lambda z: theirs.GeneralizedDiceLoss(softmax=True)(z, truth),
        ),
        (
            "Tversky",
            lambda z: losses.tversky_loss(soft(z), truth),
            "MONAI",
            lambda z: theirs.TverskyLoss(softmax=True, alpha=0.3, beta=0.7)(z, truth),
        ),
        (
            "focal",
            lambda z: losses.focal_loss(z, truth),
            "MONAI",
            lambda z: theirs.FocalLoss(use_softmax=True)(z, truth),
        ),
        (
            "cross entropy",
            lambda z: losses.cross_entropy(z, truth).mean(),
            "torch",
            lambda z: torch.nn.functional.cross_entropy(z, target),
        ),
        (
            "Hausdorff, one-sided",
            lambda z: losses.hausdorff_loss(soft(z), truth, distance),
            "MONAI, two-sided, maps at each step",
            lambda z: hausdorff(z, truth),
        ),
        (
            "boundary",
            lambda z: losses.boundary_loss(soft(z), distance),
            "MONAI, maps at each step",
            lambda z: theirs.BoundaryLoss(softmax=True)(z, truth),
        ),
        ("generalised surface", lambda z: losses.surface_loss(soft(z), truth, distance), "", None),
        (
            "distance-penalised CE",
            lambda z: losses.distance_penalised_ce_loss(z, truth, penalty),
            "",
            None,
        ),
        ("FOG", lambda z: losses.fog_loss(front(z), labels), "", None),
        ("SOG, two-sided", lambda z: losses.sog_loss(front(z), labels, True), "", None),
        (
            "confidence-penalised CE",
            lambda z: losses.confidence_penalised_ce_loss(z, truth),
            "",
            None,
        ),
        ("component-exact L-F1", lambda z: losses.lesion_f1_loss(front(z), labels), "", None),
    ]
    lesions = number_lesions(labels)
    rows.append(
        (
            "blob, lesions numbered before",
            lambda z: losses.blob_loss(z[:, 1:], lesions),
            *blob_peer(lesions, blob_code),
        )
    )
    return rows + (gsl_peers(labels, truth, distance, gsl_code) if gsl_code else [])


def maps_of(labels: Tensor, kind: Any) -> Tensor:
    volumes = labels[:, 0].byte().cpu().numpy()
    maps = [distance_maps(volume, 2, _SPACING_MM, kind) for volume in volumes]
    return torch.from_numpy(np.stack(maps)).to(labels.device)


def blob_peer(lesions: Tensor, code: Path | None) -> tuple[str, Closure | None]:
    """The authors' loop over lesions with the same criteria."""
    if not code:
        return "", None
    module = load(code)
    dice, entropy = theirs.DiceLoss(), torch.nn.BCELoss()

    def criterion(found: Tensor, wanted: Tensor) -> Tensor:
        return dice(found, wanted.float()) + entropy(found, wanted.float())

    def peer(z: Tensor) -> Tensor:
        return module.compute_blob_loss_multi(criterion, torch.sigmoid(z[:, 1:]), lesions)

    return "authors' code", peer


def gsl_peers(
    labels: Tensor, truth: Tensor, distance: Tensor, code: Path
) -> list[tuple[str, Closure, str, Closure | None]]:
    """Blends of one half as the authors' code computes them."""
    module, who = load(code), "authors' code"
    region = lambda z: 0.5 * losses.dice_ce_loss(z, truth, "code")  # noqa: E731
    gdl, dice = module.WeightedDiceLoss(None), module.DiceLoss()
    surface, boundary = module.GenSurfLoss(None), module.BoundaryLoss()
    one_sided = module.HDOneSidedLoss()
    return [
        (
            "Dice, per sample",
            lambda z: losses.dice_loss_per_sample(z.softmax(1), truth),
            who,
            lambda z: dice(labels, z),
        ),
        (
            "generalised Dice",
            lambda z: losses.generalised_dice_loss(z.softmax(1), truth),
            who,
            lambda z: gdl(labels, z),
        ),
        (
            "½ Dice-CE + ½ surface",
            lambda z: region(z) + 0.5 * losses.surface_loss(z.softmax(1), truth, distance),
            who,
            lambda z: surface(labels, z, distance, 0.5),
        ),
        (
            "½ Dice-CE + ½ boundary",
            lambda z: region(z) + 0.5 * losses.boundary_loss(z.softmax(1), distance),
            who,
            lambda z: boundary(labels, z, distance, 0.5),
        ),
        (
            "½ Dice-CE + ½ Hausdorff",
            lambda z: region(z) + 0.5 * losses.hausdorff_loss(z.softmax(1), truth, distance),
            who,
            lambda z: one_sided(labels, z, distance, 0.5),
        ),
    ]


def load(path: Path) -> ModuleType:
    """Import a file of a checkout that is not installed."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not spec or not spec.loader:
        raise click.UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
