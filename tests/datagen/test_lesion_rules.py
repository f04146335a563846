"""The challenge's rule against a slow, obvious reference: sets of voxels and plain loops."""

import itertools
import subprocess
import sys

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from datagen.lesions import score_lesions, score_under_rules

SHAPES = st.tuples(*[st.integers(2, 7)] * 3)
PAIRS = SHAPES.flatmap(
    lambda shape: st.tuples(*[npst.arrays(bool, shape, elements=st.booleans())] * 2)
)
STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, step)) == 1]


def lesions_of(mask):
    """Components under six neighbours of more than three voxels, as sets."""
    left = {tuple(int(place) for place in voxel) for voxel in np.argwhere(mask)}
    lesions = []
    while left:
        lesion, edge = set(), [left.pop()]
        while edge:
            voxel = edge.pop()
            lesion.add(voxel)
            for step in STEPS:
                near = tuple(place + move for place, move in zip(voxel, step, strict=True))
                if near in left:
                    left.remove(near)
                    edge.append(near)
        lesions.append(lesion)
    return [lesion for lesion in lesions if len(lesion) > 3]


def is_detected(lesion, others, lesions):
    """The official rule, word by word."""
    shared = sorted(((len(lesion & other), other) for other in others), key=lambda pair: -pair[0])
    shared = [(voxels, other) for voxels, other in shared if voxels]
    sizes = [voxels for voxels, _ in shared]
    assume(len(set(sizes)) == len(sizes))  # the rule does not say which of two equals comes first
    if sum(sizes) <= 0.1 * len(lesion):
        return False
    inside, explained = set().union(*lesions), 0
    for voxels, other in shared:
        if len(other - inside) > 0.7 * len(other):
            return False
        explained += voxels
        if explained >= 0.65 * sum(sizes):
            return True
    return True


@settings(deadline=None, max_examples=300)
@given(PAIRS)
def test_the_official_detection_equals_the_slow_reference(masks):
    truths, predictions = (lesions_of(mask) for mask in masks)
    score = score_lesions(*masks, "msseg2")
    assert (score.truth_lesions, score.predicted_lesions) == (len(truths), len(predictions))
    assert score.truth_hits == sum(is_detected(a, predictions, truths) for a in truths)
    assert score.predicted_hits == sum(is_detected(b, truths, predictions) for b in predictions)


@settings(deadline=None)
@given(PAIRS)
def test_scores_under_all_rules_are_those_under_each(masks):
    spacing_mm = (0.9, 0.9, 3.0)
    together = score_under_rules(*masks, spacing_mm)
    for rule, score in together.items():
        assert score == score_lesions(*masks, rule, spacing_mm)


def test_a_misspelt_rule_is_refused():
    program = (
        "import numpy as np; from datagen import score_lesions; "
        "score_lesions(*np.ones((2, 3, 3, 3), bool), rule='MSSEG2')"
    )
    # in a process of its own: under test the types themselves refuse it
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    told = "ValueError: rule 'MSSEG2' is unknown; take one of overlap, geo, msseg2"
    assert done.stderr.strip().endswith(told)
