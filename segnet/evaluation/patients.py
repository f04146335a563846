"""Patients instead of lesions: those without new lesions apart, and who has any new lesion."""

from collections.abc import Sequence
from typing import NamedTuple

from datagen.lesions import Rule
from segnet.evaluation.case import CaseScore


class CleanCase(NamedTuple):
    """False lesions of one method, under one rule, in a patient without new lesions."""

    case: str
    method: str
    rule: Rule
    false_lesions: int
    false_volume_mm3: float


class PatientLevel(NamedTuple):
    """Does a patient have any new lesion? Confusion matrix of one method under one rule.

    A case is active when its truth holds a voxel, and is called active when a predicted lesion
    counts under the rule. `sensitivity` is None without active cases; `specificity`, which is the
    share of clean cases without a false lesion, and the means over clean cases are None without
    clean ones.
    """

    method: str
    rule: Rule
    active_called_active: int
    active_called_clean: int
    clean_called_clean: int
    clean_called_active: int
    sensitivity: float | None
    specificity: float | None
    false_lesions_mean: float | None
    false_lesions_most: int | None
    false_volume_mm3_mean: float | None


def clean_cases(scores: Sequence[CaseScore]) -> list[CleanCase]:
    """List the cases whose truth holds no lesion, with what was found there."""
    return [
        CleanCase(
            score.case,
            score.method,
            score.rule,
            score.predicted_lesions,
            score.predicted_volume_mm3,
        )
        for score in scores
        if score.is_clean
    ]


def patient_level(scores: Sequence[CaseScore]) -> list[PatientLevel]:
    """Judge each method, under each rule, by which patients it calls active."""
    levels = []
    for method, rule in dict.fromkeys((score.method, score.rule) for score in scores):
        chosen = [score for score in scores if (score.method, score.rule) == (method, rule)]
        active = [score.predicted_lesions > 0 for score in chosen if not score.is_clean]
        clean = [score for score in chosen if score.is_clean]
        false = [score.predicted_lesions for score in clean]
        levels.append(
            PatientLevel(
                method,
                rule,
                sum(active),
                len(active) - sum(active),
                false.count(0),
                len(false) - false.count(0),
                sum(active) / len(active) if active else None,
                false.count(0) / len(false) if false else None,
                sum(false) / len(false) if false else None,
                max(false, default=None),
                sum(score.predicted_volume_mm3 for score in clean) / len(clean) if clean else None,
            )
        )
    return levels
