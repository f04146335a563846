from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import cohort
from datagen.cohort import read_cohort, write_cohort
from datagen.errors import InputError
from datagen.layouts import Case


def case_of(name, patient=None, split=None):
    return Case(name, patient or name, Path(name, "1.nii"), Path(name, "2.nii"), split=split)


# the list


def test_a_written_cohort_is_read_back_and_can_be_moved(tmp_path, visits):
    folder = tmp_path / "here"
    time1, time2, truth = visits(folder / "a")
    cases = [Case("a", "p", time1, time2, truth, None, "validation"), Case("b", "b", time1, time2)]
    write_cohort(cases, folder / "cohort.csv")
    assert read_cohort(folder) == cases
    assert str(tmp_path) not in (folder / "cohort.csv").read_text()
    moved = folder.rename(tmp_path / "there")
    assert read_cohort(moved)[0].truth == moved / "a" / "ground_truth.nii.gz"


def test_paths_outside_the_folder_of_the_list_stay_absolute(tmp_path, visits):
    time1, time2, _ = visits(tmp_path / "a")
    write_cohort([Case("a", "a", time1, time2)], tmp_path / "lists" / "cohort.csv")
    assert read_cohort(tmp_path / "lists")[0].time1 == time1


def list_of(folder, *names):
    (folder / "scan.nii").touch()
    rows = [f"{name},scan.nii,scan.nii\n" for name in names]
    (folder / "cohort.csv").write_text("case,time1,time2\n" + "".join(rows))
    return folder / "cohort.csv"


def test_cases_come_in_the_order_of_their_names(tmp_path):
    cases = read_cohort(list_of(tmp_path, "c", "a", "b"))
    assert [case.name for case in cases] == ["a", "b", "c"]


def test_two_cases_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cohort\.csv: two cases are named 'a'"):
        read_cohort(list_of(tmp_path, "a", "b", "a"))


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a/b", "a\\b"])
def test_a_name_that_cannot_be_a_folder_of_results_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"cohort\.csv: '.*' cannot name a case"):
        read_cohort(list_of(tmp_path, name, "b"))


# splits


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("abcdef"), min_size=2, max_size=12),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
def test_all_cases_of_a_patient_are_on_one_side(patients, fraction, seed):
    cases = [case_of(f"case{number}", patient) for number, patient in enumerate(patients)]
    if len(set(patients)) < 2:
        with pytest.raises(InputError, match="one patient to train on"):
            cohort.split_by_patient(cases, fraction, np.random.default_rng(seed))
        return
    split = cohort.split_by_patient(cases, fraction, np.random.default_rng(seed))
    sides = {(case.patient, case.split) for case in split}
    assert len(sides) == len(set(patients))
    assert {side for _, side in sides} == {"train", "validation"}
    assert [case.name for case in split] == [case.name for case in cases]


def test_the_fraction_of_patients_is_held_out(rng):
    split = cohort.split_by_patient([case_of(name) for name in "abcdefghij"], 0.3, rng)
    assert sum(case.split == "validation" for case in split) == 3


def test_a_cohort_that_sets_validation_cases_is_left_as_it_is(rng):
    splits = ["validation", "train", None, "test"]
    cases = [case_of(name, split=split) for name, split in zip("abcd", splits, strict=True)]
    split = [case.split for case in cohort.split_by_patient(cases, 0.5, rng)]
    assert split == ["validation", "train", "train", "test"]


@pytest.mark.parametrize("other", [None, "train"])
def test_validation_is_drawn_from_the_patients_that_are_not_tested(rng, other):
    cases = [case_of(name, split="test" if name < "c" else other) for name in "abcdefgh"]
    split = [case.split for case in cohort.split_by_patient(cases, 0.33, rng)]
    assert split[:2] == ["test", "test"]
    assert sorted(split[2:]) == ["train"] * 4 + ["validation"] * 2


def test_one_patient_beside_those_to_test_is_too_few(rng):
    cases = [case_of("a", split="test"), case_of("b")]
    with pytest.raises(InputError, match="one patient to train on, b; two are needed"):
        cohort.split_by_patient(cases, 0.5, rng)


def test_a_cohort_to_test_on_alone_is_left_as_it_is(rng):
    cases = [case_of("a", split="test"), case_of("b", split="test")]
    assert cohort.split_by_patient(cases, 0.5, rng) == cases


def test_the_cases_of_a_split_are_chosen_and_none_is_an_error():
    cases = [case_of("a", split="test"), case_of("b")]
    assert cohort.of_split(cases, "test") == cases[:1]
    assert cohort.of_split(cases, "all") == cases
    with pytest.raises(InputError, match="no case of the cohort belongs to split 'train'"):
        cohort.of_split(cases, "train")


def test_visits_are_swapped_where_what_vanished_is_known(tmp_path, visits, save):
    time1, time2, truth = visits(tmp_path / "a")
    other = case_of("b")
    case = Case("a", "p", time1, time2, truth, None, "test")
    assert cohort.with_reversed_visits([case, other]) == [case, other]
    vanished = save(np.zeros((12, 12, 12), bool), tmp_path / "a" / "vanished_lesions.nii.gz")
    swapped = Case("a_reversed", "p", time2, time1, vanished, None, "test")
    assert cohort.with_reversed_visits([case, other]) == [case, swapped, other]


def test_what_vanished_is_not_the_truth_of_two_visits(tmp_path, visits, save):
    time1, time2, truth = visits(tmp_path / "flat")
    save(np.zeros((12, 12, 12), bool), tmp_path / "flat" / "vanished_lesions.nii.gz")
    other = tmp_path / "flat" / "b_time2.nii.gz"
    raters = [Case(name, "p", time1, time2, truth) for name in ("a1", "a2")]
    assert len(cohort.with_reversed_visits(raters)) == 4
    with pytest.raises(InputError, match="beside visit 2 of a1 and of b, and cannot be the truth"):
        cohort.with_reversed_visits([raters[0], Case("b", "q", time1, other, truth)])


def test_a_case_that_is_swapped_or_listed_in_both_orders_is_not_swapped_again(
    tmp_path, visits, save
):
    time1, time2, truth = visits(tmp_path / "a")
    save(np.zeros((12, 12, 12), bool), tmp_path / "a" / "vanished_lesions.nii.gz")
    both = cohort.with_reversed_visits([Case("a", "p", time1, time2, truth)])
    assert [case.name for case in both] == ["a", "a_reversed"]
    assert cohort.with_reversed_visits(both) == both
    assert cohort.with_reversed_visits(both[1:]) == both[1:]


def test_what_the_cases_hold_is_counted():
    cases = [case_of("a", split="train"), case_of("b"), case_of("c", split="test")]
    assert cohort.describe(cases[1:2]) == "0 with a truth, 0 with a brain mask"
    cases[0] = cases[0]._replace(truth=Path("truth.nii"), brain_mask=Path("brain.nii"))
    assert cohort.describe(cases) == (
        "1 with a truth, 1 with a brain mask, splits: 1 train, 1 test"
    )


def test_a_patient_in_two_splits_is_refused(rng):
    cases = [case_of("a", "p", "train"), case_of("b", "p", "validation")]
    with pytest.raises(InputError, match="patient p is in the splits 'train' and 'validation'"):
        cohort.split_by_patient(cases, 0.5, rng)
