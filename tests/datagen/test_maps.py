import h5py
import numpy as np
import pytest

from datagen.errors import InputError
from datagen.maps import create_maps, pack_map, read_map, write_packed


@pytest.fixture
def path(tmp_path, rng):
    volumes = rng.integers(0, 9, (3, 4, 5, 6), np.uint8)
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        dataset = create_maps(file, "maps", 3, (4, 5, 6))
        for index in (0, 2):
            write_packed(dataset, index, pack_map(volumes[index]))
    return tmp_path / "maps.h5", volumes


def test_a_volume_comes_back_through_both_ways_of_reading(path):
    with h5py.File(path[0]) as file:
        for index in (0, 2):
            np.testing.assert_array_equal(read_map(file["maps"], index, path[0]), path[1][index])
            np.testing.assert_array_equal(file["maps"][index], path[1][index])


def test_a_volume_that_was_never_written_is_refused(path):
    with h5py.File(path[0]) as file, pytest.raises(InputError, match="volume 1 is damaged"):
        read_map(file["maps"], 1, path[0])
