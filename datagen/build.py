"""The pair builder: balanced (truth, prediction, exact score) pairs, resumable, reproducible."""

import importlib.metadata
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from datagen.config import MAX_SEED, Settings, not_recorded
from datagen.crew import Crew
from datagen.drawing import Recipe, draw_part
from datagen.errors import InputError
from datagen.files import checksum, require_writable, write_text
from datagen.lesions import Rule, connectivity, min_volume_mm3
from datagen.recordings import list_predictions
from datagen.sources import SourceFile, cases_to_test, list_sources
from datagen.store import Agreement, merge_shards, write_shard
from datagen.styles import STYLES, Style
from datagen.supply import Layout, open_supply, store_supply

_PAIRS_PER_PART = 250
_PLAN = "plan.json"


class BuildSettings(Settings):
    """Settings of 'datagen build'."""

    masks: tuple[Path, ...] = Field(
        description="Folder of NIfTI lesion masks, or a cohort whose truths are taken; repeatable.",
        exclude=True,
        min_length=1,
    )
    out: Path = not_recorded(Path("pairs.h5"), "Pair file to write.")
    pairs: int = Field(20000, description="Number of pairs.", ge=10)
    patch: int = Field(64, description="Edge of a patch, in voxels.", ge=16, le=512, multiple_of=8)
    spacing_mm: float = Field(1.0, description="Edge of a voxel, in mm.", gt=0)
    rule: Rule = Field("overlap", description="How lesions of the two masks are matched.")
    styles: tuple[Style, ...] = Field(STYLES, description="Shapes of the maps.", min_length=1)
    zero_share: float = Field(
        0.06, description="Share of pairs that score exactly 0.", ge=0, le=0.1
    )
    one_share: float = Field(0.06, description="Share of pairs that score exactly 1.", ge=0, le=0.1)
    empty_share: float = Field(
        0.04,
        description="Share of empty truths, among the pairs of score 0 and 1; none under msseg2.",
        ge=0,
        le=0.2,
    )
    contrast_share: float = Field(
        0.25,
        description="Share of pairs that differ from the one before by one edit.",
        ge=0,
        le=0.8,
    )
    predictions: tuple[Path, ...] = Field(
        (),
        description="Folder of predicted maps, or a run of 'segnet train --record-predictions'; "
        "repeatable.",
        exclude=True,
    )
    prediction_share: float = Field(
        0.5, description="Share of pairs from --predictions, where they are given.", gt=0, lt=1
    )
    validation_fraction: float = Field(
        0.2,
        description="Share of patients to validate on, where the cohort sets none.",
        gt=0,
        lt=1,
    )
    seed: int = Field(0, description="Seed of every draw.", ge=0, le=MAX_SEED)
    workers: int = not_recorded(2, "Worker processes on this machine.", ge=1)
    cluster: str | None = not_recorded(
        None, "Address of a Dask scheduler, tcp://…, whose workers build instead."
    )
    resume: bool = not_recorded(False, "Go on with an interrupted build.")

    @model_validator(mode="after")
    def _empty_truths_fit(self) -> "BuildSettings":
        if self.rule != "msseg2" and self.empty_share > self.zero_share + self.one_share:
            raise ValueError(
                "empty_share is above zero_share + one_share, but an empty truth scores 0 or 1"
            )
        return self


def build(settings: BuildSettings) -> int:
    """Write the pair file; return the number of pairs.

    Parts of 250 pairs are kept in `<out>.parts` until the file is whole, so that a killed build can
    resume. Each part depends on the seed and its own number alone. Raises InputError where the
    masks or predictions are unusable, the file is there already, or the parts there belong to
    another build.
    """
    files = list_sources(
        settings.masks, settings.validation_fraction, np.random.default_rng(settings.seed)
    )
    predictions = list_predictions(settings.predictions)
    notes = _notes(settings, files, [path for paths in predictions for path in paths])
    folder = _parts_folder(settings, notes)
    with Crew(settings.workers, settings.cluster) as crew:
        try:
            store_supply(files, predictions, folder, _layout(settings), crew)
            write_text(folder / _PLAN, _as_plan(notes))
            shards = _build_shards(settings, folder, _as_plan(notes), crew)
        except InputError:  # which no resuming cures
            shutil.rmtree(folder, ignore_errors=True)
            raise
    total = merge_shards(settings.out, shards, _agreement(settings), notes)
    shutil.rmtree(folder)
    return total


def _build_shards(settings: BuildSettings, folder: Path, plan: str, crew: Crew) -> list[Path]:
    recipe = Recipe(**{name: getattr(settings, name) for name in Recipe._fields})
    starts = range(0, settings.pairs, _PAIRS_PER_PART)
    shards = [folder / f"{start:09d}.h5" for start in starts]
    jobs = [
        (start, min(start + _PAIRS_PER_PART, settings.pairs), recipe, shard, plan)
        for start, shard in zip(starts, shards, strict=True)
        if not shard.is_file()
    ]
    crew.run(_build_shard, jobs, f"pairs, {_PAIRS_PER_PART} at a time")
    lost = next((shard for shard in shards if not shard.is_file()), None)
    if lost:
        raise InputError(
            f"a worker wrote {lost}, but it is not there; --out must lie in a folder that all "
            "machines share"
        )
    return shards


def _build_shard(start: int, stop: int, recipe: Recipe, shard: Path, plan: str) -> None:
    write_shard(shard, draw_part(start, stop, recipe, open_supply(shard.parent, plan)))


def _notes(
    settings: BuildSettings, files: Sequence[SourceFile], predictions: Sequence[Path]
) -> dict[str, Any]:
    # what the pairs take from the list of sources beside the masks themselves
    names = json.dumps([[file.case, file.patient, file.split] for file in files])
    sources = [*(file.path for file in files), *predictions]
    return {
        "seed": settings.seed,
        "settings": settings.recorded(),
        "version": importlib.metadata.version("lesionwise"),
        "sources_sha256": checksum(sources, names),
    }


def _parts_folder(settings: BuildSettings, notes: dict[str, Any]) -> Path:
    """Return the folder of the parts, of which a resumed build holds some already."""
    out = settings.out.absolute()
    folder = out.with_name(f"{out.name}.parts")
    plan = folder / _PLAN
    require_writable(settings.out)
    is_interrupted = folder.is_dir()
    if settings.out.exists() and not is_interrupted:
        raise InputError(f"{settings.out} is there already; delete it, or choose another --out")
    if is_interrupted and not settings.resume:
        raise InputError(f"{folder} holds an interrupted build; add --resume, or delete the folder")
    if plan.is_file() and plan.read_text(encoding="utf-8") != _as_plan(notes):
        raise InputError(
            f"{folder} was begun with other settings or masks; delete it to start anew"
        )
    return folder


def _as_plan(notes: dict[str, Any]) -> str:
    return json.dumps(notes, sort_keys=True)


def _layout(settings: BuildSettings) -> Layout:
    held_out = cases_to_test(settings.masks) if settings.predictions else []
    return Layout(
        settings.patch,
        settings.spacing_mm,
        settings.validation_fraction,
        settings.seed,
        tuple(sorted({case.patient for case in held_out})),
        tuple(sorted({case.name for case in held_out})),
    )


def _agreement(settings: BuildSettings) -> Agreement:
    rule = settings.rule
    return Agreement(
        rule, connectivity(rule), min_volume_mm3(rule), settings.spacing_mm, settings.patch
    )
