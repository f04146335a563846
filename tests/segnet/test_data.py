import nibabel as nib
import numpy as np
import pytest
import torch

from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.config import TrainSettings
from segnet.data import (
    LabelledScans,
    PatchDataset,
    crop_to_brain,
    read_cases,
    read_labelled_cases,
)
from segnet.preparation import mixed_dataset


@pytest.fixture
def scans(rng) -> Scans:
    brain, truth = np.zeros((2, 24, 24, 24), bool)
    brain[4:20, 4:20, 4:20] = True
    truth[6:8, 6:8, 6:8] = truth[15, 15, 15] = True  # two lesions
    visits = rng.normal(size=(2, 24, 24, 24)).astype(np.float32)
    time2 = (visits[1] + 5 * truth).astype(np.float32)
    return Scans(visits[0], time2, brain, truth, Grid((24, 24, 24), np.eye(4)))


def test_cropping_keeps_brain_and_lesions_and_moves_the_affine(scans):
    cropped = crop_to_brain(scans)
    assert cropped.brain.all()
    assert cropped.truth.sum() == scans.truth.sum()
    assert cropped.grid.shape == cropped.time1.shape == (16, 16, 16)
    assert cropped.grid.affine[:3, 3].tolist() == [4, 4, 4]


def test_a_cropped_case_does_not_hold_on_to_the_whole_volumes(scans):
    volumes = crop_to_brain(scans)[:4]
    assert all(volume.base is None and volume.flags.c_contiguous for volume in volumes)


def test_a_draw_depends_on_seed_and_number_alone(scans):
    first, second = (PatchDataset([scans], 16, 0.5, seed=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first[7], second[7], strict=True))
    assert not torch.equal(first[7].visits, PatchDataset([scans], 16, 0.5, seed=2)[7].visits)
    assert not torch.equal(first[7].visits, first[8].visits)


def test_real_and_synthetic_draws_share_no_noise(scans, tmp_path):
    blank = scans._replace(time1=np.zeros_like(scans.time1), time2=np.zeros_like(scans.time2))
    labels = blank.truth.astype(np.uint8)
    whole_box = (slice(None),) * 3
    held = LabelledScans(Case("a", "a", tmp_path, tmp_path), blank, labels, labels, whole_box)
    settings = TrainSettings(
        cohort=tmp_path, patch=16, seed=3, real_share=0.5, augmentation="light"
    )
    mixed = mixed_dataset(settings, [held], [held])
    real = PatchDataset([blank], 16, settings.lesion_share, settings.seed)
    for pair in range(6):
        first, second = mixed[2 * pair], mixed[2 * pair + 1]
        assert [int(first.case), int(second.case)] == [1, 0]
        for one, other in zip(first.visits, second.visits, strict=True):
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
        assert torch.equal(second.visits, real[pair].visits)


def test_patches_around_lesions_hold_a_lesion(scans):
    dataset = PatchDataset([scans], 16, lesion_share=1.0, seed=0)
    assert all(dataset[item].truth.any() for item in range(20))


def test_truth_turns_with_the_visits(scans):
    dataset = PatchDataset([scans], 16, lesion_share=1.0, seed=0)
    for item in range(10):
        visits, truth, *_ = dataset[item]
        lesion = truth[0] > 0
        assert visits[1][lesion].mean() > visits[1][~lesion].mean() + 3


def test_a_cohort_without_new_lesions_is_refused(scans):
    clean = scans._replace(truth=np.zeros_like(scans.truth))
    with pytest.raises(InputError, match="no case to train on holds a new lesion"):
        PatchDataset([clean], 16, 0.5, seed=0)


def test_cases_are_read_cut_to_their_brain(tiny_cohort):
    cases = read_cases(read_cohort(tiny_cohort), 1.0)
    assert {case.time1.shape for case in cases} == {(32, 32, 32)}


def test_maps_are_cut_and_mirrored_with_the_truth(scans):
    dataset = PatchDataset([scans], 16, lesion_share=1.0, seed=0)
    place = np.indices(scans.truth.shape).sum(axis=0).astype(np.float32) + 1
    plain = [dataset[item] for item in range(10)]
    dataset.add_maps([[np.where(scans.truth, place, -place), 2 * place]])
    for item in range(10):
        visits, truth, _, maps = dataset[item]
        assert torch.equal(visits, plain[item].visits)
        assert maps.shape == (2, 16, 16, 16)
        assert torch.equal(maps[0] > 0, truth[0] > 0)
        assert torch.equal(maps[0].abs() * 2, maps[1])
        assert (np.diff(np.unique(maps[1].numpy())) == 2).any()  # the place itself came along


def test_patches_of_several_classes_carry_their_labels(scans):
    labels = scans.truth.astype(np.uint8)
    labels[15, 15, 15] = 2
    dataset = PatchDataset([scans], 16, 1.0, 0, [labels])
    assert {int(label) for item in range(20) for label in dataset[item].truth.unique()} == {0, 1, 2}


def test_small_lesions_of_several_classes_survive_a_coarser_grid(tmp_path):
    truth = np.zeros((24, 24, 24), np.uint8)
    for place, label in ((4, 1), (12, 2), (20, 1)):
        truth[place, place, place] = label
    scan = np.zeros(truth.shape, np.int16)
    scan[3:22, 3:22, 3:22] = np.random.default_rng(0).integers(100, 200, (19, 19, 19))
    paths = [tmp_path / f"{name}.nii.gz" for name in ("time1", "time2", "truth")]
    for data, path in zip((scan, scan, truth), paths, strict=True):
        nib.save(nib.Nifti1Image(data, np.diag([0.5, 0.5, 0.5, 1.0])), path)
    (case,) = read_labelled_cases([Case("a", "a", *paths)], 1.0, classes=3)
    assert [int((case.labels == label).sum()) for label in (1, 2)] == [2, 1]
