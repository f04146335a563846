"""Pictures and tables of what a pair file holds."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datagen.files import make_folder, whole_file, write_table
from datagen.store import PairFile

_BINS = 10
_MONTAGE = (4, 6)
_EXAMPLES = 6  # of each style
_FAMILIES = 5
# two hues that colour-blind readers tell apart (Okabe and Ito)
_TRUTH, _PREDICTED = "#56B4E9", "#E69F00"
_LEGEND = "highest value along one axis; truth blue, predicted (>= 0.5) orange"


def inspect(pairs: Path, out: Path, seed: int) -> list[Path]:
    """Write four pictures and three tables of a pair file into a folder; return their paths.

    `balance.png`, `balance.csv` (by split and style), `by_count.csv` (by number of truth lesions)
    and `by_patient.csv` count the pairs by score; `montage.png` shows pairs from lowest to highest
    score, `styles.png` every style, `families.png` pairs beside the ones that they were edited
    from, where there are any. `seed` draws the pairs that are shown.
    """
    with PairFile(pairs) as file:
        rng = np.random.default_rng(seed)
        tables = {
            "balance.csv": _count(file, ("split", "style")),
            "by_count.csv": _count(file, ("truth_lesions",)),
            "by_patient.csv": _count(file, ("split", "patient")),
        }
        pictures = {
            "balance.png": draw_balance(file),
            "montage.png": _draw_montage(file, rng),
            "styles.png": _draw_styles(file, rng),
        }
        families = _draw_families(file, rng)
    if families:
        pictures["families.png"] = families
    make_folder(out)
    for name, figure in pictures.items():
        save_figure(figure, out / name)
    for name, rows in tables.items():
        write_table(out / name, rows, rows[0])
    return [out / name for name in (*pictures, *tables)]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110)


def embed_figure(figure: Figure) -> str:
    """Return a figure as a data address of an SVG picture, to stand inside a page."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def _count(file: PairFile, by: Sequence[str]) -> list[dict[str, Any]]:
    """Count the pairs of each value, or combination of values, by tenth of the score."""
    columns = [file.column(name) for name in by]
    scores = file.column("f1")
    # one number per value: numbers stay in their own order, not in that of their digits
    codes = np.stack([np.unique(column, return_inverse=True)[1] for column in columns])
    _, first, group = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    rows = []
    for number, index in enumerate(first):
        chosen = scores[group == number]
        counts, edges = np.histogram(chosen, _BINS, (0, 1))
        rows.append(
            {name: column[index].item() for name, column in zip(by, columns, strict=True)}
            | {"pairs": chosen.size}
            | {"exactly 0": int((chosen == 0).sum()), "exactly 1": int((chosen == 1).sum())}
            | {f"{a:.1f}": int(count) for a, count in zip(edges, counts, strict=False)}
        )
    return rows


def draw_balance(file: PairFile) -> Figure:
    """Draw how pairs are spread over scores, styles, numbers of lesions and patients."""
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    (by_score, by_style), (by_count, by_patient) = figure.subplots(2, 2)
    scores = file.column("f1")
    by_score.hist(scores, bins=_BINS, range=(0, 1), color=_TRUTH, edgecolor="white")
    atoms = f"exactly 0: {(scores == 0).mean():.1%}, exactly 1: {(scores == 1).mean():.1%}"
    by_score.set(title=f"{len(file)} pairs by exact L-F1 ({atoms})", xlabel="L-F1", ylabel="pairs")
    _draw_grid(by_style, file.column("style"), scores, "style")
    by_style.set(title="pairs by style and score")
    lesions = file.column("truth_lesions")
    edges = np.arange(lesions.max() + 2) - 0.5
    by_count.hist2d(lesions, scores, bins=[edges, _BINS], cmap="cividis")
    correlation = np.corrcoef(lesions, scores)[0, 1] if np.ptp(lesions) and np.ptp(scores) else 0.0
    title = f"pairs by number of lesions and score (correlation {correlation:.2f})"
    by_count.set(title=title, xlabel="truth lesions", ylabel="L-F1")
    _, counts = np.unique(file.column("patient"), return_counts=True)
    by_patient.bar(np.arange(counts.size), np.sort(counts)[::-1], color=_TRUTH)
    by_patient.set(title=f"{counts.size} patients", xlabel="patient", ylabel="pairs")
    return figure


def _draw_grid(axes: Axes, names: np.ndarray, scores: np.ndarray, label: str) -> None:
    """Draw one row per name, one column per tenth of the score, the number of pairs in each."""
    rows, of_pair = np.unique(names, return_inverse=True)
    grid = [np.histogram(scores[of_pair == row], _BINS, (0, 1))[0] for row in range(rows.size)]
    axes.imshow(grid, cmap="cividis", aspect="auto", vmin=0)
    axes.set_yticks(np.arange(rows.size), [str(row) for row in rows], fontsize="small")
    axes.set_xticks(np.arange(_BINS), [f"{place / _BINS:.1f}" for place in range(_BINS)])
    axes.set(xlabel="L-F1 from", ylabel=label)


def _draw_montage(file: PairFile, rng: np.random.Generator) -> Figure:
    rows, columns = _MONTAGE
    order = np.argsort(file.column("f1"), kind="stable")
    groups = np.array_split(order, rows * columns)
    chosen = [int(rng.choice(group)) if group.size else None for group in groups]
    grid = [chosen[start : start + columns] for start in range(0, len(chosen), columns)]
    styles = file.column("style")
    return _draw_pairs(file, grid, lambda index: str(styles[index]))


def _draw_styles(file: PairFile, rng: np.random.Generator) -> Figure:
    """Draw one row per style, from low to high scores."""
    styles, scores = file.column("style"), file.column("f1")
    grid: list[list[int | None]] = []
    for style in np.unique(styles):
        of_style = np.flatnonzero(styles == style)
        ranked = of_style[np.argsort(scores[of_style], kind="stable")]
        groups = np.array_split(ranked, _EXAMPLES)
        grid.append([int(rng.choice(group)) if group.size else None for group in groups])
    return _draw_pairs(file, grid, lambda index: str(styles[index]))


def _draw_families(file: PairFile, rng: np.random.Generator) -> Figure | None:
    """Draw pairs, each followed by those that differ from it by one edit."""
    families, edits = file.column("family"), file.column("edit")
    bases = np.unique(families[edits != ""])
    if not bases.size:
        return None
    chosen = np.sort(rng.permutation(bases)[:_FAMILIES])
    members = [np.flatnonzero(families == base).tolist() for base in chosen]
    longest = max(4, *(len(family) for family in members))
    grid = [family + [None] * (longest - len(family)) for family in members]
    return _draw_pairs(file, grid, lambda index: str(edits[index]) or "before")


def _draw_pairs(
    file: PairFile, grid: Sequence[Sequence[int | None]], name: Callable[[int], str]
) -> Figure:
    rows, columns = len(grid), len(grid[0])
    figure = Figure(figsize=(2 * columns, 2.2 * rows + 0.4), layout="constrained")
    figure.suptitle(_LEGEND, fontsize=9)
    scores = file.column("f1")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, index in zip(panels.flat, (index for row in grid for index in row), strict=True):
        axes.set_axis_off()
        if index is not None:
            _draw_pair(axes, file, index)
            axes.set_title(f"L-F1 {scores[index]:.2f}, {name(index)}", fontsize=8)
    return figure


def _draw_pair(axes: Axes, file: PairFile, index: int) -> None:
    truth, probability = (volume.max(axis=2).T for volume in file.volumes(index))
    axes.imshow(probability, cmap="gray_r", vmin=0, vmax=255, origin="lower")
    for image, level, colour in ((truth, 0.5, _TRUTH), (probability, 127.5, _PREDICTED)):
        if image.min() < level < image.max():
            axes.contour(image, [level], colors=colour, linewidths=0.9)
