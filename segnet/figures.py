"""Pictures of a run: its curves, and slices of both visits with truth and prediction outlined."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cc3d
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from datagen import volumes
from datagen.errors import InputError
from datagen.lesions import label_lesions

# hues that colour-blind readers tell apart (Okabe and Ito)
TRUTH, PREDICTION = "#56B4E9", "#E69F00"
_PANELS = (
    ("training loss", ("train/dice_loss",)),
    ("exact and estimated L-F1 in training", ("train/exact_f1", "train/estimated_f1", "train/gap")),
    ("whole validation cases", ("validation/dice", "validation/f1")),
)


class CaseVolumes(NamedTuple):
    """One case in closest-canonical orientation, for drawing; spacing in mm along each axis."""

    time1: Float[np.ndarray, "x y z"]
    time2: Float[np.ndarray, "x y z"]
    truth: Bool[np.ndarray, "x y z"]
    prediction: Bool[np.ndarray, "x y z"]
    spacing_mm: tuple[float, float, float]


def draw_curves(history: Sequence[dict[str, float]]) -> Figure:
    """Draw the metrics of a run against the epoch; panels without a metric are left out.

    Raises InputError where none is left.
    """
    panels = [
        (title, [name for name in names if name in history[0]])
        for title, names in _PANELS
        if any(name in history[0] for name in names)
    ]
    if not panels:
        raise InputError("history.csv holds no curve of a network's training")
    figure = Figure(figsize=(4 * len(panels), 3), layout="constrained")
    epochs = [row["epoch"] for row in history]
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, names) in zip(all_axes, panels, strict=True):
        for name in names:
            label = name.split("/")[1].replace("_", " ").replace("f1", "L-F1")
            axes.plot(epochs, [row[name] for row in history], label=label, marker=".")
        axes.set(title=title, xlabel="epoch", ylim=(0, 1.02))
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    return figure


def draw_case(case: CaseVolumes, most_slices: int = 3) -> Figure:
    """Draw a few axial slices, a row each: visit 1, visit 2, visit 2 with outlines.

    The slices go through the largest lesions of truth and prediction; a case without any shows its
    middle slice. The patient's left is on the left.
    """
    case = _crop(case)
    levels = _slices(case.truth | case.prediction, most_slices)
    x_mm, y_mm, _ = np.multiply(case.time2.shape, case.spacing_mm)
    height = 3.0 * y_mm / x_mm
    figure = Figure(figsize=(9, height * len(levels) + 0.35), layout="constrained")
    grid = figure.subplots(len(levels), 3, squeeze=False)
    for row, level in zip(grid, levels, strict=True):
        shown = (case.time1, case.time2, case.time2)
        for axes, scan in zip(row, shown, strict=True):
            aspect = case.spacing_mm[1] / case.spacing_mm[0]
            low, high = _window(scan)
            image = scan[:, :, level].T
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
            axes.set_axis_off()
            for place, side in ((0.02, "L"), (0.94, "R")):
                axes.text(place, 0.93, side, color="white", transform=axes.transAxes)
        _outline(row[2], case.truth[:, :, level], TRUTH)
        _outline(row[2], case.prediction[:, :, level], PREDICTION)
    titles = ("visit 1", "visit 2", "visit 2: truth blue, prediction orange")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    return figure


def read_case(paths: Mapping[str, str]) -> CaseVolumes:
    """Read a case from its paths: time1, time2, truth and prediction, as `sources.csv` names them.

    Raises InputError where a volume cannot be read.
    """
    time1, time2 = (volumes.read_image(Path(paths[key])) for key in ("time1", "time2"))
    truth, prediction = (volumes.read_mask(Path(paths[key])) for key in ("truth", "prediction"))
    return CaseVolumes(
        volumes.canonical_data(time1).astype(np.float32),
        volumes.canonical_data(time2).astype(np.float32),
        volumes.canonical_data(truth) > 0,
        volumes.canonical_data(prediction) > 0,
        volumes.canonical_grid(time2).spacing_mm,
    )


def _outline(axes: object, mask: Bool[np.ndarray, "x y"], colour: str) -> None:
    if mask.any():
        axes.contour(mask.T, [0.5], colors=colour, linewidths=1.3)  # type: ignore[attr-defined]


def _slices(lesions: Bool[np.ndarray, "x y z"], most: int) -> list[int]:
    """Levels of the largest lesions, one each, from below to above."""
    labels, count = label_lesions(np.ascontiguousarray(lesions))
    if count == 0:
        return [lesions.shape[2] // 2]
    statistics = cc3d.statistics(labels)
    largest = np.argsort(-statistics["voxel_counts"][1:].astype(int), kind="stable")
    levels = [round(float(statistics["centroids"][lesion + 1][2])) for lesion in largest]
    return sorted(list(dict.fromkeys(levels))[:most])


def _crop(case: CaseVolumes) -> CaseVolumes:
    """Cut to the box of the brain: where visit 2 holds signal."""
    points = np.argwhere(case.time2 > case.time2.min())
    if not points.size:
        return case
    box = tuple(slice(a, b + 1) for a, b in zip(points.min(0), points.max(0), strict=True))
    cut = [volume[box] for volume in case[:4]]
    return CaseVolumes(cut[0], cut[1], cut[2], cut[3], case.spacing_mm)


def _window(scan: Float[np.ndarray, "x y z"]) -> tuple[float, float]:
    signal = scan[scan > scan.min()]
    if not signal.size:
        return 0.0, 1.0
    low, high = np.percentile(signal, [1, 99.8])
    return float(low), float(high)
