"""The figure of a comparison: each method's scores with their intervals, and each seed's mean."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segnet.comparison.tabulation import SeedMean
from segnet.evaluation.summaries import NO_RULE, Summary
from segnet.tables import name_of

_MEAN, _SEED = "#0072B2", "#D55E00"


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
    columns[-1].legend(*columns[-1].get_legend_handles_labels(), fontsize="x-small")
    return figure


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
