"""All scores of one method on one case."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datagen.errors import InputError
from datagen.lesions import Rule, find_under_rules, match_found, score_matching
from segnet.evaluation.estimates import PatchEstimate
from segnet.evaluation.lesion_rows import LesionRow, SizeBin, list_lesions, recall_by_size
from segnet.evaluation.pairs import Found, Job, MaskPair, find_files, read_pair
from segnet.evaluation.surfaces import score_surfaces, volume_hd95_mm
from segnet.evaluation.sweeps import SweepRow, sweep_min_sizes, sweep_thresholds
from segnet.evaluation.voxelwise import dice_coefficient, score_voxels


class CaseScore(NamedTuple):
    """Lesion-wise scores of one method on one case under one rule.

    `f1` is None under "msseg2" where the truth is empty. `is_clean` tells that the truth holds no
    voxel: every predicted lesion is then a false one. `predicted_volume_mm3` is the volume of the
    predicted lesions, of those alone that count under the rule.
    """

    case: str
    method: str
    rule: Rule
    is_clean: bool
    dice: float
    ltpr: float
    lppv: float
    f1: float | None
    truth_lesions: int
    predicted_lesions: int
    truth_hits: int
    predicted_hits: int
    predicted_volume_mm3: float


class VoxelRow(NamedTuple):
    """Voxel-wise and surface scores of one method on one case, which know no rule.

    See VoxelScore and SurfaceScore for ranges and empty masks. `hd95_volume_mm` is None unless it
    is asked for.
    """

    case: str
    method: str
    is_clean: bool
    dice: float
    sensitivity: float
    ppv: float
    volume_difference_mm3: float
    hd95_mm: float | None
    assd_mm: float | None
    boundary_dice: float
    boundary_dice_1: float
    boundary_dice_2: float
    boundary_dice_3: float
    boundary_dice_4: float
    hd95_volume_mm: float | None


class Choices(NamedTuple):
    """What is computed for each case: plain values, which worker processes can be sent."""

    rules: tuple[Rule, ...] = ("overlap",)
    thresholds: tuple[float, ...] = ()
    min_sizes_mm3: tuple[float, ...] = ()
    sweep_min_volume_mm3: float = 3.0
    volume_hd95: bool = False
    estimator: Path | None = None
    size_edges_mm3: tuple[float, ...] = ()


class CaseResult(NamedTuple):
    """Everything that is known of one method on one case."""

    scores: list[CaseScore]
    voxels: VoxelRow
    lesions: list[LesionRow]
    sizes: list[SizeBin]
    sweep: list[SweepRow]
    estimates: list[PatchEstimate]
    source: dict[str, Any]
    notes: list[str]


class Outcome(NamedTuple):
    """What became of one job: its result, or the error for which there is none."""

    job: Job
    result: CaseResult | None
    error: Exception | None = None


def attempt_case(job: Job, choices: Choices) -> Outcome:
    """Score one method on one case; a file that cannot be used is told in the outcome."""
    try:
        return Outcome(job, evaluate_case(job, choices))
    except (InputError, OSError) as error:
        return Outcome(job, None, error)


def evaluate_case(job: Job, choices: Choices) -> CaseResult:
    """Read and score one method on one case; InputError where a file cannot be used."""
    found = find_files(job)
    pair = read_pair(job.case, found, min(choices.thresholds, default=1.0))
    name, method = job.case.name, job.method
    scores, lesions = score_rules(name, method, pair, choices.rules)
    sweep = sweep_thresholds(
        name, method, pair, choices.rules, choices.thresholds, choices.sweep_min_volume_mm3
    )
    sweep += sweep_min_sizes(name, method, pair, choices.rules, choices.min_sizes_mm3)
    voxels = score_voxels_and_surfaces(name, method, pair, choices.volume_hd95)
    estimates: list[PatchEstimate] = []
    if choices.estimator:
        # torch is loaded where it is needed alone: it takes longer than a case
        from segnet.evaluation.estimation import estimate_patches

        estimates = estimate_patches(name, method, pair, choices.estimator)
    sizes = recall_by_size(lesions, choices.size_edges_mm3)
    source = _source(job, found)
    return CaseResult(scores, voxels, lesions, sizes, sweep, estimates, source, pair.notes)


def score_rules(
    case: str, method: str, pair: MaskPair, rules: Sequence[Rule]
) -> tuple[list[CaseScore], list[LesionRow]]:
    """Score a pair under each rule, and list its lesions under each."""
    scores: list[CaseScore] = []
    lesions: list[LesionRow] = []
    is_clean, spacing_mm = not pair.truth.any(), pair.grid.spacing_mm
    dice = dice_coefficient(pair.truth, pair.prediction)
    truths, predictions = (
        find_under_rules(mask, rules, spacing_mm) for mask in (pair.truth, pair.prediction)
    )
    for rule in rules:
        matching = match_found(truths[rule], predictions[rule], rule)
        score = score_matching(matching, rule, spacing_mm)
        lesions += list_lesions(case, method, rule, matching, pair.grid, pair.probability)
        volume_mm3 = predictions[rule].voxels.size * pair.grid.voxel_volume_mm3
        scores.append(CaseScore(case, method, rule, is_clean, dice, *score[:7], volume_mm3))
    return scores, lesions


def score_voxels_and_surfaces(
    case: str, method: str, pair: MaskPair, volume_hd95: bool
) -> VoxelRow:
    """Score a pair by its voxels and its surfaces."""
    masks = (pair.truth, pair.prediction)
    voxels = score_voxels(*masks, pair.grid.voxel_volume_mm3)
    surfaces = score_surfaces(*masks, pair.grid.spacing_mm)
    of_volume = None
    if volume_hd95:
        of_volume = volume_hd95_mm(*masks, pair.grid.spacing_mm, pair.diagonal_mm)
    return VoxelRow(
        case=case,
        method=method,
        is_clean=not pair.truth.any(),
        **voxels._asdict(),
        **surfaces._asdict(),
        hd95_volume_mm=of_volume,
    )


def _source(job: Job, found: Found) -> dict[str, Any]:
    """Where the files of a case lie, as absolute paths, and whose they are."""
    case = job.case
    # plain masks come without scans: their case names the mask itself in their place
    has_scans = case.time2 != case.truth
    paths: dict[str, Path | None] = {
        "time1": case.time1 if has_scans else None,
        "time2": case.time2 if has_scans else None,
        "truth": case.truth,
        "brain_mask": case.brain_mask,
        "prediction": found.mask,
        "probability": found.probability,
    }
    absolute = {key: path.resolve() if path else None for key, path in paths.items()}
    return {"case": case.name, "patient": case.patient, "method": job.method, **absolute}
