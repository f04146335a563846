import shutil

import numpy as np
import pytest
from pydantic import ValidationError

from datagen.balance import SCORE_BINS
from datagen.build import BuildSettings, build
from datagen.cohort import write_cohort
from datagen.densities import lesion_densities
from datagen.edits import EDITS
from datagen.errors import InputError
from datagen.layouts import Case
from datagen.lesions import (
    LesionScore,
    match_lesions,
    score_lesions,
    score_under_rules,
)
from datagen.store import PairFile
from datagen.styles import STYLES


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


def test_two_workers_write_the_same_bytes_as_one(masks, two_parts, tmp_path):
    build(settings_for(masks, tmp_path / "pairs.h5", pairs=260, patch=16, workers=2))
    assert (tmp_path / "pairs.h5").read_bytes() == two_parts.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.h5"]


def test_another_seed_draws_other_pairs(masks, tmp_path):
    for seed in (0, 1):
        build(settings_for(masks, tmp_path / f"{seed}.h5", seed=seed, pairs=10))
    with PairFile(tmp_path / "0.h5") as first, PairFile(tmp_path / "1.h5") as second:
        assert (first.column("f1") != second.column("f1")).any()


@pytest.mark.parametrize("rule", ["overlap", "geo", "msseg2"])
def test_stored_scores_are_those_of_the_stored_maps_between_zero_and_one(masks, tmp_path, rule):
    out = tmp_path / "pairs.h5"
    build(settings_for(masks, out, rule=rule, pairs=40, spacing_mm=1.25))
    scores, columns = recomputed(out)
    for name, values in columns.items():
        expected = np.array([getattr(score, name) for score in scores], values.dtype)
        np.testing.assert_array_equal(values, expected)
    assert columns["f1"].min() >= 0
    assert columns["f1"].max() <= 1


def test_scores_are_spread_evenly(built):
    with PairFile(built) as file:
        f1, styles = file.column("f1"), file.column("style")
    bins = np.histogram(f1, SCORE_BINS, (0, 1))[0]
    assert bins == pytest.approx(np.full(SCORE_BINS, 60), abs=6)
    assert ((f1 == 0).sum(), (f1 == 1).sum()) == pytest.approx((36, 36), abs=4)
    for style in STYLES:
        of_style = np.histogram(f1[styles == style], SCORE_BINS, (0, 1))[0]
        assert of_style == pytest.approx(np.full(SCORE_BINS, 5), abs=3)


def test_every_rule_and_the_densities_are_those_of_the_stored_maps(built):
    with PairFile(built) as file:
        stored = {rule: file.column(f"f1_{rule}") for rule in ("overlap", "geo", "msseg2")}
        for index in range(0, 600, 7):
            truth, probability = file.volumes(index)
            masks = truth > 0, probability >= 128
            for rule, score in score_under_rules(*masks).items():
                expected = np.float32(np.nan if score.f1 is None else score.f1)
                np.testing.assert_equal(stored[rule][index], expected)
            np.testing.assert_array_equal(
                file.densities(index), lesion_densities(match_lesions(*masks))
            )


def test_edited_pairs_follow_their_base_and_differ_from_it_by_one_lesion(built):
    with PairFile(built) as file:
        families, edits = file.column("family"), file.column("edit")
        is_edited = edits != ""
        assert is_edited.mean() == pytest.approx(0.25, abs=0.06)
        assert set(edits[is_edited]) == set(EDITS)
        assert (families[~is_edited] == np.flatnonzero(~is_edited)).all()
        for index in np.flatnonzero(is_edited).tolist():
            base = int(families[index])
            assert not is_edited[base]
            assert is_edited[base + 1 : index + 1].all()
            before, after = file.volumes(base), file.volumes(index)
            np.testing.assert_array_equal(before[0], after[0])
            assert (before[1] != after[1]).any()


def test_lesions_are_spread_evenly_and_tell_nothing_of_the_score(built):
    with PairFile(built) as file:
        lesions, f1 = file.column("truth_lesions"), file.column("f1")
    assert abs(np.corrcoef(lesions, f1)[0, 1]) < 0.2
    # the masks of this test have little room: more than a dozen lesions seldom fit
    assert np.unique(lesions).size > 12


def test_no_patient_is_on_both_sides(built):
    with PairFile(built) as file:
        sides = set(zip(file.column("patient"), file.column("split"), strict=True))
    assert len(sides) == len({patient for patient, _ in sides}) == 4
    assert {split for _, split in sides} == {"train", "validation"}


def test_the_file_says_how_it_was_made(masks, built):
    with PairFile(built) as file:
        assert file.agreement == ("overlap", 26, 0.0, 1.0, 32)
        attributes = file.attributes
        assert set(file.column("style")) == set(STYLES)
    assert attributes["seed"] == 0
    assert '"pairs": 600' in attributes["settings"]
    assert str(masks) not in str(attributes)


def test_chosen_styles_are_the_only_ones(masks, tmp_path):
    build(settings_for(masks, tmp_path / "p.h5", styles=("blur",), patch=16))
    with PairFile(tmp_path / "p.h5") as file:
        assert set(file.column("style")) == {"blur"}


@pytest.mark.parametrize("share", [0.0, 0.12])
def test_truths_are_empty_by_the_share_that_was_asked_for(masks, tmp_path, share):
    build(settings_for(masks, tmp_path / "p.h5", empty_share=share, pairs=125, patch=16))
    with PairFile(tmp_path / "p.h5") as file:
        is_empty, f1 = file.column("truth_lesions") == 0, file.column("f1")
    assert is_empty.mean() == pytest.approx(share, abs=0.03)
    assert set(f1[is_empty]) <= {0.0, 1.0}


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
    # in a patch with room for two lesions few scores can be reached: others take their place
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
    build(settings_for(tmp_path / "masks", out, pairs=60, patch=16, empty_share=0.12))
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
        {"empty_share": 0.13},
        {"zero_share": 0.11},
        {"contrast_share": 0.9},
        {"prediction_share": 1.0},
        {"validation_fraction": 1.0},
        {"workers": 0},
    ],
)
def test_a_setting_out_of_range_is_refused(masks, tmp_path, change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        settings_for(masks, tmp_path / "pairs.h5", **change)
