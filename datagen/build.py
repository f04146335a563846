"""The pair builder: balanced (truth, prediction, exact score) pairs, resumable, reproducible."""

import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from joblib import Parallel, delayed
from pydantic import Field

from datagen.balance import SCORE_BINS, Balance, draw_counts
from datagen.config import MAX_SEED, Settings, not_recorded
from datagen.errors import InputError
from datagen.files import checksum, require_writable, whole_file
from datagen.lesions import Rule, connectivity, label_lesions, min_volume_mm3, score_lesions
from datagen.perturb import perturb
from datagen.progress import track
from datagen.sources import SourceFile, SourceMask, list_sources, read_source
from datagen.store import Agreement, Pair, load_part, save_part, write_pairs
from datagen.styles import STYLES, Style, quantise, soften
from datagen.volumes import cut_patch

_PAIRS_PER_PART = 100
_DRAWS_PER_PAIR = 60


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
    empty_share: float = Field(
        0.04,
        description="Share of empty truths, half with false lesions; none under msseg2.",
        ge=0,
        le=0.2,
    )
    validation_fraction: float = Field(
        0.2, description="Share of patients held out, where the cohort sets no split.", gt=0, lt=1
    )
    seed: int = Field(0, description="Seed of every draw.", ge=0, le=MAX_SEED)
    workers: int = not_recorded(2, "Worker processes.", ge=1)
    resume: bool = not_recorded(False, "Go on with an interrupted build.")


def build(settings: BuildSettings) -> int:
    """Write the pair file; return the number of pairs.

    Parts of 100 pairs are kept in `<out>.parts` until the file is whole, so that a killed build can
    resume. Each part depends on the seed and its own number alone. Raises InputError where the
    masks are unusable, or the parts there belong to another build.
    """
    rng = np.random.default_rng(settings.seed)
    files = list_sources(settings.masks, settings.validation_fraction, rng)
    notes = {
        "seed": settings.seed,
        "settings": settings.recorded(),
        "version": importlib.metadata.version("lesionwise"),
        "sources_sha256": checksum((file.path for file in files), _names(files)),
    }
    parts = _find_parts(settings, notes)
    missing = [number for number in range(len(parts)) if not parts[number].is_file()]
    if missing:
        sources = [read_source(file, settings.spacing_mm) for file in files]
        if not any(len(source.centres) for source in sources):
            raise InputError(f"no mask below {settings.masks[0]} holds a lesion")
        with whole_file(_plan(settings.out)) as partial:
            partial.write_text(_as_plan(notes), encoding="utf-8")
        _build_parts(missing, parts, sources, settings)
    pairs = (pair for part in parts for pair in load_part(part))
    write_pairs(settings.out, pairs, settings.pairs, _agreement(settings), notes)
    shutil.rmtree(_parts_folder(settings.out))
    return settings.pairs


def _names(files: Sequence[SourceFile]) -> str:
    """What the pairs take from the list of sources beside the masks themselves."""
    return json.dumps([[file.case, file.patient, file.split] for file in files])


def build_part(number: int, sources: Sequence[SourceMask], settings: BuildSettings) -> list[Pair]:
    """Draw the pairs of one part, their scores spread evenly over [0, 1]."""
    rng = np.random.default_rng([settings.seed, number])
    size = min(_PAIRS_PER_PART, settings.pairs - number * _PAIRS_PER_PART)
    # under "msseg2" an empty truth has no score to learn
    empty_share = 0 if settings.rule == "msseg2" else settings.empty_share
    empty, balance = round(empty_share * size), Balance(size)
    return [_draw_accepted(sources, settings, balance, rng, index < empty) for index in range(size)]


def _draw_accepted(
    sources: Sequence[SourceMask],
    settings: BuildSettings,
    balance: Balance,
    rng: np.random.Generator,
    is_empty: bool,
) -> Pair:
    for draw in range(_DRAWS_PER_PAIR * 10):
        at_any_score = draw >= _DRAWS_PER_PAIR
        # an empty truth scores 1 or 0, nothing between
        wanted = (
            int(rng.choice((0, SCORE_BINS - 1))) if is_empty else balance.wanted(rng, at_any_score)
        )
        pair = _draw_pair(sources, settings, wanted, rng, is_empty)
        # "msseg2" has no score for an empty truth, and "geo" some beyond 1: neither can be learnt
        if pair is None or pair.score.f1 is None or pair.score.f1 > 1:
            continue
        if balance.accept(pair.score.f1, at_any_score):
            return pair
    raise InputError(
        f"no pair can be drawn from these masks at patch {settings.patch}; "
        "give masks with more lesions"
    )


def _draw_pair(
    sources: Sequence[SourceMask],
    settings: BuildSettings,
    wanted_bin: int,
    rng: np.random.Generator,
    is_empty: bool,
) -> Pair | None:
    source = sources[int(rng.integers(len(sources)))]
    if not is_empty and not len(source.centres):
        return None
    truth = _draw_truth(source, settings.patch, is_empty, rng)
    labels, count = label_lesions(truth)
    # the middle of a hollow lesion's box can be so far from it that the patch holds none
    counts = draw_counts(count, wanted_bin, rng) if count or is_empty else None
    if counts is None:
        return None
    style = settings.styles[int(rng.integers(len(settings.styles)))]
    shapes = source.shapes or next(other.shapes for other in sources if other.shapes)
    prediction = soften(perturb(labels, counts, shapes, rng), style, rng)
    stored = quantise(prediction)
    spacing_mm = (settings.spacing_mm,) * 3
    score = score_lesions(truth, stored >= 128, settings.rule, spacing_mm)
    return Pair(
        truth.astype(np.uint8), stored, score, source.case, source.patient, style, source.split
    )


def _draw_truth(
    source: SourceMask, patch: int, is_empty: bool, rng: np.random.Generator
) -> np.ndarray:
    """Cut a patch that holds a lesion drawn at random, in a random orientation."""
    if is_empty:
        return np.zeros((patch, patch, patch), bool)
    lesion = source.centres[rng.integers(len(source.centres))]
    reach = patch * 3 // 8
    cut = cut_patch(source.mask, lesion + rng.integers(-reach, reach + 1, size=3), patch)
    flips = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in range(3))
    return np.ascontiguousarray(np.transpose(cut, rng.permutation(3))[flips])


def _build_parts(
    missing: list[int],
    parts: list[Path],
    sources: Sequence[SourceMask],
    settings: BuildSettings,
) -> None:
    workers = Parallel(n_jobs=settings.workers, return_as="generator", max_nbytes="1M")
    jobs = (delayed(_build_and_save)(number, parts, sources, settings) for number in missing)
    done: Iterator[int] = workers(jobs)
    for _ in track(done, "pairs, by the hundred", len(missing)):
        pass


def _build_and_save(
    number: int, parts: list[Path], sources: Sequence[SourceMask], settings: BuildSettings
) -> int:
    save_part(parts[number], build_part(number, sources, settings))
    return number


def _find_parts(settings: BuildSettings, notes: dict[str, object]) -> list[Path]:
    """Return the paths of all parts, of which a resumed build holds some already."""
    folder, plan = _parts_folder(settings.out), _plan(settings.out)
    require_writable(settings.out)
    if folder.is_dir() and not settings.resume:
        raise InputError(f"{folder} holds an interrupted build; add --resume, or delete the folder")
    if folder.is_dir() and not (
        plan.is_file() and plan.read_text(encoding="utf-8") == _as_plan(notes)
    ):
        raise InputError(
            f"{folder} was begun with other settings or masks; delete it to start anew"
        )
    count = -(-settings.pairs // _PAIRS_PER_PART)
    return [folder / f"{number:06d}.npz" for number in range(count)]


def _plan(out: Path) -> Path:
    return _parts_folder(out) / "plan.json"


def _as_plan(notes: dict[str, object]) -> str:
    return json.dumps(notes, sort_keys=True)


def _parts_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


def _agreement(settings: BuildSettings) -> Agreement:
    rule: Literal["overlap", "geo", "msseg2"] = settings.rule
    return Agreement(
        rule, connectivity(rule), min_volume_mm3(rule), settings.spacing_mm, settings.patch
    )
