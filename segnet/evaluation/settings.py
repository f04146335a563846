"""Settings of 'segnet evaluate'."""

from pathlib import Path

from pydantic import Field, field_validator

from datagen.config import MAX_SEED, Settings, not_recorded
from datagen.lesions import Rule
from segnet.config import MIN_VOLUME_MM3, SplitChoice


class EvaluateSettings(Settings):
    """Settings of 'segnet evaluate'."""

    truth: Path = Field(description="Cohort, folder of masks, or one mask.")
    prediction: tuple[Path, ...] = Field(
        description="Folder of predictions, or one mask; repeatable, each is a method.",
        min_length=1,
    )
    probability: tuple[Path, ...] = Field(
        (),
        description="Folder of probability maps, or one map, for each --prediction in turn; "
        "those of 'segnet predict' are found without it.",
    )
    rule: tuple[Rule, ...] = Field(
        ("overlap",), description="Matching rule; repeatable.", min_length=1
    )
    split: SplitChoice = Field("all", description="Which cases of the cohort.")
    out: Path = not_recorded(Path("scores"), "Folder to write.")
    volume_hd95: bool = Field(
        False, description="Add HD95 over all foreground voxels (Celaya et al. 2023)."
    )
    threshold: tuple[float, ...] = Field(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        description="Threshold of the sweep over probability maps; repeatable.",
    )
    min_size_mm3: tuple[float, ...] = Field(
        (0.0, 3.0, 10.0, 30.0, 100.0),
        description="Size of the sweep: predicted lesions up to it are dropped; repeatable.",
    )
    sweep_min_volume_mm3: float = Field(
        MIN_VOLUME_MM3,
        description="Lesions up to this volume are dropped at every threshold of the sweep.",
        ge=0,
    )
    size_edge_mm3: tuple[float, ...] = Field(
        (3.0, 10.0, 30.0, 100.0, 300.0),
        description="Edge between bins of lesion size; repeatable.",
    )
    estimator: Path | None = Field(
        None, description="Run folder or file of 'metricnet train': adds F̂ beside the exact score."
    )
    resamples: int = Field(2000, description="Resamples of the bootstrap interval.", ge=100)
    seed: int = Field(0, description="Seed of the bootstrap.", ge=0, le=MAX_SEED)
    workers: int = not_recorded(2, "Worker processes.", ge=1)

    @field_validator("threshold", "min_size_mm3", "size_edge_mm3")
    @classmethod
    def _in_order(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(values)))

    @field_validator("threshold")
    @classmethod
    def _are_probabilities(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < value < 1 for value in values):
            raise ValueError("a threshold lies between 0 and 1")
        return values

    @field_validator("size_edge_mm3")
    @classmethod
    def _part_sizes(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in values:
            raise ValueError("an edge of 0 mm³ parts nothing; give edges above 0")
        return values

    @field_validator("min_size_mm3", "size_edge_mm3")
    @classmethod
    def _are_volumes(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(value < 0 for value in values):
            raise ValueError("a volume is not negative")
        return values
