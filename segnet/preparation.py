"""What a training needs before its first step: cases, the plan of its losses, distance maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from datagen.cohort import (
    VANISHED,
    is_reversed,
    of_split,
    read_cohort,
    split_by_patient,
    with_reversed_visits,
    write_cohort,
)
from datagen.config import require_free
from datagen.errors import InputError
from datagen.files import checksum, read_table
from datagen.layouts import Case
from datagen.lenders import read_lenders
from datagen.progress import track
from datagen.wording import counted
from metricnet.checkpoint import estimator_file, pretrained_file
from segnet import seen
from segnet.config import TrainSettings
from segnet.data import LabelledScans, MixedDataset, PatchDataset, PatchOptions
from segnet.distances import cached_maps
from segnet.excess import excess_of_lesions
from segnet.losses import class_weights
from segnet.objective import LossPlan
from segnet.scan_cache import read_cached_cases
from segnet.splits import with_active_validation


def require_possible(settings: TrainSettings) -> None:
    """Raise InputError for settings that exclude each other."""
    if settings.classes > 2 and settings.loss in ("blob", "lesion_f1"):
        raise InputError(f"--loss {settings.loss} needs --classes 2: it looks at one class alone")
    plan = LossPlan(loss=settings.loss, region=settings.region)
    if settings.classes > 2 and plan.region_name() == "bce":
        raise InputError("bce needs --classes 2: of more, each voxel has exactly one")
    if settings.synthetic and not 0 < settings.real_share < 1:
        raise InputError(
            f"--synthetic needs a --real-share between 0 and 1, got {settings.real_share:g}; to "
            "train on synthetic cases alone, give them as --cohort"
        )
    # the list of the run's cases would replace, or become, a cohort's own
    if settings.out.resolve() == settings.cohort.resolve():
        raise InputError(f"--out {settings.out} is the cohort's own folder; choose another")
    require_free(settings.out, [seen.LIST])
    if settings.scan_cache and settings.scan_cache.is_file():
        raise InputError(f"--scan-cache {settings.scan_cache} is a file; name a folder")
    if settings.distance_cache and settings.distance_cache.is_file():
        raise InputError(f"--distance-cache {settings.distance_cache} is a file; name a folder")
    if settings.network in ("vnet", "dynunet") and settings.patch < 32:
        raise InputError(f"--network {settings.network} needs a --patch of at least 32")


def write_splits(settings: TrainSettings) -> None:
    """Write the cohort into the run folder, with the split that each case has in this training."""
    write_cohort(_with_splits(settings), settings.out / seen.LIST)


def require_same_cases(settings: TrainSettings) -> None:
    """Raise InputError where a run that goes on would train on other cases than it began with."""
    listed = settings.out / seen.LIST
    if not listed.is_file():
        return
    begun = {(row.get("case"), row.get("split")) for row in read_table(listed)}
    now = {(case.name, case.split) for case in _with_splits(settings)}
    if changed := sorted(str(name) for name, _ in begun ^ now):
        raise InputError(
            f"{settings.cohort}: {changed[0]} is new, gone or in another split than in {listed}, "
            "with which the training was begun; restore it, or begin anew with another --out"
        )


def checksums_of(
    settings: TrainSettings, real: Sequence[LabelledScans], synthetic: Sequence[LabelledScans]
) -> dict[str, str]:
    """Checksums of what a training learns from, by the setting that names it."""
    inputs = {"--cohort": _checksum_of(real)}
    if synthetic:
        inputs["--synthetic"] = _checksum_of(synthetic)
    if settings.estimator:
        inputs["--estimator"] = checksum([estimator_file(settings.estimator)])
    elif settings.alpha:
        with pretrained_file() as path:
            inputs["--estimator"] = checksum([path])
    return inputs


def _checksum_of(cases: Sequence[LabelledScans]) -> str:
    """Checksum of the names and files of cases, in whatever order they come."""
    ordered = sorted((one.case for one in cases), key=lambda case: case.name)
    files = [(case.time1, case.time2, case.truth, case.brain_mask) for case in ordered]
    there = [path for paths in files for path in paths if path]
    return checksum(there, "\n".join(case.name for case in ordered))


def read_splits(settings: TrainSettings) -> tuple[list[LabelledScans], list[LabelledScans]]:
    """Read the cases to train on and those to validate on, patients apart."""
    training, validation = (_of_split(settings, split) for split in ("train", "validation"))
    if settings.reverse_visits:
        training = _in_both_orders(training)
    return _read(settings, training), _read(settings, validation)


def read_synthetic(settings: TrainSettings) -> list[LabelledScans]:
    """Read the synthetic cases to train on; none where none are asked for.

    Cases of other splits than "train" are left out, and those that were made of a scan or of a
    lesion of a patient whom the cohort validates on or tests. Raises InputError where none remains.
    """
    if settings.synthetic is None:
        return []
    held_out = {case.patient for case in _with_splits(settings) if case.split != "train"}
    lenders = read_lenders(settings.synthetic)
    cases = [
        case
        for case in read_cohort(settings.synthetic)
        if case.split in (None, "train")
        and case.truth
        and not held_out & {case.patient, *lenders.get(case.name, ())}
    ]
    if not cases:
        raise InputError(
            f"--synthetic {settings.synthetic}: no case is there to train on, apart from those "
            f"made of patients that {settings.cohort} holds out"
        )
    return _read(settings, _in_both_orders(cases) if settings.reverse_visits else cases)


def say_of_cases(
    settings: TrainSettings,
    training: Sequence[LabelledScans],
    synthetic: Sequence[LabelledScans],
    validation: Sequence[LabelledScans],
) -> str:
    """Return a line about what a training learns from, and what chooses its epoch."""
    made = f" and {len(synthetic)} synthetic ones" if synthetic else ""
    drawn_from = [*training, *synthetic]
    in_vain = settings.reverse_visits and not any(is_reversed(one.case) for one in drawn_from)
    told = f"; --reverse-visits adds none, as no {VANISHED} is there" if in_vain else ""
    return (
        f"training on {counted(len(training), 'case')}{made}, "
        f"{len(active(drawn_from))} with new lesions{told}; of "
        f"{counted(len(validation), 'validation case')} the {len(active(validation))} with new "
        f"lesions choose the epoch ({seen.LIST} in the run folder names them)"
    )


def choose_judges(validation: Sequence[LabelledScans]) -> list[LabelledScans]:
    """Return the validation cases with new lesions; InputError where there is none.

    A clean case scores 1 or 0, nothing between: among a few cases it would choose the epoch.
    """
    judges = active(validation)
    if not judges:
        raise InputError(
            f"none of the {len(validation)} validation cases has a new lesion, so the network that "
            "finds least would be the best; put a patient with new lesions into that split"
        )
    return judges


def active(cases: Sequence[LabelledScans]) -> list[LabelledScans]:
    """Cases with new lesions."""
    return [case for case in cases if case.labels.any()]


def mixed_dataset(
    settings: TrainSettings,
    training: Sequence[LabelledScans],
    synthetic: Sequence[LabelledScans],
) -> MixedDataset:
    """Draws of patches from cases; InputError where either kind holds no new lesion."""
    made = _patch_dataset(settings, synthetic, _own_seed(settings.seed)) if synthetic else None
    real = _patch_dataset(settings, training, settings.seed)
    return MixedDataset(real, made, settings.real_share)


def weigh_false(
    settings: TrainSettings,
    dataset: MixedDataset,
    training: Sequence[LabelledScans],
    synthetic: Sequence[LabelledScans],
) -> float:
    """Return how many times a false lesion counts to F̂'s guided slope; 1 where there is none."""
    if not (settings.alpha and settings.guided_gradient):
        return 1.0
    if settings.false_weight:
        return settings.false_weight
    return excess_of_lesions(dataset, [*training, *synthetic], training, settings.patch)


def _own_seed(seed: int) -> int:
    """Seed of the synthetic draws: with the real ones' own, both would share their noise."""
    return int(np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(1, np.uint64)[0])


def _patch_dataset(
    settings: TrainSettings, cases: Sequence[LabelledScans], seed: int
) -> PatchDataset:
    return PatchDataset(
        [case.scans for case in cases],
        settings.patch,
        settings.lesion_share,
        seed,
        [case.labels for case in cases],
        PatchOptions(settings.augmentation, settings.distractor_share),
    )


def _with_splits(settings: TrainSettings) -> list[Case]:
    cases, rng = read_cohort(settings.cohort), np.random.default_rng(settings.seed)
    dealt = split_by_patient(cases, settings.validation_fraction, rng)
    is_chosen = any(case.split == "validation" for case in cases)
    return dealt if is_chosen else with_active_validation(dealt)


def _of_split(settings: TrainSettings, split: str) -> list[Case]:
    cases = _with_splits(settings)
    unknown = next((case.name for case in cases if case.split != "test" and not case.truth), None)
    if unknown:
        raise InputError(f"{settings.cohort}: case {unknown} has no truth to train on")
    try:
        return of_split(cases, split)
    except InputError as error:
        raise InputError(f"{settings.cohort}: {error}") from error


def _in_both_orders(cases: list[Case]) -> list[Case]:
    """Add the reversed order of each case that has it; the cases themselves come first."""
    return cases + [case for case in with_reversed_visits(cases) if case not in cases]


def _read(settings: TrainSettings, cases: Sequence[Case]) -> list[LabelledScans]:
    return read_cached_cases(cases, settings.spacing_mm, settings.classes, settings.scan_cache)


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
        finish_epochs=round(settings.epochs * settings.loss_finish_share),
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
