"""Settings of the segnet commands."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from datagen.config import MAX_SEED, Settings, not_recorded
from metricnet.config import TRUSTED_GAP, Precision
from segnet.choices import Augmentation, Difference, Form, Loss, Region, RegionSchedule, Sign

Network = Literal["siamese", "strided", "full_resolution", "vnet", "dynunet"]
Schedule = Literal["cosine", "constant", "halving"]
SplitChoice = Literal["all", "train", "validation", "test"]
Baseline = Literal["empty", "subtraction", "growing"]


MIN_VOLUME_MM3 = 3.0  # lesions up to this volume are dropped, as in the challenge


class TrainSettings(Settings):
    """Settings of 'segnet train'."""

    cohort: Path = Field(description="Folder in MSSEG-2 or BIDS layout, or a cohort.csv.")
    out: Path = not_recorded(Path("runs/segnet"), "Run folder to write.")
    estimator: Path | None = Field(
        None,
        description="Run folder or file of 'metricnet train'; default: the one in the package.",
    )
    alpha: float = Field(
        3.0,
        description="Weight of 1 - F̂ beside the Dice loss; 0 leaves it out, 0.2 is as published.",
        ge=0,
    )
    alpha_warmup_epochs: int = Field(
        5, description="Epochs of Dice alone before F̂ is switched on.", ge=0
    )
    alpha_ramp_epochs: int = Field(
        2, description="Epochs in which α rises to its value, and falls from it.", ge=0
    )
    alpha_finish_share: float = Field(
        0.3,
        description="Share of the epochs, the last ones, with Dice alone, F̂ switched off again.",
        ge=0,
        lt=1,
    )
    trust_gate: bool = Field(
        True, description="Weigh each patch's F̂ by how close it is to the exact score."
    )
    trusted_gap: float = Field(
        TRUSTED_GAP,
        description="Distance |F̂ - F| from which on the gate lets nothing through.",
        gt=0,
    )
    guided_gradient: bool = Field(
        True,
        description="Let F̂ push whole lesions, towards the truth alone; off: voxel by voxel.",
    )
    false_weight: float = Field(
        1.0,
        description="Times that a false lesion counts in the guided gradient; 0: as many as "
        "lesions are more frequent in the patches than in the patients.",
        ge=0,
        allow_inf_nan=False,
    )
    lowest_cut: float = Field(
        0.3, description="Lowest threshold at which F̂ sees a map in training.", gt=0, lt=1
    )
    highest_cut: float = Field(
        0.7, description="Highest threshold at which F̂ sees a map in training.", gt=0, lt=1
    )
    loss: Loss = Field(
        "dice", description="Loss, alone or beside --region; docs/losses.md lists them."
    )
    region: Region = Field(
        "dice", description="Region loss beside a loss that does not stand alone."
    )
    loss_weight: float = Field(
        1.0, description="Weight of a geometric or lesion loss beside the region loss.", ge=0
    )
    loss_warmup_epochs: int = Field(
        0, description="Epochs of the region loss alone before that one is added.", ge=0
    )
    loss_finish_share: float = Field(
        0.0,
        description="Share of the epochs, the last ones, with the region loss alone again.",
        ge=0,
        lt=1,
    )
    region_schedule: RegionSchedule = Field(
        "linear", description="Fall of the region's weight a(t) beside a distance loss."
    )
    region_constant: float = Field(
        0.5, description="That weight under the constant schedule.", ge=0, le=1
    )
    region_step_epochs: int = Field(5, description="Length of a step, in epochs.", ge=1)
    region_floor: float = Field(
        0.1, description="Least weight: a distance loss hardly sees missed lesions.", ge=0, le=1
    )
    loss_form: Form = Field(
        "printed", description="Formulas as the papers print them, or as their code has them."
    )
    include_background: bool = Field(
        False, description="Let the background count as a class in Dice and distance losses."
    )
    class_weights: Literal["training_set", "per_sample"] = Field(
        "training_set", description="Where classes are counted for their weights."
    )
    class_weight_exponent: float = Field(1.0, description="Exponent p of these weights.", gt=0)
    difference: Difference = Field("forward", description="Derivative of the FOG losses.")
    sog_sign: Sign = Field("absolute", description="Take |φ|, or φ as printed, in the SOG losses.")
    penalty_scale: Literal["raw", "normalised"] = Field(
        "normalised",
        description="Distance penalty divided by its largest distance, or in voxels as published.",
    )
    distance_cache: Path | None = not_recorded(
        None, "Folder of distance maps, to share between runs; default: below --out."
    )
    classes: int = Field(
        2, description="Labels 0 to N - 1 of the truth; 2: new lesion or not.", ge=2, le=255
    )
    network: Network = Field(
        "siamese",
        description="One encoder for both visits; a U-Net of both as channels, that at full "
        "resolution, V-Net, or nnU-Net's architecture.",
    )
    channels: int = Field(
        16, description="Channels at the first level; V-Net has 16.", ge=4, multiple_of=4
    )
    patch: int = Field(64, description="Edge of a patch, in voxels.", ge=16, le=512, multiple_of=16)
    spacing_mm: float = Field(1.0, description="Edge of a voxel, in mm.", gt=0)
    epochs: int = Field(100, description="Number of epochs.", ge=1)
    steps_per_epoch: int = Field(100, description="Optimiser steps per epoch.", ge=1)
    batch: int = Field(4, description="Patches per step, of all processes together.", ge=1)
    learning_rate: float = Field(2e-3, description="Rate of Adam.", gt=0)
    schedule: Schedule = Field(
        "cosine",
        description="Course of the rate: to 0 along a cosine, constant, or halved at 50, 70, 90 %.",
    )
    weight_decay: float = Field(0.0, description="Weight decay of Adam.", ge=0)
    lesion_share: float = Field(
        0.6, description="Share of patches drawn around a new lesion.", ge=0, le=1
    )
    distractor_share: float = Field(
        0.0,
        description="Share around what is bright or brightened but not new, as far as "
        "--lesion-share leaves room.",
        ge=0,
        le=1,
    )
    augmentation: Augmentation = Field(
        "light",
        description="Changes of patches: none; mirrored, with a little contrast and noise; or full:"
        " blur, thick slices, ghosts, bias, gamma, another scanner, warps too.",
    )
    reverse_visits: bool = Field(
        False,
        description="Train on each case in the other order too, where vanished_lesions.nii.gz lies "
        "beside it: what vanished is then new.",
    )
    synthetic: Path | None = Field(
        None, description="Cohort of 'datagen synthesise', whose patches are mixed in."
    )
    real_share: float = Field(
        0.5,
        description="Share of a batch that is drawn from --cohort, not from --synthetic.",
        ge=0,
        le=1,
    )
    init_from: Path | None = Field(
        None,
        description="Run, or file of 'segnet export', whose network the training starts from, "
        "such as one that learnt all lesions.",
    )
    scan_cache: Path | None = not_recorded(
        None,
        "Folder that keeps the scans at the working spacing, to share between runs; "
        "default: in memory.",
    )
    loader_workers: int | None = not_recorded(
        None,
        "Processes that draw patches, 0: the training itself; default: 0, beside a GPU one for "
        "each core that is left, 8 at most.",
        ge=0,
    )
    validation_fraction: float = Field(
        0.2,
        description="Share of patients to validate on, where the cohort sets none.",
        gt=0,
        lt=1,
    )
    precision: Precision = Field("auto", description="Arithmetic; auto: bf16 where native.")
    devices: int = Field(1, description="GPUs, or CPU processes; torchrun sets it itself.", ge=1)
    seed: int = Field(0, description="Seed of weights, draws and augmentation.", ge=0, le=MAX_SEED)
    patience: int = Field(
        0,
        description="Stop after this many epochs of the whole loss with no better score; 0: never.",
        ge=0,
    )
    record_predictions: bool = not_recorded(
        False, "Keep predicted patches of the whole training for 'datagen build --predictions'."
    )
    recorded_patches: int = not_recorded(2000, "How many, about.", ge=1)
    max_minutes: float | None = not_recorded(None, "Stop after the epoch that passes it.", gt=0)
    resume: bool = not_recorded(False, "Go on with an interrupted training.")


class PredictSettings(Settings):
    """Settings of 'segnet predict'."""

    out: Path = not_recorded(Path("mask.nii.gz"), "Mask to write; a folder with --cohort.")
    page: Path | None = not_recorded(
        None, "Write an HTML page to look at, too: both visits, and each lesion by a click."
    )
    model: tuple[Path, ...] = Field(
        (),
        description="Run folder of 'segnet train', or file of 'segnet export'; repeatable, the "
        "models are averaged; default: the detector that comes with lesionwise.",
    )
    baseline: Baseline | None = Field(
        None,
        description="Instead of a network: no lesion at all, thresholded subtraction, or lesions "
        "grown from bright seeds.",
    )
    time1: Path | None = Field(None, description="FLAIR of visit 1.")
    time2: Path | None = Field(None, description="FLAIR of visit 2, on the grid of visit 1.")
    brain_mask: Path | None = Field(None, description="Needed where the skull is still there.")
    cohort: Path | None = Field(None, description="Cohort to predict case by case.")
    split: SplitChoice = Field("all", description="Which cases of the cohort.")
    threshold: float | None = Field(
        None,
        description="Probability from which on is lesion; default: the run's own, else 0.5.",
        gt=0,
        lt=1,
    )
    min_volume_mm3: float | None = Field(
        None,
        description="Lesions up to this volume are dropped; default: the run's own, else 3.",
        ge=0,
    )
    closing_mm: float = Field(
        0.0, description="Radius of the ball that closes gaps in the mask; 0: none.", ge=0
    )
    largest_components: int = Field(
        0, description="Keep this many of the largest components; 0: all.", ge=0
    )
    overlap: float = Field(0.25, description="Share by which windows overlap.", ge=0, lt=1)
    flips: bool = Field(
        False, description="Average over the eight mirror images: eight times as slow."
    )
    precision: Precision = Field("auto", description="Arithmetic; auto: bf16 where native.")
    seed: int = Field(0, description="Unused: prediction draws nothing.", ge=0)


class EvolutionSettings(Settings):
    """Settings of 'segnet evolution'."""

    visit1: Path = Field(description="Mask of all lesions at visit 1.")
    visit2: Path | None = Field(None, description="Mask of all lesions at visit 2.")
    new: Path | None = Field(
        None,
        description="Instead of --visit2: a predicted mask of new lesions, added to visit 1's.",
    )
    out: Path = not_recorded(Path("evolution.nii.gz"), "Map to write; a CSV table lies beside it.")
    min_change: float = Field(
        0.25, description="Share of the earlier volume up to which a lesion is stable.", ge=0
    )
    min_change_mm3: float = Field(
        MIN_VOLUME_MM3, description="Change of volume up to which a lesion is stable.", ge=0
    )
    seed: int = Field(0, description="Unused: nothing is drawn.", ge=0)
