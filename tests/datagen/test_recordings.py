import resource

import numpy as np
import pytest

from datagen.errors import InputError
from datagen.recordings import (
    Recording,
    RecordingFile,
    cut_recordings,
    find_case,
    list_predictions,
    write_recordings,
)
from datagen.sources import SourceFile


@pytest.fixture
def recordings(rng):
    truth = (rng.random((3, 16, 16, 16)) > 0.99).astype(np.uint8)
    probability = rng.integers(0, 255, truth.shape, np.uint8)
    names = ("a", "b", "Müller")
    return [
        Recording(truth[n], probability[n], names[n], f"{names[n]}-patient", 10 * n)
        for n in range(3)
    ]


@pytest.fixture
def path(tmp_path, recordings):
    write_recordings(tmp_path / "step0.h5", recordings, 1.0)
    return tmp_path / "step0.h5"


def test_recordings_come_back_as_they_were_written(path, recordings):
    file = RecordingFile(path, 16, 1.0)
    assert len(file) == 3
    assert file.patients == [recording.patient for recording in recordings]
    for index, recording in enumerate(recordings):
        np.testing.assert_array_equal(file[index].truth, recording.truth)
        np.testing.assert_array_equal(file[index].probability, recording.probability)
        assert file[index][2:] == recording[2:]


@pytest.mark.parametrize(
    ("patch", "spacing_mm", "name"), [(32, 1.0, "--patch 16"), (16, 2.0, "--spacing-mm 1.0")]
)
def test_recordings_of_another_grid_are_refused_with_the_way_out(path, patch, spacing_mm, name):
    with pytest.raises(InputError, match=f"build pairs with {name}, or record with"):
        RecordingFile(path, patch, spacing_mm)


def test_a_file_of_something_else_is_refused(tmp_path, tiny_pairs):
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match="not an HDF5 file"):
        RecordingFile(tmp_path / "text.h5", 16, 1.0)
    with pytest.raises(InputError, match="holds no recordings of schema 1"):
        RecordingFile(tiny_pairs, 16, 1.0)


def test_recordings_and_maps_are_found_at_any_depth(tmp_path, path, save):
    flat = np.zeros((4, 4, 4), np.float32)
    charts = [
        save(flat, tmp_path / name)
        for name in ("a/probability.nii.gz", "b/sub-1_probseg.nii", "c_probability.nii.gz")
    ]
    save(flat, tmp_path / "a/new_lesions.nii.gz")
    assert list_predictions([tmp_path]) == ([path], sorted(charts))


def test_a_folder_without_predictions_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no predictions"):
        list_predictions([tmp_path])


def test_a_map_belongs_to_the_case_that_it_is_named_after(tmp_path):
    cases = ("case1", "case10", "sub-1_ses-2")
    assert find_case(tmp_path / "case10" / "probability.nii.gz", cases) == "case10"
    assert find_case(tmp_path / "case1_probability.nii.gz", cases) == "case1"
    bids = tmp_path / "sub-1" / "sub-1_ses-2_probseg.nii.gz"
    assert find_case(bids, cases) == "sub-1_ses-2"
    with pytest.raises(InputError, match="belongs to no case of --masks"):
        find_case(tmp_path / "other" / "probability.nii.gz", cases)


@pytest.fixture
def whole_case(tmp_path, save):
    truth = np.zeros((20, 20, 20), bool)
    truth[5:8, 5:8, 5:8] = True
    predicted = np.where(truth, 0.75, 0.1).astype(np.float32)
    file = SourceFile("a", "p", "train", save(truth, tmp_path / "truth.nii.gz"))
    return file, predicted


def test_patches_are_cut_around_lesions(tmp_path, save, whole_case, rng):
    file, predicted = whole_case
    patches = cut_recordings(save(predicted, tmp_path / "p.nii.gz"), file, 16, 1.0, rng)
    assert len({patch.probability.tobytes() for patch in patches}) > 20
    for patch in patches:
        assert patch[2:] == ("a", "p", -1)
        assert patch.truth.any()
        assert (patch.probability[patch.truth > 0] == round(0.75 * 255)).all()


def test_a_map_on_another_grid_is_refused(tmp_path, save, whole_case, rng):
    path = save(whole_case[1][:10], tmp_path / "p.nii.gz")
    with pytest.raises(InputError, match="lie on different grids"):
        cut_recordings(path, whole_case[0], 16, 1.0, rng)


def test_a_map_that_is_no_probability_is_refused(tmp_path, save, whole_case, rng):
    path = save(3 * whole_case[1], tmp_path / "p.nii.gz")
    with pytest.raises(InputError, match="outside"):
        cut_recordings(path, whole_case[0], 16, 1.0, rng)


def test_a_map_at_another_place_is_refused(tmp_path, save, whole_case, rng):
    affine = np.eye(4)
    affine[:3, 3] = (4, 0, 0)
    path = save(whole_case[1], tmp_path / "p.nii.gz", affine)
    with pytest.raises(InputError, match="lie on different grids"):
        cut_recordings(path, whole_case[0], 16, 1.0, rng)


def test_the_nearest_folder_names_the_case(tmp_path):
    found = find_case(tmp_path / "runs" / "case1" / "probability.nii.gz", ("runs", "case1"))
    assert found == "case1"


def test_hidden_files_are_no_predictions(tmp_path, path, save):
    save(np.zeros((4, 4, 4), np.float32), tmp_path / "a" / ".partial-7-probability.nii.gz")
    assert list_predictions([tmp_path]) == ([path], [])


def test_more_files_than_may_be_open_are_read(tmp_path, recordings):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    paths = [tmp_path / f"step{number:03d}.h5" for number in range(120)]
    for path in paths:
        write_recordings(path, recordings[:1], 1.0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        files = [RecordingFile(path, 16, 1.0) for path in paths]
        assert all(len(file) == 1 and file[0].case == "a" for file in files)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_file_that_was_written_anew_is_read_anew(path, recordings):
    assert len(RecordingFile(path, 16, 1.0)) == 3
    write_recordings(path, recordings[1:], 1.0)
    assert RecordingFile(path, 16, 1.0)[0].case == "b"
