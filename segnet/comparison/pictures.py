"""The figures of a comparison: each method's scores by themselves, and L-F1 against Dice."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segnet.comparison.tabulation import SeedMean
from segnet.evaluation.summaries import NO_RULE, Summary
from segnet.tables import name_of

_MEAN, _SEED = "#0072B2", "#D55E00"
_NAME_HEIGHT = 0.04  # of a panel: a line of text


def draw_methods(summaries: Sequence[Summary], seeds: Sequence[SeedMean]) -> Figure:
    """L-F1 under each rule, and Dice: methods from above, the best L-F1 first.

    A dot is the mean over cases, its bar the 95 % bootstrap interval over patients; a small ring is
    the mean of one seed.
    """
    rules = [rule for rule in dict.fromkeys(one.rule for one in summaries) if rule != NO_RULE]
    panels = [(rule, "f1") for rule in rules] + [(NO_RULE, "dice")]
    order = _order(summaries, panels[0])
    figure = Figure(
        figsize=(2.2 + 3.2 * len(panels), 1.1 + 0.34 * len(order)), layout="constrained"
    )
    columns = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (rule, metric) in zip(columns, panels, strict=True):
        own = {one.method: one for one in summaries if (one.rule, one.metric) == (rule, metric)}
        rings = [one for one in seeds if (one.rule, one.metric) == (rule, metric)]
        _draw(axes, own, rings, order)
        title = name_of(metric) if rule == NO_RULE else f"{name_of(metric)}, rule {rule}"
        axes.set(title=title, xlim=(0, None))
    columns[0].set_yticks(range(len(order)), order)
    columns[0].invert_yaxis()
    shown = columns[-1].get_legend_handles_labels()
    figure.legend(*shown, loc="outside lower right", ncols=2, fontsize="x-small")
    return figure


def draw_front(summaries: Sequence[Summary]) -> Figure:
    """L-F1 against the Dice coefficient, a panel per rule, a labelled dot per method.

    The line is the front: methods that no other one beats in both. Names stand beside the panel.
    """
    rules = [rule for rule in dict.fromkeys(one.rule for one in summaries) if rule != NO_RULE]
    dice = _means(summaries, NO_RULE, "dice")
    figure = Figure(figsize=(6.4 * len(rules), 5.6), layout="constrained")
    for axes, rule in zip(figure.subplots(1, len(rules), squeeze=False)[0], rules, strict=True):
        f1 = _means(summaries, rule, "f1")
        points = {method: (dice[method], f1[method]) for method in f1 if method in dice}
        front = _front(list(points.values()))
        axes.plot([x for x, _ in front], [y for _, y in front], color=_SEED, alpha=0.4, lw=1)
        for point in points.values():
            axes.plot(*point, "o", color=_SEED if point in front else _MEAN, ms=5)
        for (method, point), height in zip(points.items(), _apart(points.values()), strict=True):
            axes.annotate(
                method,
                point,
                (1.02, height),
                textcoords=axes.get_yaxis_transform(),
                va="center",
                fontsize="x-small",
                arrowprops={
                    "arrowstyle": "-",
                    "color": "0.7",
                    "lw": 0.5,
                    "shrinkA": 0,
                    "relpos": (0, 0.5),
                },
            )
        axes.set(xlabel=name_of("dice"), ylabel=f"{name_of('f1')}, rule {rule}")
        axes.grid(alpha=0.3)
    return figure


def _apart(points: Collection[tuple[float, float]]) -> list[float]:
    """Heights of the points' names beside the panel: in order, near them, none on another."""
    if not points:
        return []
    heights = np.array([y for _, y in points])
    least = _NAME_HEIGHT * max(float(np.ptp(heights)), 0.1)
    placed = np.zeros_like(heights)
    above = np.inf
    for index in np.argsort(-heights, kind="stable"):
        placed[index] = above = min(heights[index], above - least)
    shifted: list[float] = (placed + (heights - placed).mean()).tolist()
    return shifted


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other one reaches in both scores, from left to right."""
    return sorted(
        (x, y)
        for x, y in points
        if not any(x <= other[0] and y <= other[1] for other in points if other != (x, y))
    )


def _means(summaries: Sequence[Summary], rule: str, metric: str) -> dict[str, float]:
    """Means of the methods where the score is defined."""
    own = [one for one in summaries if (one.rule, one.metric) == (rule, metric)]
    return {one.method: one.mean for one in own if one.mean is not None}


def _draw(
    axes: Axes, own: dict[str, Summary], rings: Sequence[SeedMean], order: Sequence[str]
) -> None:
    places = {method: place for place, method in enumerate(order)}
    for one in own.values():
        if one.ci_low is not None and one.ci_high is not None:
            axes.plot([one.ci_low, one.ci_high], [places[one.method]] * 2, color=_MEAN, lw=2)
    means = [(one.mean, places[one.method]) for one in own.values() if one.mean is not None]
    single = [(ring.mean, places[ring.method]) for ring in rings if ring.mean is not None]
    full: dict[str, Any] = {"color": _MEAN, "ms": 6, "label": "mean, 95 % interval"}
    hollow: dict[str, Any] = {"mec": _SEED, "mfc": "none", "ms": 4, "label": "one seed"}
    for points, look in ((means, full), (single, hollow)):
        axes.plot([x for x, _ in points], [y for _, y in points], "o", **look)
    axes.grid(alpha=0.3)


def _order(summaries: Sequence[Summary], panel: tuple[str, str]) -> list[str]:
    """Methods by the first panel's mean, the best first; those without one last."""
    means = {one.method: one.mean for one in summaries if (one.rule, one.metric) == panel}
    return sorted(means, key=lambda method: 1.0 if (m := means[method]) is None else -m)
