"""What a lesion is, how two masks match, and the lesion-wise scores: their one home."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import cc3d
import numpy as np
from jaxtyping import Bool, Integer

Rule = Literal["overlap", "geo", "msseg2"]

# the challenge's detection rule, Commowick et al., MSSEG-2 evaluation criteria (2021)
_MIN_FRACTION = 0.1  # alpha: share of a lesion that must be covered
_MAX_OUTSIDE = 0.7  # beta: share of a covering component that may lie outside every lesion
_EXPLAINED = 0.65  # gamma: share of the overlap after which no further component is looked at
_MSSEG2_MIN_VOLUME_MM3 = 3.0

_LARGE = 10**6  # voxels from which on it pays to look for the lesions' box first


class LesionScore(NamedTuple):
    """Lesion-wise agreement of a prediction with the truth.

    `ltpr` is hit truth lesions / truth lesions, `lppv` hit predicted lesions / predicted lesions,
    `f1` their harmonic mean. Both masks empty: all three are 1. Only one of them holds a lesion:
    all three are 0. Under "msseg2" with an empty truth `f1` is None, both rates are 0, and the
    number and volume of predicted lesions stand in; with lesions of up to 3 mm³ alone all three
    are 0, as the challenge's tool has it. `predicted_volume_mm3` is None in all other cases.
    """

    ltpr: float
    lppv: float
    f1: float | None
    truth_lesions: int
    predicted_lesions: int
    truth_hits: int
    predicted_hits: int
    predicted_volume_mm3: float | None = None


class Matching(NamedTuple):
    """Lesions of two masks and which of them are hit by the other mask.

    Labels count from 1, 0 is background; entry `i - 1` of the hits belongs to label `i`.
    """

    truth_labels: Integer[np.ndarray, "x y z"]
    predicted_labels: Integer[np.ndarray, "x y z"]
    truth_hit: Bool[np.ndarray, " truth_lesions"]
    predicted_hit: Bool[np.ndarray, " predicted_lesions"]
    truth_is_empty: bool  # of the masks as given, components that are no lesions included
    prediction_is_empty: bool


def connectivity(rule: Rule) -> Literal[6, 26]:
    """Neighbours that join voxels into one lesion under the rule."""
    return 6 if rule == "msseg2" else 26


def min_volume_mm3(rule: Rule) -> float:
    """Volume up to which, inclusive, a component is not a lesion under the rule."""
    return _MSSEG2_MIN_VOLUME_MM3 if rule == "msseg2" else 0.0


def label_lesions(
    mask: Bool[np.ndarray, "x y z"], neighbours: Literal[6, 26] = 26
) -> tuple[Integer[np.ndarray, "x y z"], int]:
    """Number the lesions of a mask from 1; return the labels and how many there are.

    >>> label_lesions(np.eye(3, dtype=bool)[None])[1]  # touching by a corner is one lesion
    1
    """
    box = _lesion_box(mask) if mask.size > _LARGE else (slice(None),) * 3
    # as bytes: on boolean masks in thin boxes cc3d 4.1.1 fails with "maximum length exception"
    voxels = np.ascontiguousarray(mask[box], dtype=np.uint8)
    labels, count = cc3d.connected_components(voxels, connectivity=neighbours, return_N=True)
    if labels.shape == mask.shape:
        return labels, int(count)
    whole = np.zeros(mask.shape, labels.dtype)
    whole[box] = labels
    return whole, int(count)


def score_lesions(
    truth: Bool[np.ndarray, "x y z"],
    prediction: Bool[np.ndarray, "x y z"],
    rule: Rule = "overlap",
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> LesionScore:
    """Count hit lesions on both sides and return the lesion-wise scores.

    Rules. "overlap" (Kamraoui et al. 2021, eq. 4): 26 neighbours, a lesion is hit when it shares at
    least one voxel with the other mask. "geo" (Zhang et al. 2021): the same lesions, but LPPV is
    hit truth lesions / predicted lesions, as that paper prints it; it can exceed 1. "msseg2": the
    challenge's detection at its defaults, 6 neighbours, components up to 3 mm³ dropped.
    `spacing_mm` matters to "msseg2" alone. Raises ValueError where the shapes differ.

    >>> truth = np.zeros((5, 5, 5), bool)
    >>> truth[0, 0, [0, 4]] = True  # two lesions of one voxel
    >>> prediction = truth.copy()
    >>> prediction[0, 0, 4] = False
    >>> score_lesions(truth, prediction).ltpr
    0.5
    """
    return score_matching(match_lesions(truth, prediction, rule, spacing_mm), rule, spacing_mm)


def score_under_rules(
    truth: Bool[np.ndarray, "x y z"],
    prediction: Bool[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    known: Mapping[Rule, Matching] | None = None,
) -> dict[Rule, LesionScore]:
    """Score under every rule; "overlap" and "geo" share one labelling of each mask.

    A matching of the same masks that is `known` already is not made again.
    """
    known = known or {}
    touching = known.get("overlap") or known.get("geo")
    touching = touching or match_lesions(truth, prediction, "overlap", spacing_mm)
    official = known.get("msseg2") or match_lesions(truth, prediction, "msseg2", spacing_mm)
    return {
        "overlap": score_matching(touching, "overlap", spacing_mm),
        "geo": score_matching(touching, "geo", spacing_mm),
        "msseg2": score_matching(official, "msseg2", spacing_mm),
    }


def score_matching(
    matching: Matching, rule: Rule, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> LesionScore:
    """Score lesions that are matched already, under the same rule or, of "overlap", as "geo"."""
    truths, truth_hits = matching.truth_hit.size, int(matching.truth_hit.sum())
    predictions, predicted_hits = matching.predicted_hit.size, int(matching.predicted_hit.sum())
    counts = (truths, predictions, truth_hits, predicted_hits)
    if rule == "msseg2" and matching.truth_is_empty:
        volume = float(np.count_nonzero(matching.predicted_labels)) * float(np.prod(spacing_mm))
        return LesionScore(0.0, 0.0, None, *counts, predicted_volume_mm3=volume)
    if truths == 0 or predictions == 0:
        both_empty = float(matching.truth_is_empty and matching.prediction_is_empty)
        return LesionScore(both_empty, both_empty, both_empty, *counts)
    ltpr = truth_hits / truths
    lppv = (truth_hits if rule == "geo" else predicted_hits) / predictions
    f1 = 2 * ltpr * lppv / (ltpr + lppv) if ltpr + lppv else 0.0
    return LesionScore(ltpr, lppv, f1, *counts)


def match_lesions(
    truth: Bool[np.ndarray, "x y z"],
    prediction: Bool[np.ndarray, "x y z"],
    rule: Rule = "overlap",
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Matching:
    """Label both masks and decide for every lesion whether the other mask hits it.

    Raises ValueError where the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    smallest = min_volume_mm3(rule) / float(np.prod(spacing_mm))
    truths, predictions = (
        _lesions_above(mask, connectivity(rule), smallest) for mask in (truth, prediction)
    )
    # every step from here on looks at voxels of lesions alone, never at the volume
    both = np.flatnonzero(truth & prediction)
    shared = truths.labels.ravel()[both], predictions.labels.ravel()[both]
    if rule == "msseg2":
        overlaps = _overlaps(*shared, predictions.sizes.size)
        hits = (
            _detected(overlaps, truths, predictions),
            _detected(overlaps.swapped(), predictions, truths),
        )
    else:
        hits = _flags(shared[0], truths.sizes.size), _flags(shared[1], predictions.sizes.size)
    return Matching(truths.labels, predictions.labels, *hits, truths.is_empty, predictions.is_empty)


def _lesion_box(mask: Bool[np.ndarray, "x y z"]) -> tuple[slice, slice, slice]:
    """Box that holds all voxels of a mask, at least one voxel of it."""
    low, high = [0, 0, 0], list(mask.shape)
    for axis in range(3):  # each cut leaves less to look at for the next
        inside = mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(inside.any(axis=others))
        low[axis] = int(filled[0]) if filled.size else 0
        high[axis] = int(filled[-1]) + 1 if filled.size else 1
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


class _Lesions(NamedTuple):
    """Labels of one mask; `sizes[0]` stands for the background and is 0."""

    labels: Integer[np.ndarray, "x y z"]
    sizes: Integer[np.ndarray, " labels"]
    is_empty: bool  # the mask, before small components were dropped


class _Overlaps(NamedTuple):
    """Pairs of a truth lesion and a predicted lesion that share voxels, and how many."""

    lesion: Integer[np.ndarray, " pairs"]
    other: Integer[np.ndarray, " pairs"]
    voxels: Integer[np.ndarray, " pairs"]

    def swapped(self) -> "_Overlaps":
        return _Overlaps(self.other, self.lesion, self.voxels)


def _lesions_above(
    mask: Bool[np.ndarray, "x y z"], neighbours: Literal[6, 26], smallest: float
) -> _Lesions:
    """Label the components of more than `smallest` voxels."""
    labels, count = label_lesions(mask, neighbours)
    if not smallest:
        return _Lesions(labels, np.zeros(count + 1, np.int64), count == 0)
    flat, voxels = labels.ravel(), np.flatnonzero(mask)
    sizes = np.bincount(flat[voxels], minlength=count + 1)
    # 3 mm³ exactly is dropped, also where voxel volumes carry rounding errors
    keep = sizes > smallest * (1 + 1e-6)
    renumbered = np.where(keep, np.cumsum(keep), 0).astype(labels.dtype)
    flat[voxels] = renumbered[flat[voxels]]
    return _Lesions(labels, np.concatenate([[0], sizes[keep]]), count == 0)


def _flags(hit_labels: Integer[np.ndarray, " voxels"], labels: int) -> Bool[np.ndarray, " lesions"]:
    flags = np.zeros(labels, bool)
    flags[hit_labels] = True
    return flags[1:]


def _overlaps(
    lesions: Integer[np.ndarray, " voxels"],
    others: Integer[np.ndarray, " voxels"],
    other_labels: int,
) -> _Overlaps:
    """Count the voxels of each pair of labels; the background is no lesion."""
    inside = (lesions > 0) & (others > 0)
    joint = lesions[inside].astype(np.int64) * other_labels + others[inside]
    pairs, voxels = np.unique(joint, return_counts=True)
    return _Overlaps(pairs // other_labels, pairs % other_labels, voxels)


def _detected(
    overlaps: _Overlaps, lesions: _Lesions, others: _Lesions
) -> Bool[np.ndarray, " lesions"]:
    """Official detection: which of the lesions the other mask's components detect."""
    count, other_count = lesions.sizes.size, others.sizes.size
    covered = np.bincount(overlaps.lesion, overlaps.voxels, minlength=count)
    inside = np.bincount(overlaps.other, overlaps.voxels, minlength=other_count)
    outside = 1 - inside / np.maximum(others.sizes, 1)
    # each lesion's components by decreasing overlap; equal ones by their number
    order = np.lexsort((overlaps.other, -overlaps.voxels, overlaps.lesion))
    lesion, voxels = overlaps.lesion[order], overlaps.voxels[order]
    before = np.cumsum(voxels) - voxels
    first = np.searchsorted(lesion, lesion)
    explained = (before - before[first]) / covered[lesion]
    strays = (explained < _EXPLAINED) & (outside[overlaps.other[order]] > _MAX_OUTSIDE)
    refused = np.bincount(lesion, strays, minlength=count) > 0
    detected: np.ndarray = (covered > _MIN_FRACTION * lesions.sizes) & ~refused
    return detected[1:]
