"""Prediction of cases on visit 2's own grid: mask, probability map, and a table of lesions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Float32, UInt8

from datagen import volumes
from datagen.cohort import of_split, read_cohort
from datagen.errors import InputError
from datagen.files import require_writable, write_table
from datagen.layouts import Case
from datagen.progress import track
from datagen.scans import Scans, read_scans
from datagen.volumes import Grid
from metricnet import runs
from segnet import baselines
from segnet.config import PredictSettings, TrainSettings
from segnet.data import crop_to_brain, read_cases
from segnet.inference import (
    Detection,
    find_lesions,
    label_volume,
    list_lesions,
    predict_probabilities,
)
from segnet.operating_point import point_of, settle_point
from segnet.postprocessing import close_gaps, keep_largest
from segnet.prediction_paths import PredictionPaths, cohort_paths, paths_beside
from segnet.unet import build_unet


class Predictor(NamedTuple):
    """Something that finds lesions: a function on the working grid, and that grid's spacing.

    The function returns a probability for each class but the background, as a rule for one class.
    """

    probabilities: Callable[[Scans], Float32[np.ndarray, "class x y z"]]
    spacing_mm: float
    name: str


def predict(settings: PredictSettings) -> str:
    """Predict one case or a cohort; return a sentence about what was written.

    Raises InputError where model, scans or the combination of flags cannot be used.
    """
    cases = _cases(settings)
    settings, point = settle_point(settings)
    predictor = _predictor(settings)
    found = 0
    for case in track(cases, "cases predicted", len(cases)):
        paths = cohort_paths(settings.out, case) if settings.cohort else paths_beside(settings.out)
        found += len(predict_case(case, predictor, paths, settings))
    return (
        f"{predictor.name} found {found} new lesions in {len(cases)} cases ({point}); "
        f"wrote {settings.out}"
    )


def predict_case(
    case: Case, predictor: Predictor, paths: PredictionPaths, settings: PredictSettings
) -> list[Detection]:
    """Predict one case and write its three files; return its lesions."""
    scans = crop_to_brain(read_scans(case._replace(truth=None), predictor.spacing_mm))
    time2 = volumes.read_image(case.time2)
    grid = volumes.grid_of(time2)
    of_classes = [
        volumes.resample(nib.Nifti1Image(working, scans.grid.affine), grid)
        for working in predictor.probabilities(scans)
    ]
    probabilities = np.clip(of_classes, 0, 1)
    labels = find_labels(probabilities, settings, grid)
    probability = np.clip(probabilities.sum(axis=0), 0, 1)
    detections = list_lesions(labels > 0, probability, grid)
    volumes.save_like(probability, time2, paths.probability)
    write_table(paths.lesions, [row._asdict() for row in detections], Detection._fields)
    # the mask comes last: where it is, the case is complete
    volumes.save_like(labels, time2, paths.mask)
    return detections


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
    is_large = find_lesions((labels > 0).astype(np.float32), 0.5, min_volume_mm3, grid)
    labels = labels * is_large
    return (
        keep_largest(labels, settings.largest_components) if settings.largest_components else labels
    )


def _cases(settings: PredictSettings) -> list[Case]:
    if settings.cohort:
        if settings.time1 or settings.time2 or settings.brain_mask:
            raise InputError("give --cohort, or --time1, --time2 and --brain-mask, not both")
        return of_split(read_cohort(settings.cohort), settings.split)
    if not (settings.time1 and settings.time2):
        raise InputError("--time1 and --time2 are needed, or --cohort for many cases")
    if not settings.out.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"--out {settings.out}: the mask's name must end in .nii.gz or .nii")
    given = [path for path in (settings.time1, settings.time2, settings.brain_mask) if path]
    for path in paths_beside(settings.out):
        require_writable(path)
        if path.resolve() in [scan.resolve() for scan in given]:
            raise InputError(f"--out {settings.out} would overwrite {path}; choose another name")
    name = settings.time2.name
    return [Case(name, name, settings.time1, settings.time2, brain_mask=settings.brain_mask)]


def _predictor(settings: PredictSettings) -> Predictor:
    if (settings.model is None) == (settings.baseline is None):
        raise InputError("give either --model RUN or --baseline")
    if settings.model:
        return load_predictor(settings.model, settings.overlap)
    if settings.baseline == "empty":
        name = "the empty baseline"
        return Predictor(lambda scans: baselines.no_lesions(scans)[None], 1.0, name)
    threshold_z = _fit_subtraction(settings)
    name = f"subtraction above {threshold_z:g} deviations"
    return Predictor(lambda scans: baselines.subtraction(scans, threshold_z)[None], 1.0, name)


def load_predictor(run: Path, overlap: float) -> Predictor:
    """Load the best network of a training run; InputError where the folder holds none."""
    trained = runs.read_config(run, "segnet.train", TrainSettings)
    network = build_unet(trained.network, trained.channels, trained.classes)
    weights = runs.best_weights(run)
    named = {name.removeprefix("network."): weight for name, weight in weights.items()}
    try:
        network.load_state_dict(named)
    except RuntimeError as error:
        raise InputError(
            f"{run}: the checkpoint is not of the network in its config.toml"
        ) from error
    found = partial(predict_probabilities, network.eval(), patch=trained.patch, overlap=overlap)
    return Predictor(found, trained.spacing_mm, f"the network of {run}")


def _fit_subtraction(settings: PredictSettings) -> float:
    """Fit on the cohort's cases of other splits that have a truth; else take the default."""
    if settings.cohort is None or settings.split == "all":
        return baselines.DEFAULT_THRESHOLD_Z
    others = [
        case
        for case in read_cohort(settings.cohort)
        if case.truth and case.split not in (None, settings.split)
    ]
    return baselines.fit_threshold(read_cases(others, 1.0), point_of(settings)[1])
