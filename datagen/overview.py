"""A picture by which a person sees whether two visits were brought together well."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from datagen.files import whole_file
from datagen.raw_visits import Prepared

_COLUMNS = 6
_BRAIN = "#56B4E9"


def draw_overview(prepared: Prepared, path: Path) -> None:
    """Draw six axial slices of either visit with the brain's outline, and their difference.

    Visits are scaled to their own median and spread inside the brain; grey in the difference is 0,
    and what brightened is bright.
    """
    brain = prepared.brain
    visits = [_scaled(visit, brain) for visit in (prepared.time1, prepared.time2)]
    rows = [*visits, (visits[1] - visits[0]) * brain]
    x_mm, y_mm, _ = prepared.grid.spacing_mm
    slices = np.flatnonzero(brain.any(axis=(0, 1)))
    shown = np.quantile(slices, np.linspace(0.1, 0.9, _COLUMNS)).astype(int)
    figure = Figure(figsize=(2 * _COLUMNS, 7), layout="constrained")
    grid = figure.subplots(len(rows), _COLUMNS)
    for row, volume, name in zip(grid, rows, ("visit 1", "visit 2", "visit 2 - 1"), strict=True):
        row[0].set_ylabel(name)
        for axes, z in zip(row, shown, strict=True):
            axes.imshow(volume[:, :, z].T, cmap="gray", origin="lower", vmin=-4, vmax=4)
            axes.contour(brain[:, :, z].T, [0.5], colors=_BRAIN, linewidths=0.7)
            axes.set_aspect(y_mm / x_mm)
            axes.set_xticks([])
            axes.set_yticks([])
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=100, format="png")


def _scaled(visit: np.ndarray, brain: np.ndarray) -> np.ndarray:
    lower, median, upper = np.percentile(visit[brain], [25, 50, 75])
    scaled: np.ndarray = (visit - median) / max(upper - lower, 1e-6) * 1.349
    return scaled
