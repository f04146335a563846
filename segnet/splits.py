"""Splits in which the validation patients can tell a good epoch from an empty one."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from datagen import volumes
from datagen.layouts import Case, Split


def with_active_validation(cases: Sequence[Case]) -> list[Case]:
    """Swap a validation patient for one with new lesions, where none of them has any.

    By clean patients alone, the network that finds least would be the best. Nothing changes where
    fewer than two of the patients to train on have new lesions.
    """
    held_out = [case for case in cases if case.split == "validation"]
    training = [case for case in cases if case.split == "train"]
    active = list(itertools.islice(_active_patients(training), 2))
    if not held_out or any(_active_patients(held_out)) or len(active) < 2:
        return list(cases)
    sides: dict[str, Split] = {active[0]: "validation", held_out[0].patient: "train"}
    return [case._replace(split=sides.get(case.patient, case.split)) for case in cases]


def _active_patients(cases: Sequence[Case]) -> Iterator[str]:
    """Patients with new lesions, in the order of the cases, each once."""
    found = set()
    for case in cases:
        if case.patient not in found and case.truth and _marks_lesions(case):
            found.add(case.patient)
            yield case.patient


def _marks_lesions(case: Case) -> bool:
    return bool(case.truth and np.asanyarray(volumes.read_image(case.truth).dataobj).any())
