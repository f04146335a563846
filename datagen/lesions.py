"""What a lesion is, how two masks match, and the lesion-wise scores: their one home."""

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
    # as bytes: on boolean masks in thin boxes cc3d 4.1.1 fails with "maximum length exception"
    voxels = np.ascontiguousarray(mask, dtype=np.uint8)
    labels, count = cc3d.connected_components(voxels, connectivity=neighbours, return_N=True)
    return labels, int(count)


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
    matching = match_lesions(truth, prediction, rule, spacing_mm)
    truths, truth_hits = matching.truth_hit.size, int(matching.truth_hit.sum())
    predictions, predicted_hits = matching.predicted_hit.size, int(matching.predicted_hit.sum())
    counts = (truths, predictions, truth_hits, predicted_hits)
    if rule == "msseg2" and not truth.any():
        volume = float(np.count_nonzero(matching.predicted_labels)) * float(np.prod(spacing_mm))
        return LesionScore(0.0, 0.0, None, *counts, predicted_volume_mm3=volume)
    if truths == 0 or predictions == 0:
        both_empty = float(not truth.any() and not prediction.any())
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
    box = _bounding_box(truth | prediction)
    smallest = min_volume_mm3(rule) / float(np.prod(spacing_mm))
    truth_labels, truths = _lesions_above(truth[box], connectivity(rule), smallest)
    predicted_labels, predictions = _lesions_above(prediction[box], connectivity(rule), smallest)
    if rule == "msseg2":
        truth_hit = _detected(truth_labels, truths, predicted_labels, predictions)
        predicted_hit = _detected(predicted_labels, predictions, truth_labels, truths)
    else:
        shared = (truth_labels > 0) & (predicted_labels > 0)
        truth_hit = _flags(truth_labels[shared], truths)
        predicted_hit = _flags(predicted_labels[shared], predictions)
    return Matching(
        _place(truth_labels, truth.shape, box),
        _place(predicted_labels, truth.shape, box),
        truth_hit,
        predicted_hit,
    )


def _bounding_box(mask: Bool[np.ndarray, "x y z"]) -> tuple[slice, slice, slice]:
    """Smallest box that holds every voxel of the mask; empty slices for an empty mask."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 0))
    return (box[0], box[1], box[2])


def _lesions_above(
    mask: Bool[np.ndarray, "x y z"], neighbours: Literal[6, 26], smallest: float
) -> tuple[Integer[np.ndarray, "x y z"], int]:
    """Label the components of more than `smallest` voxels."""
    if not mask.size:
        return np.zeros(mask.shape, np.int32), 0
    labels, count = label_lesions(mask, neighbours)
    if not smallest:
        return labels, count
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    # 3 mm³ exactly is dropped, also where voxel volumes carry rounding errors
    keep = sizes > smallest * (1 + 1e-6)
    keep[0] = False
    renumbered = np.where(keep, np.cumsum(keep), 0).astype(labels.dtype)
    return renumbered[labels], int(keep.sum())


def _flags(hit_labels: Integer[np.ndarray, " voxels"], count: int) -> Bool[np.ndarray, " lesions"]:
    flags = np.zeros(count + 1, bool)
    flags[hit_labels] = True
    return flags[1:]


def _place(
    labels: Integer[np.ndarray, "a b c"], shape: tuple[int, ...], box: tuple[slice, slice, slice]
) -> Integer[np.ndarray, "x y z"]:
    whole = np.zeros(shape, labels.dtype)
    whole[box] = labels
    return whole


def _detected(
    labels: Integer[np.ndarray, "x y z"],
    count: int,
    other_labels: Integer[np.ndarray, "x y z"],
    other_count: int,
) -> Bool[np.ndarray, " lesions"]:
    """Official detection: which lesions of `labels` the components of `other_labels` detect."""
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    other_sizes = np.bincount(other_labels.ravel(), minlength=other_count + 1)
    shared = (labels > 0) & (other_labels > 0)
    pairs, overlaps = np.unique(
        np.stack([labels[shared], other_labels[shared]]), axis=1, return_counts=True
    )
    inside = np.bincount(pairs[1], weights=overlaps, minlength=other_count + 1)
    outside = 1 - inside / np.maximum(other_sizes, 1)
    detected = np.zeros(count, bool)
    for lesion in np.unique(pairs[0]):
        of_lesion = pairs[0] == lesion
        detected[lesion - 1] = _is_detected(
            overlaps[of_lesion], outside[pairs[1][of_lesion]], int(sizes[lesion])
        )
    return detected


def _is_detected(
    overlaps: Integer[np.ndarray, " components"], outside: np.ndarray, size: int
) -> bool:
    total = int(overlaps.sum())
    if total <= _MIN_FRACTION * size:
        return False
    order = np.argsort(-overlaps, kind="stable")
    explained = np.cumsum(overlaps[order]) / total
    looked_at = int(np.searchsorted(explained, _EXPLAINED)) + 1
    return bool(np.all(outside[order[:looked_at]] <= _MAX_OUTSIDE))
