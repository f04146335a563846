"""Prediction of cases on visit 2's own grid: mask, probability map, and a table of lesions."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Float32, UInt8

from datagen import volumes
from datagen.cohort import of_split, read_cohort
from datagen.config import require_own
from datagen.errors import InputError
from datagen.files import is_nifti, require_writable, write_table
from datagen.layouts import Case
from datagen.progress import track
from datagen.resampling import resample
from datagen.scans import read_scans
from datagen.volumes import Grid
from datagen.wording import counted, enumerated
from segnet.config import PredictSettings
from segnet.data import crop_to_brain
from segnet.detector import fingerprint
from segnet.inference import (
    Detection,
    label_volume,
    lesion_mask,
    list_lesions,
)
from segnet.operating_point import point_of, settle_point
from segnet.postprocessing import close_gaps, keep_largest
from segnet.prediction_folder import SECTION, begin_folder, require_one_origin
from segnet.prediction_page import write_prediction_page
from segnet.prediction_paths import (
    PredictionPaths,
    cohort_paths,
    paths_beside,
)
from segnet.predictors import Predictor, build_predictor, load_detectors
from segnet.seen import say_of_seen


class Predicted(NamedTuple):
    """A sentence about what was written, and one about each case that cannot be predicted.

    `notes` tell what else the user should know.
    """

    sentence: str
    failures: list[str]
    notes: list[str]


class Prediction(NamedTuple):
    """What is found in one case, on the grid of its second visit.

    `point` is the threshold, and the volume in mm³ up to which lesions were dropped; `is_one_scan`
    tells of visits that do not differ in a voxel.
    """

    labels: UInt8[np.ndarray, "x y z"]
    probability: Float32[np.ndarray, "x y z"]
    lesions: list[Detection]
    time2: nib.Nifti1Image
    point: tuple[float, float]
    is_one_scan: bool


def predict(settings: PredictSettings) -> str:
    """Predict one case or a cohort; return a sentence about what was written.

    Raises InputError where model, scans or the combination of flags cannot be used: for a case of
    a cohort, after the others are written.
    """
    predicted = predict_usable(settings)
    if predicted.failures:
        raise InputError(predicted.failures[0])
    return predicted.sentence


def predict_usable(settings: PredictSettings) -> Predicted:
    """Predict one case, or those of a cohort that can be used.

    Raises InputError where model, every case or the combination of flags cannot be used, or
    nothing can be written.
    """
    cases = _cases(settings)
    _require_page(settings.page)
    detectors = load_detectors(settings)
    settings, point = settle_point(settings, [detector.point for detector in detectors])
    predictor = build_predictor(settings, detectors)
    of_cases = paths_of(settings, cases)
    weights = fingerprint(detectors)
    require_one_origin(settings, weights, of_cases.values())
    notes = [note for run in settings.model if (note := say_of_seen(run, cases))]
    found, written, errors = 0, 0, dict[str, str]()
    for case in track(cases, "cases predicted", len(cases)):
        try:
            prediction = predict_case(case, predictor, settings)
        except InputError as error:
            errors[case.name] = str(error)
            continue
        if settings.cohort and not written:
            begin_folder(settings, predictor.name, weights, of_cases.values())
        write_prediction(prediction, of_cases[case.name])
        if prediction.is_one_scan:
            notes.append(
                f"case {case.name}: both visits are the same scan, in which nothing can be new; "
                "was the wrong file named?"
            )
        found, written = found + len(prediction.lesions), written + 1
    if not written:
        raise InputError(errors[cases[0].name])
    if settings.page:
        done = [(case, of_cases[case.name]) for case in cases if case.name not in errors]
        write_prediction_page(settings.page, f"{predictor.name} ({point})", done)
    files = [settings.out] if settings.cohort else list(of_cases[cases[0].name])
    files += [settings.page] if settings.page else []
    sentence = (
        f"{predictor.name} found {counted(found, 'new lesion')} in "
        f"{counted(written, 'case')} ({point}); "
        f"wrote {enumerated(files)}" + (f", {len(errors)} failed" if errors else "")
    )
    failures = [f"case {name}: {error}" for name, error in errors.items()]
    return Predicted(sentence, failures, notes)


def _require_page(page: Path | None) -> None:
    if page is None:
        return
    if page.suffix not in (".html", ".htm"):
        raise InputError(f"--page {page}: the page's name must end in .html")
    require_writable(page, "--page")


def paths_of(settings: PredictSettings, cases: Sequence[Case]) -> dict[str, PredictionPaths]:
    """Where each case's files go; InputError where two cases would share them."""
    if not settings.cohort:
        return {case.name: paths_beside(settings.out) for case in cases}
    of_cases = {case.name: cohort_paths(settings.out, case) for case in cases}
    owners: dict[PredictionPaths, str] = {}
    for name, paths in of_cases.items():
        other = owners.setdefault(paths, name)
        if other != name:
            raise InputError(
                f"cases {other} and {name} have the same second visit, and would both be written "
                f"to {paths.mask}; predict them from two lists, with an --out each"
            )
    return of_cases


def predict_case(case: Case, predictor: Predictor, settings: PredictSettings) -> Prediction:
    """Predict one case; InputError where its scans cannot be used."""
    scans = crop_to_brain(read_scans(case._replace(truth=None), predictor.spacing_mm))
    time2 = volumes.read_image(case.time2)
    grid = volumes.grid_of(time2)
    of_models = np.stack(
        [
            [resample(nib.Nifti1Image(one, scans.grid.affine), grid) for one in of_classes]
            for of_classes in predictor.probabilities(scans)
        ]
    ).clip(0, 1)
    probabilities = of_models.mean(axis=0)
    labels = find_labels(probabilities, settings, grid)
    probability = np.clip(probabilities.sum(axis=0), 0, 1)
    of_lesions = np.clip(of_models.sum(axis=1), 0, 1)
    point = point_of(settings)
    detections = list_lesions(labels > 0, probability, grid, of_lesions, point[0])
    return Prediction(labels, probability, detections, time2, point, scans.is_one_scan)


def write_prediction(prediction: Prediction, paths: PredictionPaths) -> None:
    """Write the three files of a case."""
    # the mask goes first and comes last: where it is, the case is complete
    require_writable(paths.mask)
    paths.mask.unlink(missing_ok=True)
    volumes.save_like(prediction.probability, prediction.time2, paths.probability)
    rows = [row._asdict() for row in prediction.lesions]
    write_table(paths.lesions, rows, Detection._fields)
    threshold, min_volume_mm3 = prediction.point
    made_by = f"threshold {threshold:g}, lesions above {min_volume_mm3:g} mm3"
    volumes.save_like(prediction.labels, prediction.time2, paths.mask, made_by)


def find_labels(
    probabilities: Float32[np.ndarray, "class x y z"], settings: PredictSettings, grid: Grid
) -> UInt8[np.ndarray, "x y z"]:
    """Label volume of a case: threshold, closing, volumes that are too small, largest components.

    Lesions up to the minimum volume are dropped whatever their class.
    """
    threshold, min_volume_mm3 = point_of(settings)
    labels = label_volume(probabilities, threshold)
    if settings.closing_mm:
        labels = close_gaps(labels, settings.closing_mm, grid.spacing_mm)
    is_large = lesion_mask((labels > 0).astype(np.float32), 0.5, min_volume_mm3, grid)
    labels = labels * is_large
    return (
        keep_largest(labels, settings.largest_components) if settings.largest_components else labels
    )


def _cases(settings: PredictSettings) -> list[Case]:
    if settings.cohort:
        return _cases_of_cohort(settings.cohort, settings)
    if not (settings.time1 and settings.time2):
        raise InputError("--time1 and --time2 are needed, or --cohort for many cases")
    if not is_nifti(settings.out):
        raise InputError(f"--out {settings.out}: the mask's name must end in .nii.gz or .nii")
    given = [path for path in (settings.time1, settings.time2, settings.brain_mask) if path]
    paths = paths_beside(settings.out)
    for path in paths:
        require_writable(path)
        if path.resolve() in [scan.resolve() for scan in given]:
            raise InputError(f"--out {settings.out} would overwrite {path}; choose another name")
    if settings.out.is_file() and not paths.lesions.is_file():
        raise InputError(
            f"{settings.out} is there already, and no table of 'segnet predict' beside it; choose "
            "another --out"
        )
    name = settings.time2.name
    return [Case(name, name, settings.time1, settings.time2, brain_mask=settings.brain_mask)]


def _cases_of_cohort(cohort: Path, settings: PredictSettings) -> list[Case]:
    if settings.time1 or settings.time2 or settings.brain_mask:
        raise InputError("give --cohort, or --time1, --time2 and --brain-mask, not both")
    if is_nifti(settings.out):
        raise InputError(
            f"--out {settings.out}: with --cohort it names a folder, such as predictions"
        )
    require_own(settings.out, SECTION)
    cases = of_split(read_cohort(cohort), settings.split)
    if settings.out.resolve() == cohort.resolve() or _lie_among_scans(settings.out, cases):
        raise InputError(
            f"--out {settings.out} is the cohort's own folder; choose another, such as predictions"
        )
    return cases


def _lie_among_scans(out: Path, cases: Sequence[Case]) -> bool:
    """Tell whether the files of a case would be written beside its own scans."""
    folders = ((cohort_paths(out, case).mask.parent, case.time2.parent) for case in cases)
    return any(written.resolve() == read.resolve() for written, read in folders)
