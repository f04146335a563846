"""From the results of cases to the tables of an evaluation, and those tables on disk."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from datagen.config import CONFIG, format_recipe
from datagen.files import whole_file, write_table, write_text
from segnet import tables
from segnet.evaluation.case import CaseResult, CaseScore, VoxelRow
from segnet.evaluation.estimates import (
    CaseEstimate,
    GapSummary,
    PatchEstimate,
    by_case,
    gap_summaries,
)
from segnet.evaluation.lesion_rows import SizeBin, add_up
from segnet.evaluation.paired import Comparison, MeanRank, clean_values, compare, mean_ranks
from segnet.evaluation.patients import CleanCase, PatientLevel, clean_cases, patient_level
from segnet.evaluation.settings import EvaluateSettings
from segnet.evaluation.summaries import Summary, summarise, values_of
from segnet.evaluation.sweeps import (
    FrocPoint,
    SweepPoint,
    SweepRow,
    froc_point,
    summarise_sweep,
)

SECTION = "segnet.evaluate"
SOURCE_COLUMNS = (
    "case",
    "patient",
    "method",
    "time1",
    "time2",
    "truth",
    "brain_mask",
    "prediction",
    "probability",
)


class Failure(NamedTuple):
    """A case that could not be scored, and why."""

    case: str
    method: str
    reason: str


class Note(NamedTuple):
    """Something that was tolerated."""

    note: str


class Evaluation(NamedTuple):
    """All tables of an evaluation but that of lesions; each is a CSV file of its own name."""

    cases: list[CaseScore]
    voxelwise: list[VoxelRow]
    clean_cases: list[CleanCase]
    patients: list[PatientLevel]
    lesion_sizes: list[SizeBin]
    sweep_cases: list[SweepRow]
    thresholds: list[SweepPoint]
    froc: list[FrocPoint]
    min_sizes: list[SweepPoint]
    aggregate: list[Summary]
    comparisons: list[Comparison]
    ranks: list[MeanRank]
    estimated_patches: list[PatchEstimate]
    estimated_cases: list[CaseEstimate]
    estimated_gap: list[GapSummary]
    failures: list[Failure]
    notes: list[Note]
    sources: list[Mapping[str, Any]]


TABLES = tuple(f"{name}.csv" for name in ("lesions", *Evaluation._fields))
_COLUMNS: dict[str, Any] = {
    "cases": CaseScore,
    "voxelwise": VoxelRow,
    "clean_cases": CleanCase,
    "patients": PatientLevel,
    "lesion_sizes": SizeBin,
    "sweep_cases": SweepRow,
    "thresholds": SweepPoint,
    "froc": FrocPoint,
    "min_sizes": SweepPoint,
    "aggregate": Summary,
    "comparisons": Comparison,
    "ranks": MeanRank,
    "estimated_patches": PatchEstimate,
    "estimated_cases": CaseEstimate,
    "estimated_gap": GapSummary,
    "failures": Failure,
    "notes": Note,
}


def tabulate(
    results: Sequence[CaseResult],
    failures: list[Failure],
    notes: list[str],
    settings: EvaluateSettings,
) -> Evaluation:
    """Turn the results of single cases into all tables."""
    scores = [score for result in results for score in result.scores]
    voxels = [result.voxels for result in results]
    sweep = [row for result in results for row in result.sweep]
    patches = [row for result in results for row in result.estimates]
    patients = {result.source["case"]: result.source["patient"] for result in results}
    values, clean = values_of(scores, voxels), clean_cases(scores)
    thresholds = summarise_sweep(sweep, "threshold")
    compared = [*values, *clean_values(clean)]
    said = dict.fromkeys([*notes, *(note for result in results for note in result.notes)])
    return Evaluation(
        cases=scores,
        voxelwise=voxels,
        clean_cases=clean,
        patients=patient_level(scores),
        lesion_sizes=add_up([one for result in results for one in result.sizes]),
        sweep_cases=sweep,
        thresholds=thresholds,
        froc=[froc_point(point) for point in thresholds],
        min_sizes=summarise_sweep(sweep, "min_size_mm3"),
        aggregate=[summarise(one, patients, settings.resamples, settings.seed) for one in values],
        comparisons=compare(compared),
        ranks=mean_ranks(compared),
        estimated_patches=patches,
        estimated_cases=by_case(patches),
        estimated_gap=gap_summaries(patches),
        failures=failures,
        notes=[Note(note) for note in said],
        sources=[result.source for result in results],
    )


def write_tables(evaluation: Evaluation, lesions: TextIO, settings: EvaluateSettings) -> None:
    """Write every table as CSV, those for a paper as Markdown and LaTeX too, and the settings.

    `lesions` is the table of lesions, already as CSV.
    """
    out = settings.out
    for name in ("sources.csv", "comparisons.md", "comparisons.tex"):
        (out / name).unlink(missing_ok=True)  # of an evaluation before this one
    # first: without it the tables of one that was cut off would be another's
    write_text(out / CONFIG, format_recipe(SECTION, settings))
    with (
        whole_file(out / "lesions.csv") as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        shutil.copyfileobj(lesions, stream)
    for name, kind in _COLUMNS.items():
        rows = [row._asdict() for row in getattr(evaluation, name)]
        write_table(out / f"{name}.csv", rows, kind._fields)
    sheets = [*tables.aggregate_sheets(as_rows(evaluation.aggregate))]
    sheets.append(tables.patient_sheet(as_rows(evaluation.patients)))
    _write_texts(sheets, out / "aggregate")
    if evaluation.comparisons:
        ranks, comparisons = as_rows(evaluation.ranks), as_rows(evaluation.comparisons)
        _write_texts(
            [tables.rank_sheet(ranks), tables.comparison_sheet(comparisons)], out / "comparisons"
        )
    # the report begins with this table: where it is, the others are complete
    write_table(out / "sources.csv", evaluation.sources, SOURCE_COLUMNS)


def as_rows(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return named tuples as mappings, the way tables are read back from a file."""
    return [row._asdict() for row in rows]


def _write_texts(sheets: Sequence[tables.Sheet], path: Path) -> None:
    write_text(path.with_suffix(".md"), "\n".join(tables.as_markdown(sheet) for sheet in sheets))
    write_text(path.with_suffix(".tex"), "\n".join(tables.as_latex(sheet) for sheet in sheets))
