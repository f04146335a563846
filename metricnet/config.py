"""Settings of the metricnet commands."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from datagen.config import MAX_SEED, Settings, not_recorded

Form = Literal["structured", "published"]
Precision = Literal["auto", "32", "bf16"]

TRUSTED_GAP = 0.3  # distance |F̂ - F| from which on an estimate teaches nothing


class TrainSettings(Settings):
    """Settings of 'metricnet train'."""

    pairs: Path = Field(description="Pair file from 'datagen build'.")
    out: Path = not_recorded(Path("runs/estimator"), "Run folder to write.")
    form: Form = Field("structured", description="Network: ours, or the published one.")
    init_from: Path | None = Field(
        None, description="Estimator of the same form to begin with, as for a further round."
    )
    epochs: int = Field(20, description="Number of epochs.", ge=1)
    steps_per_epoch: int = Field(200, description="Optimiser steps per epoch.", ge=1)
    batch: int = Field(8, description="Pairs per step.", ge=1)
    learning_rate: float = Field(1e-3, description="Peak rate of AdamW, with a cosine end.", gt=0)
    density_weight: float = Field(
        0.02, description="Weight of the dense term beside the MSE (structured form).", ge=0
    )
    contrast_weight: float = Field(
        1.0, description="Weight of the error of differences between a pair and its edits.", ge=0
    )
    precision: Precision = Field("auto", description="Arithmetic; auto: bf16 where native.")
    loader_workers: int | None = not_recorded(
        None,
        "Processes that draw pairs, 0: the training itself; default: 0, beside a GPU one for each "
        "core that is left, 8 at most.",
        ge=0,
    )
    devices: int = Field(1, description="GPUs, or CPU processes.", ge=1)
    seed: int = Field(0, description="Seed of weights and draws.", ge=0, le=MAX_SEED)
    max_minutes: float | None = not_recorded(None, "Stop after the epoch that passes it.", gt=0)
    resume: bool = not_recorded(False, "Go on with an interrupted training.")


class EvaluateSettings(Settings):
    """Settings of 'metricnet evaluate'."""

    estimator: Path | None = Field(
        None, description="Run folder or estimator.safetensors; without it that of the package."
    )
    pairs: Path = Field(description="Pair file from 'datagen build'.")
    predictions: tuple[Path, ...] = Field(
        (), description="Folder with recordings of 'segnet train --record-predictions'; repeatable."
    )
    edits: int = Field(2000, description="Held-out pairs of which one lesion is flipped.", ge=1)
    starts: int = Field(200, description="Held-out pairs from which F̂ is driven up.", ge=1)
    attack_steps: int = Field(40, description="Steps of each ascent.", ge=1)
    out: Path = not_recorded(Path("agreement"), "Folder to write.")
    split: Literal["validation", "train"] = Field(
        "validation", description="Which patients; train shows how much was learnt by heart."
    )
    seed: int = Field(0, description="Seed of edits and starts.", ge=0, le=MAX_SEED)
