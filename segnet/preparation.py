"""What a training needs before its first step: cases, the plan of its losses, distance maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from datagen.cohort import of_split, read_cohort, split_by_patient
from datagen.errors import InputError
from datagen.progress import track
from segnet.config import TrainSettings
from segnet.data import LabelledScans, read_labelled_cases
from segnet.distances import cached_maps
from segnet.losses import class_weights
from segnet.objective import LossPlan


def require_possible(settings: TrainSettings) -> None:
    """Raise InputError for settings that exclude each other."""
    if settings.classes > 2 and settings.loss in ("blob", "lesion_f1"):
        raise InputError(f"--loss {settings.loss} needs --classes 2: it looks at one class alone")
    if settings.distance_cache and settings.distance_cache.is_file():
        raise InputError(f"--distance-cache {settings.distance_cache} is a file; name a folder")
    if settings.network in ("vnet", "dynunet") and settings.patch < 32:
        raise InputError(f"--network {settings.network} needs a --patch of at least 32")


def read_splits(settings: TrainSettings) -> tuple[list[LabelledScans], list[LabelledScans]]:
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
    spacing_mm, classes = settings.spacing_mm, settings.classes
    return (
        read_labelled_cases(training, spacing_mm, classes),
        read_labelled_cases(validation, spacing_mm, classes),
    )


def choose_losses(settings: TrainSettings, training: Sequence[LabelledScans]) -> LossPlan:
    """Return the plan of the losses; classes are counted where patches are cut, in the brains."""
    counts = [np.bincount(case.labels.ravel(), minlength=settings.classes) for case in training]
    voxels = [int(count) for count in np.sum(counts, axis=0)]
    weights = class_weights(voxels, settings.class_weight_exponent)
    return LossPlan(
        loss=settings.loss,
        region=settings.region,
        weight=settings.loss_weight,
        warmup_epochs=settings.loss_warmup_epochs,
        schedule=settings.region_schedule,
        step_epochs=settings.region_step_epochs,
        constant=settings.region_constant,
        floor=settings.region_floor,
        form=settings.loss_form,
        with_background=settings.include_background,
        difference=settings.difference,
        sign=settings.sog_sign,
        normalises_penalty=settings.penalty_scale == "normalised",
        class_weights=tuple(weights.tolist()) if settings.class_weights == "training_set" else None,
    )


def read_maps(
    training: Sequence[LabelledScans], plan: LossPlan, classes: int, folder: Path
) -> list[list[Float32[np.ndarray, "x y z"]]]:
    """Distance maps of each case as the plan orders them, cut to its brain's box, from disk."""
    cases = track(training, "distance maps", len(training))
    return [_maps_of(case, plan, classes, folder) for case in cases]


def _maps_of(
    case: LabelledScans, plan: LossPlan, classes: int, folder: Path
) -> list[Float32[np.ndarray, "x y z"]]:
    spacing_mm = case.scans.grid.spacing_mm
    kinds = plan.map_kinds()
    stored = [cached_maps(folder, case.whole, classes, spacing_mm, kind) for kind in kinds]
    return [channel[case.box] for maps in stored for channel in maps]
