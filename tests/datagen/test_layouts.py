import numpy as np
import pytest

from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.layouts import Case

TIME1, TIME2 = (f"flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2))


# folders in MSSEG-2 layout


def test_folders_in_msseg2_layout_are_a_cohort(tmp_path, visits, save):
    visits(tmp_path / "b")
    (tmp_path / "a").mkdir()
    for name in (TIME1, TIME2):
        (tmp_path / "a" / name).touch()
    (tmp_path / "notes").mkdir()
    brain = save(np.ones((2, 2, 2), bool), tmp_path / "b" / "brain_mask.nii.gz")
    first, second = read_cohort(tmp_path)
    assert first == Case("a", "a", tmp_path / "a" / TIME1, tmp_path / "a" / TIME2)
    assert (second.name, second.truth) == ("b", tmp_path / "b" / "ground_truth.nii.gz")
    assert (second.brain_mask, second.split) == (brain, None)


def test_a_folder_with_one_visit_is_a_broken_case(tmp_path, visits):
    visits(tmp_path / "a")
    (tmp_path / "a" / TIME1).unlink()
    with pytest.raises(InputError, match=rf"case a: .*{TIME1} is missing"):
        read_cohort(tmp_path)


def test_an_empty_folder_and_a_missing_one_are_no_cohort(tmp_path):
    with pytest.raises(InputError, match="holds no case: expected <case>/flair_time01"):
        read_cohort(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_cohort(tmp_path / "nowhere")


# a CSV list


def test_a_list_holds_paths_relative_to_itself(tmp_path, visits):
    time1, time2, truth = visits(tmp_path / "scans" / "a")
    table = tmp_path / "cohort.csv"
    table.write_text(
        "case,time1,time2,truth,split,patient\n"
        f"z,scans/a/{TIME1},scans/a/{TIME2},,,\n"
        f"a,scans/a/{TIME1},{time2},scans/a/{truth.name},test,p7\n"
    )
    expected = [Case("a", "p7", time1, time2, truth, split="test"), Case("z", "z", time1, time2)]
    assert read_cohort(table) == read_cohort(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no case; a header"),
        ("case,time1,time2\n", "lists no case; a header and a row for each case are needed"),
        ("case;time1;time2\na;b;c\n", "column case is missing; separate the cells by commas"),
        ("case,time1\na,scan.nii\n", "column time2 is missing"),
        ("case,time1,time2\na,scan.nii,\n", "case a: time2 is empty"),
        ("case,time1,time2\na,scan.nii\n", "row 1 .* case 'a', has fewer cells than the header"),
        ("case,time1,time2\na,scan.nii,none.nii\n", "case a: time2 .*none.nii does not exist"),
        (
            "case,time1,time2,truth\na,scan.nii,scan.nii,none.nii\n",
            "case a: truth .* does not exist",
        ),
        ("case,time1,time2\na,scan.nii,.\n", "case a: time2 .* is a folder"),
        ("case,time1,time2,split\na,scan.nii,scan.nii,Test\n", "split 'Test' is none of train, v"),
    ],
)
def test_a_broken_list_names_the_case_and_what_it_misses(tmp_path, text, words):
    (tmp_path / "scan.nii").touch()
    (tmp_path / "cohort.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_cohort(tmp_path)


def test_a_hidden_folder_is_no_case(tmp_path, visits):
    visits(tmp_path / "a")
    visits(tmp_path / ".trash")
    assert [case.name for case in read_cohort(tmp_path)] == ["a"]
