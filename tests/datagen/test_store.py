import json

import h5py
import numpy as np
import pytest

from datagen.densities import lesion_densities
from datagen.errors import InputError
from datagen.lesions import match_lesions, score_under_rules
from datagen.store import SCHEMA, Agreement, Pair, PairFile, merge_shards, write_shard

AGREEMENT = Agreement("overlap", 26, 0.0, 1.0, 8)
NOTES = {"seed": 3, "settings": {"pairs": 2}, "version": "0.1.0", "sources_sha256": "ab"}
CUBE = np.zeros((8, 8, 8), bool)
CUBE[:2, :2, :2] = True


def pair_of(prediction, case="a/b", split="train", edit=""):
    scores = score_under_rules(CUBE, prediction)
    return Pair(
        truth=CUBE.astype(np.uint8),
        probability=np.where(prediction, 200, 0).astype(np.uint8),
        densities=lesion_densities(match_lesions(CUBE, prediction)),
        score=scores["overlap"],
        f1={rule: score.f1 for rule, score in scores.items()},
        case=case,
        patient=f"{case}-patient",
        split=split,
        style="blur",
        parameters={"sigma_voxels": 0.5},
        family=0,
        edit=edit,
    )


PAIRS = [pair_of(CUBE), pair_of(~CUBE, "c", "validation", "remove")]


def write(path, *shards):
    """Write shards of pairs beside a pair file and merge them to it."""
    paths = [path.with_name(f"{number}.shard") for number in range(len(shards))]
    for shard, pairs in zip(paths, shards, strict=True):
        write_shard(shard, pairs)
    return merge_shards(path, paths, AGREEMENT, NOTES)


@pytest.fixture
def path(tmp_path):
    assert write(tmp_path / "pairs.h5", PAIRS) == 2
    return tmp_path / "pairs.h5"


def test_pairs_come_back_as_they_were_written(path):
    with PairFile(path) as file:
        assert len(file) == 2
        for index, pair in enumerate(PAIRS):
            truth, probability = file.volumes(index)
            np.testing.assert_array_equal(truth, pair.truth)
            np.testing.assert_array_equal(probability, pair.probability)
        for name in ("ltpr", "lppv", "f1", "truth_lesions", "predicted_hits"):
            assert file.column(name).tolist() == [getattr(pair.score, name) for pair in PAIRS]
            np.testing.assert_array_equal(file.densities(index), pair.densities)
        for name in ("case", "patient", "style", "split", "edit", "family"):
            assert file.column(name).tolist() == [getattr(pair, name) for pair in PAIRS]
        for rule in ("overlap", "geo", "msseg2"):
            assert file.column(f"f1_{rule}").tolist() == [pair.f1[rule] for pair in PAIRS]
        assert [json.loads(text) for text in file.column("parameters")] == [
            pair.parameters for pair in PAIRS
        ]
        assert file.agreement == AGREEMENT


def test_a_rule_without_a_score_is_stored_as_not_a_number(tmp_path):
    pair = pair_of(CUBE)
    write(tmp_path / "p.h5", [pair._replace(f1={**pair.f1, "msseg2": None})])
    with PairFile(tmp_path / "p.h5") as file:
        assert np.isnan(file.column("f1_msseg2")).all()


def test_the_layout_is_the_documented_one(path):
    with h5py.File(path) as file:
        dtypes = {name: data.dtype for name, data in file.items()}
        assert file["truth"].chunks == file["probability"].chunks == (1, 8, 8, 8)
        assert file["densities"].chunks == (1, 4, 2, 2, 2)
        assert file["truth"].compression == "gzip"
        assert json.loads(file.attrs["settings"]) == {"pairs": 2}
    assert dtypes == {
        **dict.fromkeys(("truth", "probability"), np.uint8),
        "densities": np.float16,
        **dict.fromkeys(("ltpr", "lppv", "f1"), np.float32),
        **dict.fromkeys(("f1_overlap", "f1_geo", "f1_msseg2"), np.float32),
        "family": np.int64,
        **dict.fromkeys(
            ("truth_lesions", "predicted_lesions", "truth_hits", "predicted_hits"), np.int32
        ),
        # as wide as the longest name: a/b, a/b-patient, blur, validation
        **{"case": "S3", "patient": "S11", "style": "S4", "split": "S10", "edit": "S6"},
        "parameters": "S21",
    }


def test_attributes_are_plain_values(path):
    with PairFile(path) as file:
        attributes = file.attributes
    assert attributes["schema"] == SCHEMA
    assert type(attributes["seed"]) is int
    assert attributes["rule"] == "overlap"
    assert set(attributes) == {"schema", *AGREEMENT._fields, *NOTES}


def test_the_same_pairs_make_the_same_bytes(path, tmp_path):
    write(tmp_path / "again.h5", PAIRS)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_shards_are_joined_in_their_order(tmp_path):
    names = ["a", "much/longer", "b"]
    first, second, third = (pair_of(CUBE, name) for name in names)
    write(tmp_path / "p.h5", [first, second], [third])
    with PairFile(tmp_path / "p.h5") as file:
        assert file.column("case").tolist() == names
        np.testing.assert_array_equal(file.volumes(2)[0], third.truth)


def test_names_beyond_ascii_come_back(tmp_path):
    write(tmp_path / "p.h5", [pair_of(CUBE, "Müller")])
    with PairFile(tmp_path / "p.h5") as file:
        assert file.column("case").tolist() == ["Müller"]


def test_long_names_come_back_whole_and_stay_apart(tmp_path):
    names = ["long/" * 60 + end for end in "ab"]
    pairs = [pair_of(CUBE, name) for name in names]
    write(tmp_path / "p.h5", pairs)
    with PairFile(tmp_path / "p.h5") as file:
        assert file.column("case").tolist() == names
        assert len(set(file.column("patient"))) == 2


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(AttributeError):
        write_shard(tmp_path / "0.h5", [PAIRS[0], PAIRS[0]._replace(score=None)])
    assert not list(tmp_path.iterdir())


def test_another_schema_is_refused_with_both_numbers(path):
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 9
    with pytest.raises(InputError, match=r"schema 2 expected, found 9; rebuild it with 'datagen"):
        PairFile(path)


def test_an_hdf5_file_of_something_else_is_refused(tmp_path):
    h5py.File(tmp_path / "other.h5", "w").close()
    with pytest.raises(InputError, match="schema 2 expected, found None"):
        PairFile(tmp_path / "other.h5")


@pytest.mark.parametrize("kept", [0, 100, 3000])
def test_a_file_that_is_cut_off_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="not an HDF5 file, or is cut off"):
        PairFile(path)


@pytest.mark.parametrize("name", ["probability", "f1", "split"])
def test_a_file_that_lacks_a_column_is_refused(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(InputError, match=f"lacks {name}; rebuild it with 'datagen build'"):
        PairFile(path)


def test_a_file_that_lacks_a_definition_is_refused(path):
    with h5py.File(path, "r+") as file:
        del file.attrs["connectivity"]
    with pytest.raises(InputError, match="lacks connectivity"):
        PairFile(path)


def test_a_rule_of_another_version_is_refused(path):
    with h5py.File(path, "r+") as file:
        file.attrs["rule"] = "dice"
    with pytest.raises(InputError, match="rule 'dice' is unknown to this version"):
        PairFile(path)


def test_a_damaged_pair_is_named_and_the_others_are_read(path):
    with h5py.File(path) as file:
        chunk = file["truth"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xaa" * chunk.size
    path.write_bytes(content)
    with PairFile(path) as file:
        np.testing.assert_array_equal(file.volumes(0)[0], PAIRS[0].truth)
        with pytest.raises(InputError, match=r"pairs\.h5: volume 1 is damaged"):
            file.volumes(1)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        PairFile(tmp_path / "none.h5")


def test_equal_agreements_agree():
    AGREEMENT.require(AGREEMENT._replace(), "the estimator", "pairs.h5")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("rule", "geo", "overlap"), ("spacing_mm", 2.0, "1.0"), ("patch", 64, "8")],
)
def test_a_difference_is_refused_with_both_values(field, value, expected):
    other = AGREEMENT._replace(**{field: value})
    words = f"pairs.h5 has {field} {value}, but the estimator has {expected}"
    with pytest.raises(InputError, match=words):
        AGREEMENT.require(other, "the estimator", "pairs.h5")
