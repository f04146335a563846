"""One row per lesion of truth and prediction, and recall by lesion size."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from nibabel.affines import apply_affine

from datagen.lesions import Matching, Rule
from datagen.overlaps import count_overlaps
from datagen.volumes import Grid

Side = Literal["truth", "predicted"]
Outcome = Literal["hit", "missed", "false"]


class LesionRow(NamedTuple):
    """One lesion under one rule.

    `id` counts from 1 on its side. `partners` are the ids of the other side's lesions that share a
    voxel with it, by decreasing overlap; under "msseg2" a lesion may have partners and be missed
    all the same. The centroid is in scanner millimetres (RAS+). The probabilities are None where
    there is no map.
    """

    case: str
    method: str
    rule: Rule
    side: Side
    id: int
    outcome: Outcome
    volume_mm3: float
    x_mm: float
    y_mm: float
    z_mm: float
    partners: str
    overlap_mm3: float
    peak_probability: float | None
    mean_probability: float | None


class SizeBin(NamedTuple):
    """Lesions of a method, under one rule, whose volume lies in (`above_mm3`, `up_to_mm3`].

    `up_to_mm3` is None in the last bin, `ltpr` where the bin holds no truth lesion.
    `false_lesions` are the predicted ones that hit nothing.
    """

    method: str
    rule: Rule
    above_mm3: float
    up_to_mm3: float | None
    truth_lesions: int
    truth_hits: int
    ltpr: float | None
    predicted_lesions: int
    false_lesions: int


def list_lesions(
    case: str,
    method: str,
    rule: Rule,
    matching: Matching,
    grid: Grid,
    probability: Float[np.ndarray, "x y z"] | None,
) -> list[LesionRow]:
    """Describe every lesion of truth and prediction; none where both masks are empty."""
    truth, predicted = matching.truth_labels, matching.predicted_labels
    sides: tuple[tuple[Side, Outcome], ...] = (("truth", "missed"), ("predicted", "false"))
    labels = ((truth, predicted), (predicted, truth))
    hits = (matching.truth_hit, matching.predicted_hit)
    rows = []
    for (side, otherwise), (own, other), hit in zip(sides, labels, hits, strict=True):
        lesions = _describe(own, other, hit.size, grid, probability)
        rows += [
            LesionRow(case, method, rule, side, id, "hit" if is_hit else otherwise, **lesion)
            for id, (is_hit, lesion) in enumerate(zip(hit, lesions, strict=True), start=1)
        ]
    return rows


def recall_by_size(rows: Sequence[LesionRow], edges_mm3: Sequence[float]) -> list[SizeBin]:
    """Count hit lesions by size, for each method and rule; every bin appears, empty ones too.

    A truth lesion is filed by its own volume, a predicted one by its own.
    """
    lower, upper = (0.0, *edges_mm3), (*edges_mm3, None)
    bins = []
    for method, rule in dict.fromkeys((row.method, row.rule) for row in rows):
        chosen = [row for row in rows if (row.method, row.rule) == (method, rule)]
        for above, up_to in zip(lower, upper, strict=True):
            # a volume of exactly an edge lies below it, also where it carries a rounding error
            low, high = above * (1 + 1e-6), np.inf if up_to is None else up_to * (1 + 1e-6)
            inside = [row for row in chosen if low < row.volume_mm3 <= high]
            bins.append(SizeBin(method, rule, above, up_to, *_counts(inside)))
    return bins


def add_up(bins: Sequence[SizeBin]) -> list[SizeBin]:
    """Add up the bins of several cases: one per method, rule and size that appears."""
    groups: dict[tuple[str, Rule], dict[float, list[SizeBin]]] = {}
    for one in bins:
        of_size = groups.setdefault((one.method, one.rule), {})
        of_size.setdefault(one.above_mm3, []).append(one)
    return [_sum(same) for of_size in groups.values() for same in of_size.values()]


def _sum(bins: Sequence[SizeBin]) -> SizeBin:
    truth, hits = (sum(getattr(one, n) for one in bins) for n in ("truth_lesions", "truth_hits"))
    return bins[0]._replace(
        truth_lesions=truth,
        truth_hits=hits,
        ltpr=hits / truth if truth else None,
        predicted_lesions=sum(one.predicted_lesions for one in bins),
        false_lesions=sum(one.false_lesions for one in bins),
    )


def _counts(rows: Sequence[LesionRow]) -> tuple[int, int, float | None, int, int]:
    truth = [row.outcome for row in rows if row.side == "truth"]
    predicted = [row.outcome for row in rows if row.side == "predicted"]
    hits = truth.count("hit")
    ltpr = hits / len(truth) if truth else None
    return len(truth), hits, ltpr, len(predicted), predicted.count("false")


def _describe(
    own: Integer[np.ndarray, "x y z"],
    other: Integer[np.ndarray, "x y z"],
    count: int,
    grid: Grid,
    probability: Float[np.ndarray, "x y z"] | None,
) -> list[dict[str, Any]]:
    """Volume, centroid, partners, overlap and probabilities of each lesion of one side."""
    voxels = np.flatnonzero(own > 0)
    of_point = own.ravel()[voxels] - 1
    sizes = np.bincount(of_point, minlength=count)
    sums = [np.bincount(of_point, axis, count) for axis in np.unravel_index(voxels, own.shape)]
    centres_mm = apply_affine(grid.affine, np.stack(sums, axis=1) / sizes[:, None])
    partners = _partners(of_point, other.ravel()[voxels], count)
    voxel_mm3 = grid.voxel_volume_mm3
    peaks: list[float | None] = [None] * count
    means: list[float | None] = [None] * count
    if probability is not None:
        inside = probability.ravel()[voxels].astype(np.float64)
        highest = np.zeros(count)
        np.maximum.at(highest, of_point, inside)
        peaks = [float(value) for value in highest]
        means = [float(value) for value in np.bincount(of_point, inside, count) / sizes]
    return [
        {
            "volume_mm3": float(sizes[lesion]) * voxel_mm3,
            **{f"{axis}_mm": round(float(at), 3) for axis, at in zip("xyz", centre, strict=True)},
            "partners": " ".join(str(partner) for partner in partners[lesion]),
            "overlap_mm3": float(sum(partners[lesion].values())) * voxel_mm3,
            "peak_probability": peaks[lesion],
            "mean_probability": means[lesion],
        }
        for lesion, centre in enumerate(centres_mm)
    ]


def _partners(
    own: Integer[np.ndarray, " voxels"], other: Integer[np.ndarray, " voxels"], count: int
) -> list[dict[int, int]]:
    """Voxels that each lesion shares with each of the other side's, the largest share first."""
    shared = other > 0
    pairs = count_overlaps(own[shared], other[shared], int(other.max(initial=0)) + 1)
    partners: list[dict[int, int]] = [{} for _ in range(count)]
    for index in np.argsort(-pairs.voxels, kind="stable"):
        partners[int(pairs.lesion[index])][int(pairs.other[index])] = int(pairs.voxels[index])
    return partners
