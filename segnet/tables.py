"""Tables of scores: as text in the terminal, in Markdown and LaTeX, and cells for the report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

NAMES = {
    "dice": "Dice",
    "ltpr": "LTPR",
    "lppv": "LPPV",
    "f1": "L-F1",
    "ppv": "PPV",
    "hd95_mm": "HD95 (mm)",
    "assd_mm": "ASSD (mm)",
    "hd95_volume_mm": "HD95 of volumes (mm)",
    "boundary_dice": "boundary Dice",
    "boundary_dice_1": "± 1 voxel",
    "boundary_dice_2": "± 2 voxels",
    "boundary_dice_3": "± 3 voxels",
    "boundary_dice_4": "± 4 voxels",
    "volume_difference_mm3": "volume difference (mm³)",
    "absolute_volume_difference_mm3": "|volume difference| (mm³)",
    "active_called_active": "active, called active",
    "active_called_clean": "active, called clean",
    "clean_called_clean": "clean, called clean",
    "clean_called_active": "clean, called active",
    "false_lesions_mean": "false lesions per clean patient",
    "false_lesions_most": "most in one patient",
    "false_volume_mm3_mean": "false mm³ per clean patient",
    "ci_low": "95 % from",
    "ci_high": "to",
    "p_holm": "p (Holm)",
    "estimated_f1": "F̂",
    "exact_f1": "exact L-F1",
}
_TEXTS = frozenset(
    {"method", "rule", "case", "metric", "first", "second", "reason", "note", "is clean", "swept"}
)
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "±": "$\\pm$",
    "³": "$^3$",
    "<": "$<$",
    ">": "$>$",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "\\": "\\textbackslash{}",
    "|": "\\textbar{}",
    "F̂": "$\\hat{F}$",
    "–": "--",
}


class Cell(NamedTuple):
    """What a cell shows, and the number behind it exactly as the CSV file has it, or an empty text.

    A cell whose `value` is empty is sorted by its text.
    """

    text: str
    value: str = ""


class Sheet(NamedTuple):
    """A table: a title, a head per column, and rows of cells; texts stand left, numbers right.

    A sheet that shows a CSV file as it is names that file and its columns.
    """

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    source: str = ""
    columns: tuple[str, ...] = ()

    def is_text(self, head: str) -> bool:
        """Tell whether a column holds words."""
        return head in _TEXTS


def sheet_of(
    title: str, source: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> Sheet:
    """Show columns of the rows of `source`, read from its file or still in memory, as they are."""
    heads = tuple(name_of(column) for column in columns)
    cells = [tuple(cell_of(row[column], column) for column in columns) for row in rows]
    return Sheet(title, heads, cells, source, tuple(columns))


def aggregate_sheets(
    rows: Sequence[Mapping[str, Any]], left_out: Sequence[str] = ()
) -> list[Sheet]:
    """Mean ± standard deviation over the cases with new lesions: a sheet per rule, a row a method.

    The last sheet holds the voxel-wise and surface scores, which know no rule. `left_out` names
    scores that are not shown.
    """
    sheets = []
    for rule in dict.fromkeys(str(row["rule"]) for row in rows):
        of_rule = [row for row in rows if row["rule"] == rule]
        metrics = list(dict.fromkeys(str(row["metric"]) for row in of_rule))
        metrics = [metric for metric in metrics if metric not in left_out]
        cells = []
        for method in dict.fromkeys(str(row["method"]) for row in of_rule):
            own = {row["metric"]: row for row in of_rule if row["method"] == method}
            # a score that is not defined everywhere says itself over how many cases it runs
            most = str(max(int(row["cases"]) + int(row["undefined"]) for row in own.values()))
            shown = [_mean(own[metric]) for metric in metrics]
            cells.append((Cell(method), Cell(most, most), *shown))
        title = f"Cases with new lesions, rule {rule}"
        if rule == "voxel-wise":
            title = "Cases with new lesions, voxel-wise and surfaces"
        heads = ("method", "cases", *(name_of(metric) for metric in metrics))
        sheets.append(Sheet(title, heads, cells))
    return sheets


def patient_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Patients without new lesions, and who is called active: a row per method and rule."""
    columns = (
        "method",
        "rule",
        "clean_called_clean",
        "clean_called_active",
        "specificity",
        "false_lesions_mean",
        "false_lesions_most",
        "false_volume_mm3_mean",
    )
    return sheet_of("Patients without new lesions", "patients", rows, columns)


def activity_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Confusion matrix of patients with and without new lesions: a row per method and rule."""
    columns = (
        "method",
        "rule",
        "active_called_active",
        "active_called_clean",
        "clean_called_clean",
        "clean_called_active",
        "sensitivity",
        "specificity",
    )
    return sheet_of("Any new lesion?", "patients", rows, columns)


def rank_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Mean ranks of the methods by each score."""
    columns = ("rule", "metric", "method", "cases", "mean_rank")
    return sheet_of("Mean rank over the same cases (1 is best)", "ranks", rows, columns)


def comparison_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Paired tests of every two methods by each score."""
    columns = ("rule", "metric", "first", "second", "cases", "mean_difference", "p", "p_holm")
    title = "Paired comparison: Wilcoxon signed-rank test"
    return sheet_of(title, "comparisons", rows, (*columns, "effect_size"))


def print_sheets(sheets: Iterable[Sheet], log_width: int) -> None:
    """Print the sheets to the terminal; into a log, which has no edge, in that many characters."""
    console = Console()
    if not console.is_terminal:
        console.width = log_width
    for sheet in sheets:
        console.print(_as_terminal_table(sheet))


def _as_terminal_table(sheet: Sheet) -> Table:
    table = Table(title=Text(sheet.title), title_justify="left")
    for head in sheet.heads:
        table.add_column(Text(head), justify="left" if sheet.is_text(head) else "right")
    for row in sheet.rows:  # as texts: brackets of a name are no markup
        table.add_row(*(Text(cell.text) for cell in row))
    return table


def as_markdown(sheet: Sheet) -> str:
    """Return the sheet as Markdown, under its title."""
    rules = ["---" if sheet.is_text(head) else "---:" for head in sheet.heads]
    body = [[cell.text.replace("|", "\\|") for cell in row] for row in sheet.rows]
    heads = [head.replace("|", "\\|") for head in sheet.heads]
    lines = ["| " + " | ".join(row) + " |" for row in (heads, rules, *body)]
    return "\n".join([f"**{sheet.title}**", "", *lines, ""])


def as_latex(sheet: Sheet) -> str:
    """Return the sheet as a LaTeX table in the style of booktabs, ready for a paper."""
    columns = "".join("l" if sheet.is_text(head) else "r" for head in sheet.heads)
    body = [" & ".join(_escaped(cell.text) for cell in row) + r" \\" for row in sheet.rows]
    heads = " & ".join(_escaped(head) for head in sheet.heads) + r" \\"
    begin = [r"\begin{table}", r"\centering", rf"\caption{{{_escaped(sheet.title)}}}"]
    table = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", heads, r"\midrule", *body]
    end = [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join([*begin, *table, *end])


def name_of(column: str) -> str:
    """Return the head under which a column is shown."""
    return NAMES.get(column, column.replace("mm3", "mm³").replace("_", " "))


def cell_of(value: Any, column: str) -> Cell:
    """Show one value; a number keeps what the CSV file says of it, an empty one is a dash."""
    if value is None or value == "":
        return Cell("–")
    if name_of(column) in _TEXTS:
        return Cell(name_of(str(value)) if column == "metric" else str(value))
    text = str(value)
    number = float(text)
    is_whole = "." not in text and "e" not in text
    return Cell(text if is_whole else _rounded(number, column), text)


def _rounded(number: float, column: str) -> str:
    """Three decimals, or one for millimetres and volumes; a tiny p value is not 0."""
    if column in ("p", "p_holm") and number < 0.001:
        return "< 0.001"
    return f"{number:.1f}" if column.endswith(("_mm3", "_mm", "mm3_mean")) else f"{number:.3f}"


def _mean(row: Mapping[str, Any]) -> Cell:
    if row["mean"] in (None, ""):
        return Cell("–")
    metric, std = str(row["metric"]), row["std"]
    shown = _rounded(float(row["mean"]), metric)
    if std not in (None, ""):
        shown += f" ± {_rounded(float(std), metric)}"
    if int(row["undefined"]):
        shown += f" (of {row['cases']})"
    return Cell(shown, str(row["mean"]))


def _escaped(text: str) -> str:
    for plain in ("F̂",):
        text = text.replace(plain, "\0")
    return "".join(_LATEX.get(character, character) for character in text).replace(
        "\0", _LATEX["F̂"]
    )
