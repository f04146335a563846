import shutil

import numpy as np
import pytest
from pydantic import ValidationError

from datagen.balance import SCORE_BINS, score_bin
from datagen.build import BuildSettings, build, build_part
from datagen.cohort import write_cohort
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.lesions import LesionScore, score_lesions
from datagen.sources import SourceFile, read_source
from datagen.store import PairFile


def settings_for(masks, out, **changes):
    changes = {"pairs": 30, "patch": 32, "workers": 1, "validation_fraction": 0.3, **changes}
    return BuildSettings(masks=(masks,), out=out, **changes)


def recomputed(path):
    """Scores of the stored maps, recomputed, and the scores that are stored with them."""
    recomputed_scores, stored = [], {}
    with PairFile(path) as file:
        rule, spacing_mm = file.agreement.rule, (file.agreement.spacing_mm,) * 3
        for index in range(len(file)):
            truth, probability = file.volumes(index)
            assert set(np.unique(truth)) <= {0, 1}
            score = score_lesions(truth > 0, probability >= 128, rule, spacing_mm)
            recomputed_scores.append(score)
        for name in LesionScore._fields[:7]:
            stored[name] = file.column(name)
    return recomputed_scores, stored


@pytest.fixture(scope="module")
def built(masks, tmp_path_factory):
    """A pair file of 130 pairs, which are two parts."""
    out = tmp_path_factory.mktemp("built") / "pairs.h5"
    assert build(settings_for(masks, out, pairs=130)) == 130
    return out


def test_two_workers_write_the_same_bytes_as_one(masks, built, tmp_path):
    build(settings_for(masks, tmp_path / "pairs.h5", pairs=130, workers=2))
    assert (tmp_path / "pairs.h5").read_bytes() == built.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.h5"]


def test_another_seed_draws_other_pairs(masks, tmp_path):
    for seed in (0, 1):
        build(settings_for(masks, tmp_path / f"{seed}.h5", seed=seed))
    with PairFile(tmp_path / "0.h5") as first, PairFile(tmp_path / "1.h5") as second:
        assert (first.column("f1") != second.column("f1")).any()


@pytest.mark.parametrize("rule", ["overlap", "geo", "msseg2"])
def test_stored_scores_are_those_of_the_stored_maps(masks, tmp_path, rule):
    out = tmp_path / "pairs.h5"
    build(settings_for(masks, out, rule=rule, pairs=40, spacing_mm=1.25))
    scores, columns = recomputed(out)
    for name, values in columns.items():
        expected = np.array([getattr(score, name) for score in scores], values.dtype)
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("rule", ["overlap", "geo", "msseg2"])
def test_scores_to_learn_lie_between_zero_and_one(masks, tmp_path, rule):
    build(settings_for(masks, tmp_path / "pairs.h5", rule=rule, pairs=100))
    with PairFile(tmp_path / "pairs.h5") as file:
        f1 = file.column("f1")
    assert f1.min() >= 0
    assert f1.max() <= 1


def test_scores_are_spread_evenly(built):
    scores, _ = recomputed(built)
    bins = np.bincount([score_bin(score.f1) for score in scores[:100]], minlength=SCORE_BINS)
    assert bins.sum() == 100
    assert np.abs(bins - 10).max() <= 1


def test_truths_are_empty_only_by_the_share_that_was_asked_for(tmp_path, save):
    # a frame around nothing: a patch at its middle holds no lesion
    frame = np.zeros((32, 32, 3), bool)
    frame[2:30, 2:30, 1] = True
    frame[4:28, 4:28, 1] = False
    for name in "ab":
        save(frame, tmp_path / "masks" / f"{name}.nii.gz")
    build(settings_for(tmp_path / "masks", tmp_path / "p.h5", patch=16, empty_share=0.0))
    with PairFile(tmp_path / "p.h5") as file:
        assert (file.column("truth_lesions") > 0).all()


def test_no_patient_is_on_both_sides(built):
    with PairFile(built) as file:
        sides = set(zip(file.column("patient"), file.column("split"), strict=True))
    assert len(sides) == len({patient for patient, _ in sides}) == 4
    assert {split for _, split in sides} == {"train", "validation"}


def test_the_file_says_how_it_was_made(masks, built):
    with PairFile(built) as file:
        assert file.agreement == ("overlap", 26, 0.0, 1.0, 32)
        attributes = file.attributes
        assert set(file.column("style")) == {"sharp", "blur", "network"}
    assert attributes["seed"] == 0
    assert '"pairs": 130' in attributes["settings"]
    assert str(masks) not in str(attributes)


def test_chosen_styles_are_the_only_ones(masks, tmp_path):
    build(settings_for(masks, tmp_path / "p.h5", styles=("blur",), patch=16))
    with PairFile(tmp_path / "p.h5") as file:
        assert set(file.column("style")) == {"blur"}


@pytest.mark.parametrize("share", [0.0, 0.04, 0.15, 0.2])
def test_each_part_has_its_share_of_empty_truths_and_half_of_them_score_one(masks, tmp_path, share):
    build(settings_for(masks, tmp_path / "p.h5", empty_share=share, pairs=150, patch=16))
    with PairFile(tmp_path / "p.h5") as file:
        is_empty, f1 = file.column("truth_lesions") == 0, file.column("f1")
    assert [is_empty[:100].sum(), is_empty[100:].sum()] == [round(share * 100), round(share * 50)]
    assert set(f1[is_empty]) <= {0.0, 1.0}
    # ten pairs of each hundred have a place below 0.1, and ten above 0.9
    perfect = (f1[:100][is_empty[:100]] == 1).sum()
    assert perfect <= 10
    assert is_empty[:100].sum() - perfect <= 10


def test_cases_of_the_test_split_are_never_used(masks, tmp_path):
    paths = sorted(masks.iterdir())
    splits = ("train", "test", "validation", "test")
    cases = [
        Case(path.name, path.name, path, path, path, None, split)
        for path, split in zip(paths, splits, strict=True)
    ]
    write_cohort(cases, tmp_path / "cohort.csv")
    build(settings_for(tmp_path / "cohort.csv", tmp_path / "pairs.h5"))
    with PairFile(tmp_path / "pairs.h5") as file:
        assert set(file.column("case")) == {paths[0].name, paths[2].name}


@pytest.mark.parametrize("lesions", [1, 2])
def test_masks_of_few_lesions_make_pairs_at_the_scores_they_reach(tmp_path, save, lesions):
    # with one or two lesions no count of hits scores 0.7 to 0.8: that bin's pairs go elsewhere
    mask = np.zeros((16, 16, 16), bool)
    for start in (3, 10)[:lesions]:
        mask[start : start + 2, start : start + 2, start : start + 2] = True
    for name in "ab":
        save(mask, tmp_path / "masks" / f"{name}.nii.gz")
    out = tmp_path / "pairs.h5"
    assert build(settings_for(tmp_path / "masks", out, pairs=20, patch=16)) == 20


def test_masks_without_lesions_lend_empty_truths_alone(masks, tmp_path, save):
    (tmp_path / "masks").mkdir()
    shutil.copy(masks / "patient0.nii.gz", tmp_path / "masks")
    save(np.zeros((40, 40, 40), bool), tmp_path / "masks" / "clean.nii.gz")
    out = tmp_path / "pairs.h5"
    build(settings_for(tmp_path / "masks", out, pairs=60, patch=16, empty_share=0.2))
    with PairFile(out) as file:
        is_clean = file.column("case") == "clean"
        assert is_clean.any()
        assert not file.column("truth_lesions")[is_clean].any()


# refusals


def test_masks_without_a_lesion_are_refused_and_leave_nothing_behind(tmp_path, save):
    for name in "ab":
        save(np.zeros((8, 8, 8), bool), tmp_path / "masks" / f"{name}.nii.gz")
    with pytest.raises(InputError, match=r"no mask below .* holds a lesion"):
        build(settings_for(tmp_path / "masks", tmp_path / "pairs.h5"))
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


def test_masks_of_which_no_patch_can_be_drawn_are_refused(masks, tmp_path, save):
    clean = save(np.zeros((8, 8, 8), bool), tmp_path / "clean.nii.gz")
    sources = [read_source(SourceFile("clean", "clean", "train", clean), 1.0)]
    settings = settings_for(masks, tmp_path / "pairs.h5", patch=16, empty_share=0.0)
    with pytest.raises(InputError, match="no pair can be drawn from these masks at patch 16"):
        build_part(0, sources, settings)


def test_an_output_that_is_a_folder_is_refused_before_the_work(masks, tmp_path):
    (tmp_path / "pairs.h5").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        build(settings_for(masks, tmp_path / "pairs.h5"))
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.h5"]


@pytest.mark.parametrize(
    "change",
    [
        {"pairs": 9},
        {"patch": 20},
        {"patch": 8},
        {"spacing_mm": 0.0},
        {"rule": "dice"},
        {"styles": ()},
        {"empty_share": 0.21},
        {"validation_fraction": 1.0},
        {"workers": 0},
    ],
)
def test_a_setting_out_of_range_is_refused(masks, tmp_path, change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        settings_for(masks, tmp_path / "pairs.h5", **change)
