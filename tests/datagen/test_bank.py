import numpy as np
import pytest

from datagen.bank import MARGIN, open_bank, signed_distance, store_source, write_index
from datagen.sources import SourceFile


@pytest.fixture
def bank(tmp_path, save):
    """Bank of two masks: an L around a voxel for training, one lesion for validation."""
    data = np.zeros((2, 8, 8, 8), bool)
    data[0, 1:6, 1, 1] = data[0, 1, 1:6, 1] = True
    data[0, 4, 4, 1] = True
    data[1, 6, 6, 5:7] = True
    files = [
        SourceFile(name, name, split, save(mask, tmp_path / f"{name}.nii.gz"))
        for name, split, mask in zip("ab", ("train", "validation"), data, strict=True)
    ]
    counts = [store_source(file, 1.0, tmp_path, number) for number, file in enumerate(files)]
    assert counts == [2, 1]
    write_index(files, tmp_path)
    return data, open_bank(tmp_path)


def test_a_lesion_comes_back_without_its_neighbour_in_the_same_box(bank):
    data, opened = bank
    source = opened.sources[0]
    assert sorted(int((source.field(lesion) < 0).sum()) for lesion in (0, 1)) == [1, 9]
    for lesion in (0, 1):
        corner = source.corners[lesion]
        inside = np.argwhere(source.field(lesion) < 0) + corner
        assert data[0][tuple(inside.T)].all()


def test_a_box_reaches_the_margin_beyond_its_lesion(bank):
    source = bank[1].sources[1]
    assert source.field(0).shape == (1 + 2 * MARGIN, 1 + 2 * MARGIN, 2 + 2 * MARGIN)
    assert source.corners[0].tolist() == [6 - MARGIN, 6 - MARGIN, 5 - MARGIN]


def test_each_side_borrows_its_own_lesions_alone(bank):
    for split, sizes in (("train", {1, 9}), ("validation", {2})):
        rng = np.random.default_rng(0)
        drawn = {int((bank[1].borrow(split, rng) < 0).sum()) for _ in range(30)}
        assert drawn == sizes


def test_borrowed_lesions_are_turned(bank):
    rng = np.random.default_rng(0)
    assert len({bank[1].borrow("validation", rng).shape for _ in range(30)}) == 3


def test_a_side_without_lesions_borrows_from_the_other(tmp_path, save):
    masks = np.zeros((2, 6, 6, 6), bool)
    masks[0, 2, 2, 2] = True
    files = [
        SourceFile(name, name, split, save(mask, tmp_path / f"{name}.nii.gz"))
        for name, split, mask in zip("ab", ("train", "validation"), masks, strict=True)
    ]
    for number, file in enumerate(files):
        store_source(file, 1.0, tmp_path, number)
    write_index(files, tmp_path)
    bank = open_bank(tmp_path)
    assert (bank.borrow("validation", np.random.default_rng(0)) < 0).sum() == 1
    assert [source.case for source in bank.with_lesions] == ["a"]


def test_distance_counts_voxels_from_the_surface():
    lesion = np.zeros((7, 1, 1), bool)
    lesion[2:5] = True
    distance = signed_distance(np.pad(lesion, ((0, 0), (3, 3), (3, 3))))[:, 3, 3]
    assert distance.tolist() == [1.5, 0.5, -0.5, -0.5, -0.5, 0.5, 1.5]
