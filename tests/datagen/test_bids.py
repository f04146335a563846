"""BIDS data sets as cohorts."""

import itertools

import pytest

from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.layouts import Case


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


def dates(folder, subject, *rows):
    lines = ["session_id\tacq_time", *("\t".join(row) for row in rows)]
    (folder / subject / f"{subject}_sessions.tsv").write_text("\n".join(lines) + "\n")


def test_dates_tell_the_order_of_the_sessions(bids):
    first, second = (bids_scan(bids, "sub-01", f"ses-{name}") for name in ("baseline", "12mo"))
    dates(
        bids, "sub-01", ("ses-baseline", "2020-01-31T08:00:00"), ("ses-12mo", "2021-02-01T09:30:00")
    )
    (case,) = read_cohort(bids)
    assert (case.time1, case.time2) == (first, second)


@pytest.mark.parametrize(
    "names", [("1", "2", "10"), ("M00", "M06", "M12"), ("20200131", "20210201"), ("A", "B")]
)
def test_names_tell_the_order_where_only_numbers_differ(bids, names):
    scans = [bids_scan(bids, "sub-01", f"ses-{name}") for name in names]
    dates(bids, "sub-01", *((f"ses-{name}", "n/a") for name in names))
    found = {(case.time1, case.time2) for case in read_cohort(bids)}
    assert found == set(itertools.pairwise(scans))


@pytest.mark.parametrize("names", [("baseline", "12mo"), ("pre", "post"), ("t0", "T1")])
def test_names_that_do_not_tell_the_order_are_refused(bids, names):
    for name in names:
        bids_scan(bids, "sub-01", f"ses-{name}")
    dates(bids, "sub-01", (f"ses-{names[0]}", "2020-01-31T08:00:00"))  # of one alone
    with pytest.raises(InputError, match="do not tell which session is the earlier one"):
        read_cohort(bids)


def test_dates_that_contradict_the_numbers_are_refused(bids):
    for name in ("1", "2", "3"):
        bids_scan(bids, "sub-01", f"ses-{name}")
    dates(bids, "sub-01", ("ses-1", "2022-01-01"), ("2", "2021-01-01"), ("ses-3", "n/a"))
    with pytest.raises(InputError, match=r"sessions\.tsv contradict the numbers"):
        read_cohort(bids)


def test_a_list_of_sessions_has_no_quotes(bids):
    first, second = (bids_scan(bids, "sub-01", f"ses-{name}") for name in ("base", "after"))
    listed = bids / "sub-01" / "sub-01_sessions.tsv"
    rows = ("session_id\tnote\tacq_time", 'base\t"5 mm\t2020-01-01', "after\t\t2021-01-01")
    listed.write_text("\n".join(rows) + "\n")
    (case,) = read_cohort(bids)
    assert (case.time1, case.time2) == (first, second)
    listed.write_text("session_id\tacq_time\nbase\t2020-01-01\t\n")
    with pytest.raises(InputError, match=r"more cells than the header; give each column a cell$"):
        read_cohort(bids)


def test_a_link_does_not_take_the_place_of_its_folder(bids):
    for session in ("ses-01", "ses-02"):
        bids_scan(bids, "sub-01", session)
    derived = bids / "derivatives" / "experts"
    truth = bids_scan(derived, "sub-01", "ses-02", "label-lesion_desc-new_mask")
    (bids / "code").mkdir()
    (bids / "code" / "newest").symlink_to(derived / "sub-01" / "ses-02")
    (case,) = read_cohort(bids)
    assert case.truth == truth


def test_masks_below_a_linked_folder_are_found(bids, tmp_path_factory):
    for session in ("ses-01", "ses-02"):
        bids_scan(bids, "sub-01", session)
    elsewhere = tmp_path_factory.mktemp("derived")
    truth = bids_scan(elsewhere, "sub-01", "ses-02", "label-lesion_desc-new_mask")
    (bids / "derivatives").mkdir()
    (bids / "derivatives" / "experts").symlink_to(elsewhere)
    (case,) = read_cohort(bids)
    assert case.truth is not None
    assert case.truth.samefile(truth)


def test_two_masks_of_a_visit_leave_the_choice_to_the_user(bids):
    for session in ("ses-01", "ses-02"):
        bids_scan(bids, "sub-01", session)
    for who in ("one", "two"):
        bids_scan(bids / "derivatives" / who, "sub-01", "ses-02", "label-lesion_desc-new_mask")
    with pytest.raises(InputError, match=r"name the one to use in a cohort\.csv"):
        read_cohort(bids)
