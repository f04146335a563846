"""Figures of the agreement report."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from metricnet.agreement import Comparison
from metricnet.attack import Attack
from metricnet.data import HALF, StoredPair
from metricnet.edits import Changes
from metricnet.trajectory import TENTHS, Trajectory

# hues that colour-blind readers tell apart (Okabe and Ito)
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "0.6"


def draw_scatter(compared: Comparison) -> Figure:
    """Estimated against exact score of every pair, with the mean of each tenth: calibration."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
    axes.scatter(compared.exact, compared.estimated, s=5, alpha=0.35, color=_BLUE)
    rows = [row for row in compared.by_bin() if row["pairs"]]
    middles = [(row["from"] + row["to"]) / 2 for row in rows]
    axes.plot(middles, [row["mean_estimate"] for row in rows], "o-", color=_ORANGE)
    summary = compared.summary()
    axes.set(
        title=f"{summary['pairs']:.0f} held-out pairs: MSE {summary['mse']:.4f}, "
        f"Spearman {summary['spearman']:.3f}",
        xlabel="exact L-F1",
        ylabel="estimated L-F1",
    )
    return figure


def draw_trajectories(trajectories: Sequence[Trajectory]) -> Figure:
    """Mean |F̂ - F| in each tenth of each recorded training."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    for trajectory in trajectories:
        rows = trajectory.tenths()
        axes.plot(
            [row["tenth"] for row in rows],
            [row["mae"] for row in rows],
            "o-",
            label=trajectory.name,
        )
    axes.set(xlabel="tenth of the training", ylabel="mean |F̂ - F|", xlim=(0.5, TENTHS + 0.5))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    return figure


def draw_changes(edits: Changes, slopes: Mapping[str, Changes]) -> Figure:
    """Exact changes of one-lesion edits: against estimated ones, and against slopes of F̂."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(edits.exact, edits.estimated, s=5, alpha=0.4, color=_BLUE)
    left.set(
        title=f"{edits.exact.size} edits, {100 * edits.right:.1f} % right", ylabel="change of F̂"
    )
    for (kind, changes), colour in zip(slopes.items(), (_GREEN, _BLUE, _ORANGE), strict=True):
        label = f"{kind}: {100 * changes.right:.0f} % right"
        right.scatter(changes.exact, changes.estimated, s=5, alpha=0.4, color=colour, label=label)
    right.set(title="pieces of lesions", ylabel="slope of F̂ along the flip")
    right.legend(fontsize="small")
    for axes in (left, right):
        axes.axhline(0, color=_GREY, linewidth=0.8)
        axes.axvline(0, color=_GREY, linewidth=0.8)
        axes.set_xlabel("exact change of L-F1")
    return figure


def draw_attacks(attacks: Mapping[str, Attack]) -> Figure:
    """Exact and estimated score of each start of an ascent, before and after."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(attacks)), attacks.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
        axes.scatter(found.exact_before, found.estimated_before, s=8, color=_GREY, label="before")
        axes.scatter(found.exact_after, found.estimated_after, s=8, color=_ORANGE, label="after")
        axes.set(title=f"ascent, {name} gradient", xlabel="exact L-F1", ylabel="estimated L-F1")
        axes.legend(fontsize="small")
    return figure


def draw_slopes(
    pair: StoredPair, free: Float[np.ndarray, "d h w"], guided: Float[np.ndarray, "d h w"]
) -> Figure:
    """The slice of a pair that shows most, the slope of F̂, and the one that the loss passes on."""
    truth, sizes = pair.truth > 0, _kinds_shown(pair)
    rarest = sizes.min(axis=0)
    depth = int(np.argmax(rarest if rarest.any() else sizes.sum(axis=0)))
    # room for the hat of F̂
    figure = Figure(figsize=(11, 4.0), layout=ConstrainedLayoutEngine(h_pad=0.1))
    shown, *maps = figure.subplots(1, 3)
    shown.imshow(pair.stored[depth], cmap="gray", vmin=0, vmax=255)
    shown.contour(truth[depth], [0.5], colors=[_BLUE], linewidths=1.2)
    shown.set_title(f"map, truth outlined; L-F1 {float(pair.f1):.2f}")
    for axes, slope, title in zip(
        maps, (free, guided), ("slope of F̂", "guided slope"), strict=True
    ):
        _show_slope(axes, slope[depth], truth[depth], title)
    for axes in (shown, *maps):
        axes.set_axis_off()
    return figure


def most_of_all(pair: StoredPair) -> int:
    """Voxels of the rarest of what is hit, missed and false, in the slice that shows most of it."""
    return int(_kinds_shown(pair).min(axis=0).max())


def _kinds_shown(pair: StoredPair) -> Int[np.ndarray, "3 d"]:
    """Voxels of each slice that are hit, missed and false."""
    predicted, truth = pair.stored >= HALF, pair.truth > 0
    kinds = predicted & truth, truth & ~predicted, predicted & ~truth
    return np.array([kind.sum(axis=(1, 2)) for kind in kinds])


def _show_slope(axes: Axes, slope: Float[np.ndarray, "h w"], truth: np.ndarray, title: str) -> None:
    # a rare voxel would leave all others white
    limit = max(float(np.quantile(np.abs(slope), 0.995)), float(np.finfo(np.float32).tiny))
    axes.imshow(slope, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.contour(truth, [0.5], colors=["black"], linewidths=0.8)
    axes.set_title(f"{title} (red: raise)")
