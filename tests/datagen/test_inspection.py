import csv

import numpy as np
import pytest
from matplotlib.figure import Figure

from datagen.densities import lesion_densities
from datagen.errors import InputError
from datagen.inspection import inspect, save_figure
from datagen.lesions import LesionScore, match_lesions
from datagen.store import Agreement, Pair, merge_shards, write_shard

# the lower edges of the ten bins, which float32 can miss
SCORES = [0.0, *(number / 10 for number in range(1, 10)), 1.0, 1.0]


@pytest.fixture
def drawn():
    """Twelve pairs of 8³ voxels, the last one in validation, the sixth one of the fifth."""
    drawn = []
    for number, f1 in enumerate(SCORES):
        truth = np.zeros((8, 8, 8), np.uint8)
        truth[:2, :2, : number // 2] = 1
        score = LesionScore(f1, f1, f1, min(number // 2, 1), 1, 1, 1)
        split = "train" if number < 11 else "validation"
        densities = lesion_densities(match_lesions(truth > 0, truth > 0))
        family, edit = (number - 1, "fade") if number == 5 else (number, "")
        drawn.append(
            Pair(
                *(truth, 200 * truth, densities, score),
                {"overlap": f1, "geo": f1, "msseg2": None},
                *("a", "a", split, "blur", {}, family, edit),
            )
        )
    return drawn


@pytest.fixture
def save_pairs(tmp_path):
    def save(pairs):
        write_shard(tmp_path / "shard.h5", pairs)
        agreement = Agreement("overlap", 26, 0.0, 1.0, 8)
        merge_shards(tmp_path / "pairs.h5", [tmp_path / "shard.h5"], agreement, {"seed": 0})
        return tmp_path / "pairs.h5"

    return save


@pytest.fixture
def pairs(save_pairs, drawn):
    return save_pairs(drawn)


def test_inspecting_writes_pictures_and_tables(pairs, tmp_path):
    written = inspect(pairs, tmp_path / "figures", 0)
    pictures = ["balance.png", "montage.png", "styles.png", "families.png"]
    tables = ["balance.csv", "by_count.csv", "by_patient.csv"]
    assert [path.name for path in written] == pictures + tables
    for path in written[:4]:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted((tmp_path / "figures").iterdir()) == sorted(written)


def test_without_edited_pairs_there_is_no_picture_of_families(save_pairs, drawn, tmp_path):
    alone = [pair for pair in drawn if not pair.edit]
    written = inspect(save_pairs(alone), tmp_path / "figures", 0)
    assert "families.png" not in [path.name for path in written]


def test_numbers_of_lesions_are_counted_in_their_order(pairs, tmp_path):
    inspect(pairs, tmp_path / "figures", 0)
    rows = list(csv.DictReader((tmp_path / "figures" / "by_count.csv").read_text().splitlines()))
    assert [(row["truth_lesions"], row["pairs"]) for row in rows] == [("0", "2"), ("1", "10")]


def test_the_table_counts_each_pair_in_the_bin_of_its_score(pairs, tmp_path):
    inspect(pairs, tmp_path / "figures", 0)
    path = tmp_path / "figures" / "balance.csv"
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
