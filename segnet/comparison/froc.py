"""Methods at the same number of false lesions, whatever the threshold that leads to it: FROC."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from segnet.comparison.gathering import Finished
from segnet.config import MIN_VOLUME_MM3
from segnet.evaluation.sweeps import FrocPoint, froc_point, summarise_sweep
from segnet.tables import Cell, Sheet

_FALSE_LESIONS = (1.0, 2.0, 3.0, 4.0)  # per patient


class FoundAt(NamedTuple):
    """Share of all new lesions that a method finds at a number of false lesions per patient.

    Lesions are counted over all test patients, clean ones too, lesions up to 3 mm³ dropped. `ltpr`
    is the mean over seeds, `lowest` and `highest` the least and the most of them; None where the
    thresholds of the sweep do not lead to that number in each of the seeds.
    """

    method: str
    rule: str
    false_lesions_per_patient: float
    seeds: int
    ltpr: float | None
    lowest: float | None
    highest: float | None


def found_at(finished: Sequence[Finished]) -> list[FoundAt]:
    """Read every method's curves, one a seed, where they pass some numbers of false lesions."""
    curves: dict[tuple[str, str], list[list[FrocPoint]]] = {}
    for seed in dict.fromkeys(one.cell.seed for one in finished):
        rows = [row for one in finished if one.cell.seed == seed for row in one.sweep]
        own: dict[tuple[str, str], list[FrocPoint]] = {}
        for point in map(froc_point, summarise_sweep(rows, "threshold")):
            own.setdefault((point.method, point.rule), []).append(point)
        for key, curve in own.items():
            curves.setdefault(key, []).append(curve)
    found = []
    for key, of_seeds in curves.items():
        for number in _FALSE_LESIONS:
            shares = [ltpr_at(curve, number) for curve in of_seeds]
            known = [share for share in shares if share is not None]
            is_reached = len(known) == len(shares)
            spread = (float(np.mean(known)), min(known), max(known)) if is_reached else (None,) * 3
            found.append(FoundAt(*key, number, len(shares), *spread))
    return found


def ltpr_at(curve: Sequence[FrocPoint], false_lesions: float) -> float | None:
    """Share that is found where a curve first has so many false lesions, from high thresholds down.

    Between two thresholds it is interpolated. None where the highest threshold has more already, or
    none has as many: at low thresholds lesions grow together, and there may be fewer false ones.
    """
    downwards = sorted(curve, key=lambda point: -point.threshold)
    if not downwards or downwards[0].false_lesions_per_patient > false_lesions:
        return None
    for above, below in pairwise(downwards):
        ends = above.false_lesions_per_patient, below.false_lesions_per_patient
        if ends[0] == false_lesions:
            return above.ltpr
        if ends[1] > false_lesions:
            if above.ltpr is None or below.ltpr is None:
                return None
            return float(np.interp(false_lesions, ends, (above.ltpr, below.ltpr)))
    last = downwards[-1]
    return last.ltpr if last.false_lesions_per_patient == false_lesions else None


def found_sheet(rows: Sequence[FoundAt]) -> Sheet:
    """One row per method: what it finds under each rule at each number of false lesions."""
    columns = list(dict.fromkeys((row.rule, row.false_lesions_per_patient) for row in rows))
    known = {(row.rule, row.false_lesions_per_patient, row.method): row for row in rows}
    title = (
        f"Share of the new lesions found at so many false lesions per patient, lesions up to "
        f"{MIN_VOLUME_MM3:g} mm³ dropped: mean over seeds (least to most of them)"
    )
    return Sheet(
        title,
        ("method", *(f"{rule} at {number:g}" for rule, number in columns)),
        [
            (Cell(method), *(_shown(known.get((*column, method))) for column in columns))
            for method in dict.fromkeys(row.method for row in rows)
        ],
    )


def _shown(row: FoundAt | None) -> Cell:
    if row is None or row.ltpr is None:
        return Cell("–")
    spread = f" ({row.lowest:.3f} to {row.highest:.3f})" if row.seeds > 1 else ""
    return Cell(f"{row.ltpr:.3f}{spread}", str(row.ltpr))
