"""Methods × folds × seeds: who is tested when, what is averaged, and what is compared."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib.text import Text
from pydantic import ValidationError

from datagen.errors import InputError
from datagen.files import write_table
from datagen.layouts import Case
from segnet.comparison.gathering import over_seeds, read_rows
from segnet.comparison.pictures import draw_front, draw_methods
from segnet.comparison.plan import Cell, deal_folds, find_cell, list_cells, say_if_uneven
from segnet.comparison.settings import CompareSettings, read_method, train_settings
from segnet.comparison.tabulation import MethodCost, SeedMean, against, papers_sheet
from segnet.evaluation.case import CaseScore
from segnet.evaluation.paired import holm
from segnet.evaluation.summaries import NO_RULE, Values, summarise


@pytest.fixture
def case_of(tmp_path):
    def build(name, patient=None, split=None):
        return Case(name, patient or name, tmp_path, tmp_path, truth=tmp_path, split=split)

    return build


def settings_for(**changes):
    methods = {"dice": {"alpha": 0.0}, "nothing": {"baseline": "empty"}}
    return CompareSettings.model_validate({"cohort": "cohort", "methods": methods, **changes})


@given(st.integers(3, 30), st.integers(2, 5), st.integers(0, 9))
def test_each_patient_is_tested_once_and_never_trained_on_there(patients, folds, seed):
    assume(patients >= max(folds, 4))
    here = CaseBuilder()
    cases = [here(f"{number}{order}", f"{number}") for number in range(patients) for order in "ab"]
    dealt = deal_folds(cases, folds, 0.2, seed)
    tested = [{case.patient for case in fold if case.split == "test"} for fold in dealt]
    assert sorted(patient for one in tested for patient in one) == sorted(
        {case.patient for case in cases}
    )
    for fold in dealt:
        of_split = {
            split: {case.patient for case in fold if case.split == split}
            for split in ("train", "validation", "test")
        }
        assert all(of_split.values())
        assert sum(map(len, of_split.values())) == patients
        assert len(fold) == len(cases)


class CaseBuilder:
    """Cases without a folder: hypothesis takes no fixture that lasts for one example."""

    def __call__(self, name, patient):
        from pathlib import Path

        return Case(name, patient, Path(), Path(), truth=Path())


def test_one_fold_keeps_the_cohorts_own_test_cases(case_of):
    cases = [case_of("a", split="test"), case_of("b", split="train"), case_of("c"), case_of("d")]
    (fold,) = deal_folds(cases, 1, 0.3, 0)
    assert [case.name for case in fold if case.split == "test"] == ["a"]
    assert sorted(str(case.split) for case in fold) == ["test", "train", "train", "validation"]


def test_one_fold_keeps_the_cohorts_own_validation_cases_too(case_of):
    splits = {"a": "test", "b": "train", "c": "validation", "d": "train"}
    cases = [case_of(name, split=split) for name, split in splits.items()]
    (fold,) = deal_folds(cases, 1, 0.3, 7)
    assert {case.name: case.split for case in fold} == splits


@pytest.mark.parametrize(("folds", "said"), [(1, "--folds 2"), (2, "too few"), (5, "too few")])
def test_patients_that_cannot_be_dealt_out_are_refused(folds, said, case_of):
    with pytest.raises(InputError, match=said):
        deal_folds([case_of("a"), case_of("b")], folds, 0.2, 0)


def test_a_case_without_truth_is_refused(case_of):
    with pytest.raises(InputError, match="case b has no truth"):
        deal_folds([case_of("a"), case_of("b")._replace(truth=None)], 2, 0.2, 0)


def test_a_baseline_has_one_seed_and_a_training_has_all():
    cells = list_cells(settings_for(folds=2, seeds=(4, 5)))
    assert [cell.name for cell in cells if cell.method == "nothing"] == [
        "nothing/0/4",
        "nothing/1/4",
    ]
    assert len([cell for cell in cells if cell.method == "dice"]) == 4
    assert find_cell(settings_for(), "dice/0/2").seed == 2


@pytest.mark.parametrize(
    ("finished", "flags"),
    [
        (["a/0/0", "a/0/1", "b/0/1", "b/0/0"], None),
        (["a/0/0", "a/0/1", "b/0/1"], "; --seeds 1 compares by what all have"),
        (["a/0/0", "a/0/1", "a/0/2", "b/0/1", "b/0/2"], "; --seeds 1 --seeds 2 compares by what"),
        (["a/0/0", "a/1/0", "a/0/1", "b/0/0", "b/0/1"], "; --seeds 1 compares by what all have"),
        (["a/0/0", "b/0/1"], "seeds and folds, too"),
    ],
)
def test_methods_with_different_trainings_are_told_with_the_seeds_that_all_have(finished, flags):
    parts = [name.split("/") for name in finished]
    told = say_if_uneven([Cell(method, int(fold), int(seed)) for method, fold, seed in parts])
    if flags is None:
        assert told is None
    else:
        assert flags in told
        assert told.startswith("not every method has the same trainings")
        assert ("--seeds" in told) == ("--seeds" in flags)


def test_a_methods_own_settings_win_over_those_of_all():
    settings = settings_for(
        methods={"a": {"alpha": 0.0, "epochs": 3}, "b": {"alpha": 0.0}}, train={"epochs": 7}
    )
    epochs = [
        train_settings(read_method(settings, name), settings.cohort, settings.out, 0).epochs
        for name in settings.methods
    ]
    assert epochs == [3, 7]


def test_seeds_are_averaged_case_by_case_where_the_score_is_defined():
    first = Values("m", "overlap", "f1", {"a": 0.2, "b": None, "c": None})
    second = Values("m", "overlap", "f1", {"a": 0.6, "b": 0.5, "c": None})
    (mean,) = over_seeds([[first], [second]])
    assert mean.by_case == {"a": pytest.approx(0.4), "b": 0.5, "c": None}


def test_tests_against_a_reference_are_corrected_for_their_own_number():
    rng = np.random.default_rng(0)

    def scored(name, shift):
        numbers = {f"case{i}": float(x) for i, x in enumerate(rng.normal(shift, 1, 12))}
        return Values(name, "overlap", "f1", numbers)

    rows = against([scored("a", 0.0), scored("b", 1.0), scored("c", 3.0)], "a")
    assert [(row.first, row.second) for row in rows] == [("b", "a"), ("c", "a")]
    assert rows[1].mean_difference > 2
    corrected = holm(np.array([row.p for row in rows]))
    assert [row.p_holm for row in rows] == corrected.tolist()


def test_rows_are_read_back_as_they_were_written(tmp_path):
    rows = [
        CaseScore("p1", "m", "overlap", False, 0.5, 1.0, 0.25, 0.4, 2, 8, 2, 2, 30.0),
        CaseScore("p2", "m", "msseg2", True, 0.0, 0.0, 0.0, None, 0, 1, 0, 0, 4.5),
    ]
    path = tmp_path / "cases.csv"
    write_table(path, [row._asdict() for row in rows], CaseScore._fields)
    assert read_rows(path, CaseScore) == rows
    path.write_text(path.read_text().replace("False", "no"))
    with pytest.raises(InputError, match="damaged"):
        read_rows(path, CaseScore)


@pytest.fixture
def summaries():
    scores = {"good": (0.8, 0.6), "bad": (0.3, 0.1), "silent": (None, None)}
    values = [
        Values(method, rule, metric, dict(zip("ab", numbers, strict=True)))
        for method, numbers in scores.items()
        for rule, metric in (("overlap", "f1"), ("voxel-wise", "dice"), ("voxel-wise", "hd95_mm"))
    ]
    return [summarise(one, {"a": "a", "b": "b"}, 100, 0) for one in values]


def test_the_papers_table_shows_mean_and_deviation_and_a_dash_where_nothing_is_defined(summaries):
    costs = [
        MethodCost("good", 3, 11.0, 120.0, 5.0, 1.5, None),
        MethodCost("silent", 1, None, None, 5.0, None, None),
    ]
    sheet = papers_sheet(summaries, costs)
    good, silent = ([cell.text for cell in row] for row in sheet.rows)
    by_head = dict(zip(sheet.heads, good, strict=True))
    assert by_head["L-F1 overlap"] == by_head["DSC"] == "0.700 ± 0.141"
    assert by_head["HD95 (mm)"] == "0.7 ± 0.1"
    assert (by_head["training (min)"], by_head["memory (GiB)"]) == ("2.0", "1.50")
    assert silent == ["silent", "1", *["–"] * (len(sheet.heads) - 2)]


def test_the_figure_has_the_best_method_on_top(summaries):
    seeds = [SeedMean("good", "overlap", "f1", 0, 0.75), SeedMean("bad", "overlap", "f1", 0, None)]
    figure = draw_methods(summaries, seeds)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["good", "bad", "silent"]
    assert [axes.get_title() for axes in figure.axes] == ["L-F1, rule overlap", "Dice"]


def test_the_front_holds_what_no_other_method_beats_in_both():
    scores = {"a": (0.2, 0.6), "b": (0.5, 0.5), "beaten": (0.4, 0.4), "c": (0.6, 0.1)}
    summaries = [
        summarise(Values(method, rule, metric, {"case": value}), {"case": "p"}, 100, 0)
        for method, (dice, f1) in scores.items()
        for rule, metric, value in ((NO_RULE, "dice", dice), ("overlap", "f1", f1))
    ]
    figure = draw_front(summaries)
    line = figure.axes[0].lines[0]
    front = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert np.allclose(front, [scores[name] for name in "abc"])
    assert {text.get_text() for text in figure.axes[0].texts} == set(scores)


def test_a_comparison_without_a_defined_score_has_an_empty_front():
    undefined = summarise(Values("a", "msseg2", "f1", {"case": None}), {"case": "p"}, 100, 0)
    assert not draw_front([undefined]).axes[0].texts


def test_no_name_lies_on_another_beside_the_front():
    scores = {f"method {n}": (0.5, f1) for n, f1 in enumerate((0.1, 0.6, 0.601, 0.602, 0.7))}
    summaries = [
        summarise(Values(method, rule, metric, {"case": value}), {"case": "p"}, 100, 0)
        for method, (dice, f1) in scores.items()
        for rule, metric, value in ((NO_RULE, "dice", dice), ("overlap", "f1", f1))
    ]
    figure = draw_front(summaries)
    figure.draw_without_rendering()
    # of an annotation, its line would count too
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    heights = [box.y0 for box in boxes]
    assert heights == sorted(heights)


@pytest.mark.parametrize("typed", ["Dice + 3 (1 - F̂)", "dice + 3 (1 − f)", "Dice + 3 (1 - F)"])
def test_a_method_may_be_typed_plainly(typed):
    table = {"Dice": {"loss": "dice"}, "Dice + 3 (1 - F̂)": {"alpha": 3.0}}
    settings = CompareSettings(cohort="c", methods=table, method=[typed], reference=typed)
    assert list(settings.methods) == [settings.reference] == ["Dice + 3 (1 - F̂)"]
    assert find_cell(settings, f"{typed}/0/1") == Cell("Dice + 3 (1 - F̂)", 0, 1)


def test_a_method_that_is_mistyped_is_told_the_nearest():
    table = {"Dice": {"loss": "dice"}, "Dice + FOG": {"loss": "fog"}}
    with pytest.raises(ValidationError, match=r"did you mean 'Dice \+ FOG'"):
        CompareSettings(cohort="c", methods=table, method=["Dice+FOG"])
    with pytest.raises(InputError, match=r"--cell Dice FOG/0/0: .*mean 'Dice \+ FOG'"):
        find_cell(CompareSettings(cohort="c", methods=table), "Dice FOG/0/0")


def test_a_name_that_two_methods_share_but_for_case_is_asked_for():
    table = {"dice": {"loss": "dice"}, "Dice": {"loss": "dice"}}
    with pytest.raises(ValidationError, match="is not in the table"):
        CompareSettings(cohort="c", methods=table, method=["DICE"])
