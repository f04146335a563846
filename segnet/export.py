"""A trained network as one file, its operating point chosen anew where cases are given."""

from collections.abc import Sequence
from pathlib import Path

from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.wording import counted, enumerated
from metricnet.devices import usual_device
from segnet.data import LabelledScans, read_labelled_cases
from segnet.detector import Detector, load_detector, load_pretrained, save_detector
from segnet.matching import match_visits
from segnet.operating_point import OperatingPoint, choose_point
from segnet.preparation import active
from segnet.seen import say_of_seen


def export(
    model: Path | None,
    out: Path,
    choose_on: Sequence[Path] = (),
    matches_visits: bool | None = None,
) -> list[str]:
    """Write the best network of a run, or of such a file, without pickle; return what to say.

    Without a model it is the detector of the package. With `matches_visits` it is shown visit 1 in
    the intensities of visit 2; None leaves that as it is, in a run as the scans are. Its threshold
    and smallest lesion are those that the training chose or, with `choose_on`, those of the best
    mean L-F1 over the cases with new lesions of these cohorts, all splits alike. Raises InputError
    where model or cohorts cannot be used, or the file is there already.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out}: the file's name must end in .safetensors")
    if out.exists():
        raise InputError(f"{out} is there already; delete it, or choose another --out")
    detector, said = load_detector(model) if model else load_pretrained(), list[str]()
    if matches_visits is not None:
        detector = detector._replace(matches_visits=matches_visits)
    if choose_on:
        point, notes = _choose(detector, model, choose_on)
        detector = detector._replace(point=point)
        said = [
            *notes,
            f"threshold {point.threshold:g}, lesions up to {point.min_volume_mm3:g} mm³ dropped: "
            f"L-F1 {point.f1:.3f}, the mean of both rules, over {counted(point.cases, 'case')} "
            "with new lesions",
        ]
    save_detector(out, detector)
    return [*said, f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB"]


def _choose(
    detector: Detector, model: Path | None, cohorts: Sequence[Path]
) -> tuple[OperatingPoint, list[str]]:
    listed = [case for cohort in cohorts for case in read_cohort(cohort) if case.truth]
    architecture = detector.architecture
    read: list[LabelledScans] = read_labelled_cases(
        listed, architecture.spacing_mm, architecture.classes
    )
    if detector.matches_visits:
        read = [case._replace(scans=match_visits(case.scans)) for case in read]
    judges = active(read)
    if not judges:
        raise InputError(
            f"no case of {enumerated(cohorts)} has a truth with new lesions: there is "
            "nothing to choose a threshold by"
        )
    network = detector.network.to(usual_device())
    point = choose_point(network, judges, architecture.patch, "auto")
    seen = say_of_seen(model, listed) if model else None
    return point, [seen] if seen else []
