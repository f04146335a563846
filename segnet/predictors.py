"""What finds the lesions of a case: networks, averaged, or a baseline that they must beat."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.scans import Scans
from datagen.wording import counted
from metricnet.devices import usual_device
from segnet import baselines, growing
from segnet.config import PredictSettings
from segnet.data import read_cases
from segnet.detector import Detector, load_detector, load_pretrained
from segnet.ensemble import AllMaps, require_alike, side_by_side
from segnet.inference import predict_probabilities
from segnet.matching import match_visits
from segnet.operating_point import point_of


class Predictor(NamedTuple):
    """Something that finds lesions: a function on the working grid, and that grid's spacing.

    The function returns, of each model, a probability for each class but the background, as a rule
    for one class; the mean over the models counts.
    """

    probabilities: AllMaps
    spacing_mm: float
    name: str


def load_detectors(settings: PredictSettings) -> list[Detector]:
    """Read the networks of --model, or the package's own; none for a baseline."""
    if settings.baseline is not None:
        if settings.model:
            raise InputError("give either --model or --baseline, not both")
        return []
    return [load_detector(path) for path in settings.model] or [load_pretrained()]


def build_predictor(settings: PredictSettings, detectors: Sequence[Detector]) -> Predictor:
    """Return what the settings ask for: the networks' mean, or a baseline, fitted where it can be.

    Raises InputError where networks differ, or a case to fit on cannot be read.
    """
    match settings.baseline:
        case None:
            return average(detectors, settings)
        case "empty":
            return _baseline(baselines.no_lesions, "the empty baseline")
        case "subtraction":
            cases = _cases_to_fit(settings)
            threshold_z = baselines.fit_threshold(cases, point_of(settings)[1])
            name = f"subtraction above {threshold_z:g} deviations ({_fitted_on(cases)})"
            return _baseline(partial(baselines.subtraction, threshold_z=threshold_z), name)
        case "growing":
            cases = _cases_to_fit(settings)
            kappa = growing.fit_kappa(cases, point_of(settings)[1])
            name = f"growth from seeds above {kappa:g} deviations ({_fitted_on(cases)})"
            return _baseline(partial(growing.grown_lesions, kappa=kappa), name)


def _fitted_on(cases: Sequence[Scans]) -> str:
    active = sum(bool(case.truth.any()) for case in cases)
    return f"fitted on {counted(active, 'other case')}" if active else "built in, not fitted"


def _baseline(found: Callable[[Scans], Float32[np.ndarray, "x y z"]], name: str) -> Predictor:
    return Predictor(lambda scans: found(scans)[None, None], 1.0, name)


def average(detectors: Sequence[Detector], settings: PredictSettings) -> Predictor:
    """Return a predictor by the mean map of some detectors, on the GPU where there is one.

    Raises InputError where they work on different grids or classes.
    """
    names = [detector.name for detector in detectors]
    require_alike(names, [(d.architecture.spacing_mm, d.architecture.classes) for d in detectors])
    device = usual_device()
    maps = [partial(_map_of, d._replace(network=d.network.to(device)), settings) for d in detectors]
    name = f"the network{'s' if len(names) > 1 else ''} of {' and '.join(names)}"
    return Predictor(side_by_side(maps), detectors[0].architecture.spacing_mm, name)


def _map_of(
    detector: Detector, settings: PredictSettings, scans: Scans
) -> Float32[np.ndarray, "class x y z"]:
    return predict_probabilities(
        detector.network,
        match_visits(scans) if detector.matches_visits else scans,
        patch=detector.architecture.patch,
        overlap=settings.overlap,
        flips=settings.flips,
        precision=settings.precision,
    )


def _cases_to_fit(settings: PredictSettings) -> list[Scans]:
    """Cases of the cohort's other splits that have a truth; none where all are predicted."""
    if settings.cohort is None or settings.split == "all":
        return []
    others = [
        case
        for case in read_cohort(settings.cohort)
        if case.truth and case.split not in (None, settings.split)
    ]
    return read_cases(others, 1.0)
