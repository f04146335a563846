"""The sections of the page about scores: which tables and curves they show, in which words."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from datagen.files import read_table
from segnet import curves, tables
from segnet.tables import Sheet, sheet_of

_RULES = {
    "overlap": "Rule overlap (Kamraoui et al. 2021): 26 neighbours join voxels into a lesion, and "
    "a lesion is hit when it shares at least one voxel with the other mask. LTPR = hit truth "
    "lesions / truth lesions, LPPV = hit predicted lesions / predicted lesions, L-F1 their "
    "harmonic mean.",
    "geo": "Rule geo (Zhang et al. 2021): the lesions and hits of overlap, but LPPV = hit truth "
    "lesions / predicted lesions, which is no precision and can exceed 1.",
    "msseg2": "Rule msseg2: the official detection of the MSSEG-2 challenge. 6 neighbours, more "
    "than 3 mm³, a lesion is found when more than 10 % of it is covered by components that lie "
    "mostly inside lesions (α 0.1, β 0.7, γ 0.65).",
}
_VOXELS = (
    "Voxel-wise scores know no rule. HD95 and ASSD are distances of surfaces as MONAI defines "
    "them; where one mask is empty they are not defined, and the mean says over how many cases it "
    "runs. Boundary Dice is the Dice coefficient of surface voxels, relaxed by 1 to 4 voxels."
)
_CLEAN = (
    "Patients without new lesions stay out of every mean above: there is nothing to find in them. "
    "Each lesion predicted in them is false."
)
_ACTIVE = (
    "A patient is active with any new lesion, and called active with any predicted lesion that "
    "counts under the rule. Specificity is the share of clean patients without a false lesion."
)
_COMPARED = (
    "Two-sided Wilcoxon signed-rank tests on the same cases, corrected by Holm over all pairs of "
    "methods under one rule and score; the effect size is the matched-pairs rank-biserial "
    "correlation, positive where the first method has the larger values. The tests take each case "
    "for independent evidence, several visit pairs of one patient too; the intervals do not."
)
_GAP = "F̂ is what the learned loss believes; the gap is F̂ - exact L-F1 of the same patch."


class Picture(NamedTuple):
    """A figure as a data address, and what it shows in words."""

    address: str
    text: str
    is_narrow: bool = False


class Section(NamedTuple):
    """A part of the page."""

    name: str
    title: str
    lines: list[str]
    sheets: list[Sheet]
    pictures: list[Picture]
    is_warning: bool = False


Embed = Callable[[Figure], str]
Rows = list[dict[str, str]]


def list_sections(scores: Path, embed: Embed) -> list[Section]:
    """Read the tables of 'segnet evaluate' and arrange them; sections without a row are left out.

    Raises InputError where a table is missing, KeyError or ValueError where one is damaged.
    """
    sections = [
        _summary(scores),
        _patients(scores),
        _sizes(scores, embed),
        _sweeps(scores, embed),
        _compared(scores),
        _estimated(scores),
        _every_case(scores),
        _troubles(scores),
    ]
    return [section for section in sections if section.sheets or section.pictures]


def _summary(scores: Path) -> Section:
    means = _read(scores, "aggregate")
    rules = [_RULES[rule] for rule in _RULES if any(row["rule"] == rule for row in means)]
    sheets = tables.aggregate_sheets(means)
    return Section("scores", "Scores", [*rules, _VOXELS], sheets, [])


def _patients(scores: Path) -> Section:
    levels = _read(scores, "patients")
    each = _whole("Each patient without new lesions", scores, "clean_cases")
    sheets = [tables.patient_sheet(levels), each, tables.activity_sheet(levels)]
    return Section("patients", "Patients", [_CLEAN, _ACTIVE], sheets, [])


def _sizes(scores: Path, embed: Embed) -> Section:
    sheet, rows = _whole("", scores, "lesion_sizes"), _read(scores, "lesion_sizes")
    pictures = []
    if rows:
        text = "Share of truth lesions found, by their volume; n counts truth lesions."
        pictures = [Picture(embed(curves.draw_sizes(rows)), text, _is_narrow(rows))]
    return Section("sizes", "Lesion size", [], [sheet] if rows else [], pictures)


def _sweeps(scores: Path, embed: Embed) -> Section:
    pictures = []
    froc, thresholds, sizes = (_read(scores, name) for name in ("froc", "thresholds", "min_sizes"))
    if any(row["ltpr"] for row in froc):
        text = "FROC over the thresholds: all cases count, patients without new lesions too."
        pictures.append(Picture(embed(curves.draw_froc(froc)), text, _is_narrow(froc)))
    if any(row["dice"] for row in thresholds):
        text = "Mean over the cases with new lesions against the threshold of the probability."
        pictures.append(Picture(embed(curves.draw_thresholds(thresholds)), text))
    if any(row["dice"] for row in sizes):
        text = "Mean over the cases with new lesions against the smallest lesion that is kept."
        pictures.append(Picture(embed(curves.draw_min_sizes(sizes)), text))
    sheets = [
        _whole("Threshold", scores, "thresholds"),
        _whole("Smallest lesion", scores, "min_sizes"),
    ]
    return Section("curves", "Curves", [], [sheet for sheet in sheets if sheet.rows], pictures)


def _compared(scores: Path) -> Section:
    ranks, tests = _read(scores, "ranks"), _read(scores, "comparisons")
    sheets = [tables.rank_sheet(ranks), tables.comparison_sheet(tests)] if tests else []
    return Section("comparison", "Comparison", [_COMPARED], sheets, [])


def _estimated(scores: Path) -> Section:
    sheets = [
        _whole("Gap over all patches", scores, "estimated_gap"),
        _whole("Mean over the patches of each case", scores, "estimated_cases"),
    ]
    sheets = [sheet for sheet in sheets if sheet.rows]
    return Section("estimated", "Estimated and exact", [_GAP], sheets, [])


def _every_case(scores: Path) -> Section:
    sheets = [
        _whole("Lesion-wise, by rule", scores, "cases"),
        _whole("Voxel-wise and surfaces", scores, "voxelwise"),
        _whole("All statistics over the cases with new lesions", scores, "aggregate"),
    ]
    return Section("details", "Every case", [], sheets, [])


def _troubles(scores: Path) -> Section:
    sheets = [_whole("Not scored", scores, "failures"), _whole("Notes", scores, "notes")]
    failed = len(sheets[0].rows)
    lines = [f"{failed} predictions could not be scored and are in no table."] if failed else []
    sheets = [sheet for sheet in sheets if sheet.rows]
    return Section("troubles", "Failures and notes", lines, sheets, [], is_warning=True)


def _whole(title: str, scores: Path, name: str) -> Sheet:
    """Show a CSV file as it is."""
    rows = _read(scores, name)
    return sheet_of(title, name, rows, list(rows[0]) if rows else [])


def _read(scores: Path, name: str) -> Rows:
    return read_table(scores / f"{name}.csv")


def _is_narrow(rows: Rows) -> bool:
    return len({row["rule"] for row in rows}) < 3
