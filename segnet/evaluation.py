"""Scores of predictions: per case, patients without new lesions apart, and on average."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from datagen import volumes
from datagen.cohort import of_split, read_cohort
from datagen.errors import InputError
from datagen.files import make_folder, write_table
from datagen.layouts import Case
from datagen.lesions import Rule, score_lesions
from datagen.progress import track
from segnet.config import EvaluateSettings
from segnet.prediction_paths import cohort_paths

_ACTIVE_SCORES = ("dice", "ltpr", "lppv", "f1")


class CaseScore(NamedTuple):
    """Scores of one method on one case under one rule.

    `f1` is None under "msseg2" where the truth is empty. `is_clean` tells that the truth holds no
    lesion: every predicted lesion is then a false one.
    """

    method: str
    case: str
    rule: Rule
    is_clean: bool
    dice: float
    ltpr: float
    lppv: float
    f1: float | None
    truth_lesions: int
    predicted_lesions: int
    truth_hits: int
    predicted_hits: int
    predicted_volume_mm3: float


def evaluate(settings: EvaluateSettings) -> list[CaseScore]:
    """Score every prediction; write `cases.csv`, `clean_cases.csv`, `aggregate.csv`, `sources.csv`.

    Raises InputError where a prediction is missing, or lies on another grid than its truth.
    """
    cases = _truths(settings.truth, settings.split)
    methods = _method_names(list(dict.fromkeys(settings.prediction)))
    rules = list(dict.fromkeys(settings.rule))
    for path in methods.values():
        if len(cases) > 1 and not path.is_dir():
            raise InputError(f"{path} is one mask for {len(cases)} truths; give a folder of masks")
    jobs = [(case, method) for case in cases for method in methods]
    scores: list[CaseScore] = []
    sources: list[dict[str, object]] = []
    for case, method in track(jobs, "cases scored", len(jobs)):
        prediction = _prediction_of(methods[method], case)
        scores += score_case(case, method, prediction, rules)
        paths = {"time1": case.time1, "time2": case.time2, "truth": case.truth}
        absolute = {key: path.resolve() for key, path in paths.items() if path}
        row = {"case": case.name, "method": method, "prediction": prediction.resolve()}
        sources.append(row | absolute)
    _write(scores, sources, make_folder(settings.out))
    return scores


def score_case(case: Case, method: str, prediction: Path, rules: Sequence[Rule]) -> list[CaseScore]:
    """Score one predicted mask under each rule, on the truth's own grid."""
    if case.truth is None:
        raise InputError(f"case {case.name}: no truth to score against")
    truth_image, image = volumes.read_mask(case.truth), volumes.read_mask(prediction)
    if not volumes.same_grid(truth_image, image):
        raise InputError(
            f"case {case.name}: prediction {prediction} {image.shape} and truth {case.truth} "
            f"{truth_image.shape} lie on different grids"
        )
    truth, predicted = (np.asanyarray(mask.dataobj) > 0 for mask in (truth_image, image))
    grid = volumes.grid_of(truth_image)
    volume_mm3 = float(predicted.sum()) * grid.voxel_volume_mm3
    dice = dice_coefficient(truth, predicted)
    rows = []
    for rule in rules:
        score = score_lesions(truth, predicted, rule, grid.spacing_mm)
        rows.append(
            CaseScore(method, case.name, rule, not truth.any(), dice, *score[:7], volume_mm3)
        )
    return rows


def dice_coefficient(
    truth: Bool[np.ndarray, "x y z"], prediction: Bool[np.ndarray, "x y z"]
) -> float:
    """Dice coefficient of two masks; 1 where both are empty."""
    total = int(truth.sum()) + int(prediction.sum())
    return 2 * int((truth & prediction).sum()) / total if total else 1.0


def aggregate(scores: Sequence[CaseScore]) -> list[dict[str, Any]]:
    """One row per method and rule: mean and deviation over cases with new lesions.

    Patients without new lesions have columns of their own: their number, the share without a false
    lesion, and the mean number and volume of false lesions. A column is empty where it has no case.
    """
    rows = []
    for method, rule in dict.fromkeys((score.method, score.rule) for score in scores):
        chosen = [score for score in scores if (score.method, score.rule) == (method, rule)]
        active = [score for score in chosen if not score.is_clean]
        clean = [score for score in chosen if score.is_clean]
        row: dict[str, Any] = {"method": method, "rule": rule, "cases": len(active)}
        for name in _ACTIVE_SCORES:
            values = [getattr(score, name) for score in active]
            row[f"{name}_mean"] = float(np.mean(values)) if values else None
            row[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        row["clean_cases"] = len(clean)
        false = [score.predicted_lesions for score in clean]
        volume = [score.predicted_volume_mm3 for score in clean]
        row["clean_without_false"] = float(np.mean(np.equal(false, 0))) if clean else None
        row["false_lesions_mean"] = float(np.mean(false)) if clean else None
        row["false_volume_mm3_mean"] = float(np.mean(volume)) if clean else None
        rows.append(row)
    return rows


def _write(scores: list[CaseScore], sources: list[dict[str, object]], out: Path) -> None:
    clean = [
        {
            "method": score.method,
            "case": score.case,
            "rule": score.rule,
            "false_lesions": score.predicted_lesions,
            "false_volume_mm3": score.predicted_volume_mm3,
        }
        for score in scores
        if score.is_clean
    ]
    columns = ("method", "case", "rule", "false_lesions", "false_volume_mm3")
    rows = aggregate(scores)
    write_table(out / "clean_cases.csv", clean, columns)
    write_table(out / "aggregate.csv", rows, rows[0])
    write_table(
        out / "sources.csv", sources, ("case", "method", "time1", "time2", "truth", "prediction")
    )
    write_table(out / "cases.csv", [score._asdict() for score in scores], CaseScore._fields)


def _truths(source: Path, split: str) -> list[Case]:
    """Cases of a cohort, or of plain masks, which are then their own only volumes."""
    suffixes = (".nii", ".nii.gz")
    below = sorted(source.iterdir()) if source.is_dir() else [source]
    masks = [path for path in below if path.name.endswith(suffixes) and not path.is_dir()]
    if not masks:
        cases = of_split(read_cohort(source), split)
        return [case for case in cases if case.truth] or _refuse(source)
    return [Case(_stem(path), _stem(path), path, path, truth=path) for path in masks]


def _refuse(source: Path) -> list[Case]:
    raise InputError(f"{source} holds no truth to score against")


def _prediction_of(prediction: Path, case: Case) -> Path:
    """Path of one case's predicted mask below a folder, or the mask itself."""
    if not prediction.is_dir():
        return prediction
    candidates = [
        cohort_paths(prediction, case).mask,
        *(prediction / f"{case.name}{suffix}" for suffix in (".nii.gz", ".nii")),
    ]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InputError(f"case {case.name}: no prediction {candidates[0]}, nor {candidates[1]}")
    return found


def _method_names(predictions: Sequence[Path]) -> dict[str, Path]:
    """Name each prediction by its file or folder; by its whole path where two would be alike."""
    names = [_stem(path) for path in predictions]
    shown = [
        name if names.count(name) == 1 else str(path)
        for name, path in zip(names, predictions, strict=True)
    ]
    return dict(zip(shown, predictions, strict=True))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
