import numpy as np
import pytest

from datagen.layouts import Case
from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.config import TrainSettings
from segnet.data import LabelledScans
from segnet.excess import excess_of_lesions
from segnet.preparation import mixed_dataset, weigh_false


@pytest.fixture
def case(tmp_path) -> LabelledScans:
    """A brain of 48³ voxels with one lesion of a voxel in its middle."""
    truth = np.zeros((48, 48, 48), bool)
    truth[24, 24, 24] = True
    visits = np.zeros((2, 48, 48, 48), np.float32)
    brain = np.ones_like(truth)
    scans = Scans(visits[0], visits[1], brain, truth, Grid(truth.shape, np.eye(4)))
    labels = truth.astype(np.uint8)
    whole_box = (slice(None),) * 3
    return LabelledScans(Case("a", "a", tmp_path, tmp_path), scans, labels, labels, whole_box)


@pytest.fixture
def settings(tmp_path) -> TrainSettings:
    return TrainSettings(cohort=tmp_path, patch=16, lesion_share=1.0)


def test_patches_that_all_hold_the_lesion_hold_27_times_as_many(case, settings):
    dataset = mixed_dataset(settings, [case], [])
    assert excess_of_lesions(dataset, [case], [case], 16) == (48 / 16) ** 3


def test_patches_of_any_tissue_hold_about_as_many_as_the_patient(case, settings):
    dataset = mixed_dataset(settings.model_copy(update={"lesion_share": 0.0}), [case], [])
    assert 1 <= excess_of_lesions(dataset, [case], [case], 16) <= 2


def test_synthetic_patches_are_compared_with_the_real_patients(case, settings):
    clean = case._replace(labels=np.zeros_like(case.labels))
    half = settings.model_copy(update={"real_share": 0.5})
    dataset = mixed_dataset(half, [case], [case])
    # the synthetic case has its lesion in every patch, the real ones have it in one of two
    excess = excess_of_lesions(dataset, [case, case], [case, clean], 16)
    assert excess == 2 * (48 / 16) ** 3


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({"false_weight": 0.0}, 27.0),
        ({}, 1.0),
        ({"false_weight": 2.5}, 2.5),
        ({"guided_gradient": False, "false_weight": 2.5}, 1.0),
        ({"alpha": 0.0, "false_weight": 2.5}, 1.0),
    ],
)
def test_the_weight_is_that_excess_unless_it_is_given_or_of_no_use(case, settings, changes, weight):
    dataset = mixed_dataset(settings, [case], [])
    assert weigh_false(settings.model_copy(update=changes), dataset, [case], []) == weight
