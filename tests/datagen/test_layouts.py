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


# BIDS


def bids_scan(folder, subject, session, suffix="FLAIR"):
    path = folder / subject / session / "anat" / f"{subject}_{session}_{suffix}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def bids(tmp_path):
    (tmp_path / "dataset_description.json").write_text("{}")
    return tmp_path


def test_two_sessions_of_a_bids_subject_are_a_case(bids):
    scans = [bids_scan(bids, "sub-01", session) for session in ("ses-01", "ses-02")]
    derived = bids / "derivatives" / "experts"
    truth = bids_scan(derived, "sub-01", "ses-02", "space-orig_label-lesion_desc-new_mask")
    brain = bids_scan(derived, "sub-01", "ses-02", "desc-brain_mask")
    bids_scan(derived, "sub-01", "ses-01", "label-lesion_desc-new_mask")
    assert read_cohort(bids) == [Case("sub-01", "sub-01", *scans, truth, brain)]


def test_three_sessions_are_two_cases_of_one_patient(bids):
    scans = [bids_scan(bids, "sub-01", session) for session in ("ses-a", "ses-b", "ses-c")]
    cases = read_cohort(bids)
    assert [case.name for case in cases] == ["sub-01_ses-b", "sub-01_ses-c"]
    assert {case.patient for case in cases} == {"sub-01"}
    assert (cases[1].time1, cases[1].time2) == (scans[1], scans[2])


def test_subjects_with_one_session_alone_are_no_cohort(bids):
    bids_scan(bids, "sub-01", "ses-01")
    with pytest.raises(InputError, match=r"two sessions .* no subject has them \(sub-01 has 1\)"):
        read_cohort(bids)


def test_a_subject_with_one_session_is_left_out_and_told_once(bids, capsys):
    for subject, session in (("01", "1"), ("01", "2"), ("03", "1")):
        bids_scan(bids, f"sub-{subject}", f"ses-{session}")
    bids_scan(bids, "sub-04", "ses-1", "T1w")
    for _ in range(2):
        assert [case.name for case in read_cohort(bids)] == ["sub-01"]
    assert capsys.readouterr().err.splitlines() == [
        f"{bids.name}: left out 1 subject with a single session: sub-03",
        f"{bids.name}: left out 1 subject without a FLAIR scan in a session: sub-04",
    ]


def test_two_runs_of_one_session_are_not_two_visits(bids):
    bids_scan(bids, "sub-01", "ses-01", "run-1_FLAIR")
    bids_scan(bids, "sub-01", "ses-01", "run-2_FLAIR")
    with pytest.raises(InputError, match="two sessions"):
        read_cohort(bids)


def test_a_session_of_two_runs_leaves_the_choice_to_the_user(bids):
    bids_scan(bids, "sub-01", "ses-01")
    bids_scan(bids, "sub-01", "ses-02", "run-1_FLAIR")
    bids_scan(bids, "sub-01", "ses-02", "run-2_FLAIR")
    with pytest.raises(InputError, match="case sub-01: a session holds several FLAIR scans"):
        read_cohort(bids)


def test_what_systems_leave_beside_a_scan_is_no_scan(bids):
    scans = [bids_scan(bids, "sub-01", session) for session in ("ses-01", "ses-02")]
    for scan in scans:
        (scan.parent / f"._{scan.name}").touch()
        (scan.parent / f"{scan.name}.md5").touch()
    (case,) = read_cohort(bids)
    assert [case.time1, case.time2] == scans


def test_sessions_follow_each_other_by_number_not_by_letter(bids):
    scans = {name: bids_scan(bids, "sub-01", name) for name in ("ses-10", "ses-1", "ses-2")}
    orders = {(case.time1, case.time2) for case in read_cohort(bids)}
    first, second, tenth = (scans[name] for name in ("ses-1", "ses-2", "ses-10"))
    assert orders == {(first, second), (second, tenth)}


def test_a_bids_data_set_without_subjects_is_refused(bids):
    with pytest.raises(InputError, match="without subjects"):
        read_cohort(bids)


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


def test_two_masks_of_a_visit_leave_the_choice_to_the_user(bids):
    for session in ("ses-01", "ses-02"):
        bids_scan(bids, "sub-01", session)
    for who in ("one", "two"):
        bids_scan(bids / "derivatives" / who, "sub-01", "ses-02", "label-lesion_desc-new_mask")
    with pytest.raises(InputError, match=r"name the one to use in a cohort\.csv"):
        read_cohort(bids)


def test_a_hidden_folder_is_no_case(tmp_path, visits):
    visits(tmp_path / "a")
    visits(tmp_path / ".trash")
    assert [case.name for case in read_cohort(tmp_path)] == ["a"]
