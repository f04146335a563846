"""Pictures and a table of what a pair file holds."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from datagen.files import make_folder, whole_file, write_table
from datagen.store import PairFile

_PANELS = (4, 6)
_SPLITS = ("train", "validation")
# two hues that colour-blind readers tell apart (Okabe and Ito)
_TRUTH, _PREDICTED = "#56B4E9", "#E69F00"


def inspect(pairs: Path, out: Path, seed: int) -> list[Path]:
    """Write `balance.png`, `montage.png` and `balance.csv`; return their paths.

    The montage shows pairs drawn with `seed`, one from each tenth of the sorted scores in turn.
    """
    with PairFile(pairs) as file:
        rows = _rows(file)
        pictures = {
            out / "balance.png": _draw_balance(file),
            out / "montage.png": _draw_montage(file, np.random.default_rng(seed)),
        }
    make_folder(out)
    for path, figure in pictures.items():
        save_figure(figure, path)
    write_table(out / "balance.csv", rows, rows[0])
    return [*pictures, out / "balance.csv"]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110)


def _rows(file: PairFile) -> list[dict[str, Any]]:
    """Number of pairs by split, style and tenth of the score."""
    scores, styles, splits = (file.column(name) for name in ("f1", "style", "split"))
    rows = []
    for split in np.unique(splits):
        for style in np.unique(styles):
            chosen = scores[(splits == split) & (styles == style)]
            counts, edges = np.histogram(chosen, bins=10, range=(0, 1))
            bins = {f"{edge:.1f}": int(count) for edge, count in zip(edges, counts, strict=False)}
            exact = {"exactly 0": int((chosen == 0).sum()), "exactly 1": int((chosen == 1).sum())}
            rows.append({"split": split, "style": style, "pairs": chosen.size, **exact, **bins})
    return rows


def _draw_balance(file: PairFile) -> Figure:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    by_score, by_count, by_patient = figure.subplots(1, 3)
    scores, styles = file.column("f1"), file.column("style")
    names = np.unique(styles)
    of_style = [scores[styles == name] for name in names]
    by_score.hist(of_style, bins=10, range=(0, 1), stacked=True, label=list(names))
    by_score.set(title=f"{len(file)} pairs by exact L-F1", xlabel="L-F1", ylabel="pairs")
    by_score.legend(title="style", fontsize="small")
    lesions = file.column("truth_lesions")
    by_count.scatter(lesions, scores, s=3, alpha=0.4)
    by_count.set(title="score and number of lesions", xlabel="truth lesions", ylabel="L-F1")
    patients, counts = np.unique(file.column("patient"), return_counts=True)
    by_patient.bar(np.arange(patients.size), counts)
    by_patient.set(title=f"{patients.size} patients", xlabel="patient", ylabel="pairs")
    return figure


def _draw_montage(file: PairFile, rng: np.random.Generator) -> Figure:
    rows, columns = _PANELS
    order = np.argsort(file.column("f1"), kind="stable")
    groups = np.array_split(order, rows * columns)
    chosen = [int(rng.choice(group)) for group in groups if group.size]
    figure = Figure(figsize=(2 * columns, 2.25 * rows), layout="constrained")
    figure.suptitle("darkest voxel along one axis; truth blue, predicted (>= 0.5) orange")
    scores, styles = file.column("f1"), file.column("style")
    for axes in figure.subplots(rows, columns).flat:
        axes.set_axis_off()
    for axes, index in zip(figure.axes, chosen, strict=False):
        truth, probability = (volume.max(axis=2).T for volume in file.volumes(index))
        axes.imshow(probability, cmap="gray_r", vmin=0, vmax=255, origin="lower")
        for image, level, colour in ((truth, 0.5, _TRUTH), (probability, 127.5, _PREDICTED)):
            if image.min() < level < image.max():
                axes.contour(image, [level], colors=colour, linewidths=0.9)
        axes.set_title(f"L-F1 {scores[index]:.2f}, {styles[index]}", fontsize=8)
    return figure
