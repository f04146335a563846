"""Curves of an evaluation: scores against threshold and size, FROC, recall by lesion size."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segnet.tables import name_of

# hues that colour-blind readers tell apart (Okabe and Ito); markers differ too
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", ":", "-.")
_LETTER_INCHES, _LINE_INCHES = 0.07, 0.17  # of a legend's letters
_SCORES = ("dice", "ltpr", "lppv", "f1")
_FEW = 0.5  # false lesions: a FROC curve that begins below it is shown from 0 on

Row = Mapping[str, Any]
Rows = Sequence[Row]


def draw_thresholds(rows: Rows) -> Figure:
    """Dice, LTPR, LPPV and L-F1 against the threshold: a row per rule, a line per method."""
    return _draw_scores(rows, "probability from which on is lesion")


def draw_min_sizes(rows: Rows) -> Figure:
    """Dice, LTPR, LPPV and L-F1 against the size up to which predicted lesions are dropped."""
    return _draw_scores(rows, "predicted lesions dropped up to (mm³)")


def draw_froc(rows: Rows) -> Figure:
    """Share of all lesions found against false lesions per patient: a panel per rule."""
    rules = _distinct(rows, "rule")
    figure = Figure(figsize=(4.2 * len(rules), 3.2), layout="constrained")
    for axes, rule in zip(figure.subplots(1, len(rules), squeeze=False)[0], rules, strict=True):
        of_rule = [row for row in rows if row["rule"] == rule and row["ltpr"] != ""]
        _lines(
            axes, of_rule, _distinct(rows, "method"), _column("false_lesions_per_patient"), "ltpr"
        )
        axes.set(title=f"rule {rule}", xlabel="false lesions per patient", ylabel="LTPR, pooled")
        # from fractions of a false lesion to hundreds; 0 has its place
        axes.set_xscale("symlog", linthresh=1, subs=(2, 5))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        fewest = min((float(row["false_lesions_per_patient"]) for row in of_rule), default=0.0)
        axes.set(xlim=(0.8 * fewest if fewest > _FEW else 0, None), ylim=(-0.02, 1.02))
    _add_legend(figure)
    return figure


def draw_sizes(rows: Rows) -> Figure:
    """LTPR by lesion size, with the number of truth lesions below each bin: a panel per rule."""
    rules = _distinct(rows, "rule")
    figure = Figure(figsize=(4.2 * len(rules), 3.2), layout="constrained")
    for axes, rule in zip(figure.subplots(1, len(rules), squeeze=False)[0], rules, strict=True):
        of_rule = [row for row in rows if row["rule"] == rule]
        methods = _distinct(of_rule, "method")
        bins = [row for row in of_rule if row["method"] == methods[0]]
        places = {row["above_mm3"]: place for place, row in enumerate(bins)}
        known = [row for row in of_rule if row["ltpr"] != ""]
        _lines(axes, known, methods, _place_of(places), "ltpr")
        labels = [f"{_bin(row)}\nn = {row['truth_lesions']}" for row in bins]
        axes.set_xticks(range(len(bins)), labels, fontsize=7)
        axes.set(title=f"rule {rule}", xlabel="volume of the lesion (mm³)", ylabel="LTPR")
        axes.set(xlim=(-0.5, len(bins) - 0.5), ylim=(-0.02, 1.02))
    _add_legend(figure)
    return figure


def _draw_scores(rows: Rows, label: str) -> Figure:
    rules = _distinct(rows, "rule")
    figure = Figure(figsize=(11, 2.6 * len(rules)), layout="constrained")
    grid = figure.subplots(len(rules), len(_SCORES), squeeze=False, sharey=True)
    for line, rule in zip(grid, rules, strict=True):
        for axes, score in zip(line, _SCORES, strict=True):
            known = [row for row in rows if row["rule"] == rule and row[score] != ""]
            _lines(axes, known, _distinct(rows, "method"), _column("value"), score)
            axes.set(title=f"{name_of(score)}, rule {rule}", ylim=(-0.02, 1.02))
            if score == "dice":
                axes.set_title("Dice")
    for axes in grid[-1]:
        axes.set_xlabel(label, fontsize=8)
    _add_legend(figure)
    return figure


def _lines(
    axes: Axes, rows: Rows, methods: Sequence[str], place: Callable[[Row], float], score: str
) -> None:
    for index, method in enumerate(methods):
        own = [row for row in rows if row["method"] == method]
        axes.plot(
            [place(row) for row in own],
            [float(row[score]) for row in own],
            label=method,
            color=_COLOURS[index % len(_COLOURS)],
            # from the eighth on, the colours come again with other markers and dashes
            marker=_MARKERS[(index + index // len(_COLOURS)) % len(_MARKERS)],
            linestyle=_DASHES[index // len(_COLOURS) % len(_DASHES)],
            markersize=4,
        )
    axes.grid(alpha=0.3)


def _add_legend(figure: Figure) -> None:
    """Name the methods beside the panels, once for all of them, however many there are."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    width, height = figure.get_size_inches()
    longest = max((len(name) for name in names), default=0)
    figure.set_size_inches(
        width + 0.5 + _LETTER_INCHES * longest, max(height, 0.3 + _LINE_INCHES * len(names))
    )
    figure.legend(handles, names, loc="outside right center", fontsize="x-small")


def _bin(row: Row) -> str:
    low, high = float(row["above_mm3"]), row["up_to_mm3"]
    if high == "":
        return f"> {low:g}"
    return f"{low:g}–{float(high):g}"


def _place_of(places: Mapping[str, int]) -> Callable[[Row], float]:
    return lambda row: float(places[row["above_mm3"]])


def _column(name: str) -> Callable[[Row], float]:
    return lambda row: float(row[name])


def _distinct(rows: Rows, column: str) -> list[str]:
    return list(dict.fromkeys(str(row[column]) for row in rows))
