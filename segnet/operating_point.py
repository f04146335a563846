"""Threshold and smallest lesion of a trained network, chosen on its validation cases."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from datagen.errors import InputError
from datagen.files import write_json
from datagen.lesions import Rule, find_lesions, find_under_rules, score_kept
from datagen.scans import Scans
from datagen.wording import counted
from metricnet.config import Precision
from segnet.config import MIN_VOLUME_MM3, PredictSettings
from segnet.data import LabelledScans
from segnet.inference import predict_probabilities

FILE_NAME = "operating_point.json"
THRESHOLD = 0.5
_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_MIN_VOLUMES_MM3 = (0.0, MIN_VOLUME_MM3, 6.0, 10.0, 20.0, 40.0)
_RULES: tuple[Rule, ...] = ("overlap", "msseg2")
_ROUNDING = 1e-9  # of sums of the same scores in another order
_OVERLAP = 0.25  # of windows: what the maps gain beyond it does not move a threshold


class OperatingPoint(NamedTuple):
    """From which probability on is lesion, and up to which volume lesions are dropped.

    `f1` is the exact L-F1 that was reached, the mean of "overlap" and "msseg2" over the `cases`
    it was chosen on.
    """

    threshold: float
    min_volume_mm3: float
    f1: float
    cases: int


def choose_point(
    network: Callable[[Tensor], Tensor],
    cases: Sequence[LabelledScans],
    patch: int,
    precision: Precision,
) -> OperatingPoint:
    """Return the point of the best mean L-F1 over the cases.

    Of equal ones, that next to the usual.
    """
    points = list(itertools.product(_THRESHOLDS, _MIN_VOLUMES_MM3))
    scores = []
    for case in cases:
        maps: Float32[np.ndarray, "class x y z"]
        maps = predict_probabilities(network, case.scans, patch, _OVERLAP, precision=precision)
        of_case = score_points(maps.sum(axis=0), case.scans)
        scores.append([of_case[point] for point in points])
    means = np.array(scores).mean(axis=0)
    best = np.flatnonzero(means >= means.max() - _ROUNDING)
    chosen = min(best, key=lambda at: _steps_from_usual(points[at]))
    return OperatingPoint(*points[chosen], float(means[chosen]), len(cases))


def score_points(
    probability: Float[np.ndarray, "x y z"], scans: Scans
) -> dict[tuple[float, float], float]:
    """Mean L-F1 of a map over both rules, by each threshold and smallest lesion to choose from.

    Where "msseg2" gives no L-F1, it counts 1 if nothing was predicted, else 0.
    """
    truths = find_under_rules(scans.truth, _RULES, scans.grid.spacing_mm)
    scores = {}
    for threshold in _THRESHOLDS:
        shown = find_lesions(probability >= threshold)
        for size in _MIN_VOLUMES_MM3:
            kept = shown.above(size, scans.grid.voxel_volume_mm3)
            clean = float(not kept.voxels.size)
            of_rules = [
                score.f1 for score in score_kept(truths, kept, scans.grid.spacing_mm).values()
            ]
            scores[threshold, size] = float(
                np.mean([clean if f1 is None else f1 for f1 in of_rules])
            )
    return scores


def _steps_from_usual(point: tuple[float, float]) -> int:
    threshold, min_volume_mm3 = point
    return abs(_THRESHOLDS.index(threshold) - _THRESHOLDS.index(THRESHOLD)) + abs(
        _MIN_VOLUMES_MM3.index(min_volume_mm3) - _MIN_VOLUMES_MM3.index(MIN_VOLUME_MM3)
    )


def save_point(run: Path, point: OperatingPoint) -> None:
    """Write the point into a run folder."""
    write_json(run / FILE_NAME, point._asdict())


def read_point(run: Path) -> OperatingPoint | None:
    """Return the point of a run, None where it has none; InputError where it is damaged."""
    path = run / FILE_NAME
    if not path.is_file():
        return None
    try:
        return parse_point(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); delete it, and give --threshold and --min-volume-mm3"
        ) from error


def parse_point(values: Mapping[str, Any]) -> OperatingPoint:
    """Return the point of a JSON object; ValueError, KeyError or TypeError where it is none."""
    point = OperatingPoint(
        float(values["threshold"]),
        float(values["min_volume_mm3"]),
        float(values["f1"]),
        int(values["cases"]),
    )
    if not (0 < point.threshold < 1 and point.min_volume_mm3 >= 0):
        raise ValueError(f"a threshold within 0 to 1 and a volume are needed, got {point}")
    return point


def settle_point(
    settings: PredictSettings, points: Sequence[OperatingPoint | None]
) -> tuple[PredictSettings, str]:
    """Fill in threshold and smallest lesion, and say where they come from.

    `points` are those of the models. Flags win over them, and they over 0.5 and 3 mm³; of several
    models, it is the mean of their points where each has one.
    """
    chosen = _mean_point(points)
    given = {"threshold": settings.threshold, "min_volume_mm3": settings.min_volume_mm3}
    added = {name: getattr(chosen, name) for name in given if chosen and given[name] is None}
    settled = settings.model_copy(update=added)
    threshold, min_volume_mm3 = point_of(settled)
    said = f"threshold {threshold:g}, lesions up to {min_volume_mm3:g} mm³ dropped"
    if chosen and added:
        names = {"threshold": "threshold", "min_volume_mm3": "volume"}
        which = " and ".join(names[name] for name in added)
        means = ", the mean over the models," if len(points) > 1 else ""
        said += f"; {which}{means} chosen on {counted(chosen.cases, 'validation case')}"
    return settled, said


def _mean_point(points: Sequence[OperatingPoint | None]) -> OperatingPoint | None:
    known = [point for point in points if point]
    if not known or len(known) < len(points):
        return None
    threshold, min_volume_mm3, f1 = (
        float(np.mean([point[place] for point in known])) for place in range(3)
    )
    return OperatingPoint(threshold, min_volume_mm3, f1, max(point.cases for point in known))


def point_of(settings: PredictSettings) -> tuple[float, float]:
    """Threshold and smallest lesion as given, else 0.5 and 3 mm³."""
    threshold, min_volume_mm3 = settings.threshold, settings.min_volume_mm3
    return (
        THRESHOLD if threshold is None else threshold,
        MIN_VOLUME_MM3 if min_volume_mm3 is None else min_volume_mm3,
    )
