import csv

import numpy as np
import pytest
from matplotlib.figure import Figure

from datagen.errors import InputError
from datagen.inspection import inspect, save_figure
from datagen.lesions import LesionScore
from datagen.store import Agreement, Pair, write_pairs

# the lower edges of the ten bins, which float32 can miss
SCORES = [0.0, *(number / 10 for number in range(1, 10)), 1.0, 1.0]


@pytest.fixture
def pairs(tmp_path):
    """Twelve pairs of 8³ voxels, the last one in validation."""
    drawn = []
    for number, f1 in enumerate(SCORES):
        truth = np.zeros((8, 8, 8), np.uint8)
        truth[:2, :2, : number // 2] = 1
        score = LesionScore(f1, f1, f1, min(number // 2, 1), 1, 1, 1)
        split = "train" if number < 11 else "validation"
        drawn.append(Pair(truth, 200 * truth, score, "a", "a", "blur", split))
    path = tmp_path / "pairs.h5"
    write_pairs(path, drawn, len(drawn), Agreement("overlap", 26, 0.0, 1.0, 8), {"seed": 0})
    return path


def test_inspecting_writes_two_pictures_and_a_table(pairs, tmp_path):
    written = inspect(pairs, tmp_path / "figures", 0)
    assert [path.name for path in written] == ["balance.png", "montage.png", "balance.csv"]
    for path in written[:2]:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted((tmp_path / "figures").iterdir()) == sorted(written)


def test_the_table_counts_each_pair_in_the_bin_of_its_score(pairs, tmp_path):
    path = inspect(pairs, tmp_path / "figures", 0)[2]
    train, validation = csv.DictReader(path.read_text().splitlines())
    assert (train["split"], train["style"], train["pairs"]) == ("train", "blur", "11")
    assert (train["exactly 0"], train["exactly 1"]) == ("1", "1")
    bins = [int(train[f"{number / 10:.1f}"]) for number in range(10)]
    assert bins == [1] * 9 + [2]
    assert (validation["split"], validation["pairs"], validation["0.9"]) == ("validation", "1", "1")


def test_a_missing_pair_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        inspect(tmp_path / "none.h5", tmp_path / "figures", 0)


def test_a_figure_that_cannot_be_saved_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="not supported"):
        save_figure(Figure(), tmp_path / "figure.xyz")
    assert not list(tmp_path.iterdir())
