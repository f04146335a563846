"""Visit 1 in the intensities of visit 2."""

import numpy as np
import pytest

from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.matching import match_visits


@pytest.fixture
def scans(rng):
    """A brain whose visit 2 has a bright lesion of 1 %, on another scanner than visit 1."""
    brain = np.zeros((24, 24, 24), bool)
    brain[2:-2, 2:-2, 2:-2] = True
    truth = np.zeros_like(brain)
    truth[4:9, 4:9, 4:8] = True
    tissue = np.where(brain, rng.normal(0, 1, brain.shape), -5).astype(np.float32)
    time1 = np.where(brain, np.sinh(0.8 * tissue) + 0.4, -5).astype(np.float32)
    return Scans(time1, tissue + 3 * truth, brain, truth, Grid(brain.shape, np.eye(4)))


def test_visit_1_gets_the_contrast_of_visit_2_and_a_new_lesion_stays_new(scans):
    matched = match_visits(scans)
    same = scans.brain & ~scans.truth
    ends = np.percentile(scans.time2[same], 2), np.percentile(scans.time2[same], 90)
    usual = same & (scans.time2 > ends[0]) & (scans.time2 < ends[1])
    apart = np.abs(scans.time2 - scans.time1)[usual].mean()
    assert np.abs(scans.time2 - matched.time1)[usual].mean() < 0.1 * apart
    gained = (scans.time2 - matched.time1)[scans.truth]
    assert abs(np.median(gained) - 3) < 0.3


def test_what_lies_beyond_the_brain_and_visit_2_stay(scans):
    matched = match_visits(scans)
    assert (matched.time1[~scans.brain] == scans.time1[~scans.brain]).all()
    assert matched.time2 is scans.time2
    assert matched.time1.dtype == np.float32


def test_visits_of_one_contrast_stay_as_they_are(scans):
    alike = scans._replace(time1=scans.time2)
    assert np.allclose(match_visits(alike).time1, scans.time2, atol=1e-5)


def test_the_order_of_intensities_stays(scans):
    before, after = scans.time1[scans.brain], match_visits(scans).time1[scans.brain]
    assert (np.diff(after[np.argsort(before)]) >= -1e-6).all()


def test_a_case_without_a_brain_is_left_alone(scans):
    nowhere = scans._replace(brain=np.zeros_like(scans.brain))
    assert match_visits(nowhere) is nowhere
