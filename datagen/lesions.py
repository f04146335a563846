"""What a lesion is, how two masks match, and the lesion-wise scores: their one home."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, get_args

import cc3d
import numpy as np
from jaxtyping import Bool, Integer, Shaped

from datagen.boxes import foreground_box
from datagen.overlaps import count_overlaps, detected

Rule = Literal["overlap", "geo", "msseg2"]

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


class Lesions(NamedTuple):
    """Lesions of one mask: labels count from 1, 0 is background.

    `voxels` are the flat indices of all that belongs to a lesion, `sizes` counts them by label (0
    for the background). `is_empty` speaks of the mask as given, components that are no lesions
    included.
    """

    labels: Integer[np.ndarray, "x y z"]
    voxels: Integer[np.ndarray, " voxels"]
    sizes: Integer[np.ndarray, " labels"]
    is_empty: bool

    def above(self, volume_mm3: float, voxel_volume_mm3: float) -> "Lesions":
        """Return the lesions of more than a volume, numbered anew in the same order."""
        # 3 mm³ exactly is dropped, also where voxel volumes carry rounding errors
        keep = self.sizes > volume_mm3 / voxel_volume_mm3 * (1 + 1e-6)
        if keep[1:].all():
            return self
        number = np.where(keep, np.cumsum(keep), 0).astype(self.labels.dtype)
        owner = number[self.labels.ravel()[self.voxels]]
        labels = np.zeros_like(self.labels)
        labels.ravel()[self.voxels] = owner
        sizes = np.concatenate([[0], self.sizes[keep]])
        return Lesions(labels, self.voxels[owner > 0], sizes, self.is_empty)


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
    """Neighbours that join voxels into one lesion under the rule; ValueError if it is unknown."""
    if rule not in get_args(Rule):
        raise ValueError(f"rule '{rule}' is unknown; take one of {', '.join(get_args(Rule))}")
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
    box = foreground_box(mask) if mask.size > _LARGE else (slice(None),) * 3
    # as bytes: on boolean masks in thin boxes cc3d 4.1.1 fails with "maximum length exception"
    voxels = np.ascontiguousarray(mask[box], dtype=np.uint8)
    labels, count = cc3d.connected_components(voxels, connectivity=neighbours, return_N=True)
    if labels.shape == mask.shape:
        return labels, int(count)
    whole = np.zeros(mask.shape, labels.dtype)
    whole[box] = labels
    return whole, int(count)


def score_lesions(
    truth: Shaped[np.ndarray, "x y z"],
    prediction: Shaped[np.ndarray, "x y z"],
    rule: Rule = "overlap",
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> LesionScore:
    """Count hit lesions on both sides and return the lesion-wise scores.

    Rules. "overlap" (Kamraoui et al. 2021, eq. 4): 26 neighbours, a lesion is hit when it shares at
    least one voxel with the other mask. "geo" (Zhang et al. 2021): the same lesions, but LPPV is
    hit truth lesions / predicted lesions, as that paper prints it; it can exceed 1. "msseg2": the
    challenge's detection at its defaults, 6 neighbours, components up to 3 mm³ dropped.
    `spacing_mm` matters to "msseg2" alone. Masks are boolean, or of 0 and 1. Raises ValueError for
    other shapes or values, or an unknown rule.

    >>> truth = np.zeros((5, 5, 5), bool)
    >>> truth[0, 0, [0, 4]] = True  # two lesions of one voxel
    >>> prediction = truth.copy()
    >>> prediction[0, 0, 4] = False
    >>> score_lesions(truth, prediction).ltpr
    0.5
    """
    masks = (_as_mask(truth, "truth"), _as_mask(prediction, "prediction"))
    return score_matching(match_lesions(*masks, rule, spacing_mm), rule, spacing_mm)


def _as_mask(volume: Shaped[np.ndarray, "x y z"], name: str) -> Bool[np.ndarray, "x y z"]:
    if volume.dtype == bool:
        return volume
    mask: np.ndarray = volume == 1
    if not (mask | (volume == 0)).all():
        raise ValueError(
            f"a {name} of booleans, or of 0 and 1, is needed; compare a probability map with a "
            "threshold, labels with 0"
        )
    return mask


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


def find_lesions(
    mask: Bool[np.ndarray, "x y z"],
    rule: Rule = "overlap",
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Lesions:
    """Find what counts as a lesion of a mask under the rule; the same for "overlap" and "geo"."""
    labels, count = label_lesions(mask, connectivity(rule))
    voxels = np.flatnonzero(mask)
    sizes = np.bincount(labels.ravel()[voxels], minlength=count + 1)
    found = Lesions(labels, voxels, sizes, count == 0)
    return found.above(min_volume_mm3(rule), float(np.prod(spacing_mm)))


def find_under_rules(
    mask: Bool[np.ndarray, "x y z"],
    rules: Iterable[Rule],
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> dict[Rule, Lesions]:
    """Find the lesions of a mask under each rule; "overlap" and "geo" share one labelling."""
    alike: dict[Rule, Rule] = {rule: "overlap" if rule == "geo" else rule for rule in rules}
    found = {kind: find_lesions(mask, kind, spacing_mm) for kind in set(alike.values())}
    return {rule: found[kind] for rule, kind in alike.items()}


def score_kept(
    truths: Mapping[Rule, Lesions],
    kept: Lesions,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> dict[Rule, LesionScore]:
    """Score what is left of a mask's lesions as if no other had ever been in it.

    `truths` are those of `find_under_rules`, `kept` what `Lesions.above` keeps of "overlap".
    """
    kept = kept._replace(is_empty=not kept.voxels.size)
    scores = {}
    for rule, wanted in truths.items():
        found = find_lesions(kept.labels > 0, rule, spacing_mm) if rule == "msseg2" else kept
        scores[rule] = score_matching(match_found(wanted, found, rule), rule, spacing_mm)
    return scores


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
    truths, predictions = (find_lesions(mask, rule, spacing_mm) for mask in (truth, prediction))
    return match_found(truths, predictions, rule)


def match_found(truths: Lesions, predictions: Lesions, rule: Rule) -> Matching:
    """Decide for every lesion of two masks on one grid, found under the rule, whether it is hit."""
    # every step looks at voxels of lesions alone, never at the volume
    lesion, other = truths.labels.ravel()[truths.voxels], predictions.labels.ravel()[truths.voxels]
    shared = lesion[other > 0], other[other > 0]
    if rule == "msseg2":
        overlaps = count_overlaps(*shared, predictions.sizes.size)
        hits = (
            detected(overlaps, truths.sizes, predictions.sizes),
            detected(overlaps.swapped(), predictions.sizes, truths.sizes),
        )
    else:
        hits = _flags(shared[0], truths.sizes.size), _flags(shared[1], predictions.sizes.size)
    return Matching(truths.labels, predictions.labels, *hits, truths.is_empty, predictions.is_empty)


def _flags(hit_labels: Integer[np.ndarray, " voxels"], labels: int) -> Bool[np.ndarray, " lesions"]:
    flags = np.zeros(labels, bool)
    flags[hit_labels] = True
    return flags[1:]
