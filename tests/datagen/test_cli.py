import numpy as np
import pytest
from click.testing import CliRunner

from datagen.cli import main
from datagen.cohort import read_cohort


@pytest.fixture
def folder(tmp_path, save):
    """A cohort of two cases in MSSEG-2 layout; of the first it is known what vanished."""
    names = ["flair_time01_on_middle_space", "flair_time02_on_middle_space", "ground_truth"]
    for case in "ab":
        mask = np.zeros((16, 16, 16), bool)
        mask[2:14:4, 2:14:4, 8] = True  # nine lesions of one voxel
        for name in [*names, *(["vanished_lesions"] if case == "a" else [])]:
            save(mask, tmp_path / "cohort" / case / f"{name}.nii.gz")
    return tmp_path / "cohort"


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="datagen")


def test_a_cohort_is_listed(folder, tmp_path):
    result = run("cohort", folder, "--out", tmp_path / "list.csv")
    assert result.output.startswith("wrote 2 cases of 2 patients to ")
    assert read_cohort(tmp_path / "list.csv") == read_cohort(folder)


def test_both_orders_add_the_cases_of_which_it_is_known_what_vanished(folder, tmp_path):
    result = run("cohort", folder, "--out", tmp_path / "list.csv", "--both-orders")
    assert result.output.startswith("wrote 3 cases of 2 patients to ")
    assert [case.name for case in read_cohort(tmp_path / "list.csv")] == ["a", "a_reversed", "b"]


def test_pairs_are_built(folder, tmp_path):
    out = tmp_path / "pairs.h5"
    options = ["--pairs", 10, "--patch", 16, "--workers", 1]
    assert run("build", "--masks", folder, "--out", out, *options).output == (
        f"wrote 10 pairs to {out}\n"
    )


@pytest.mark.parametrize(
    "words", [("cohort", "nowhere"), ("inspect", "nowhere.h5"), ("build", "--masks", "nowhere")]
)
def test_a_path_that_does_not_exist_ends_in_one_sentence(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert "does not exist" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "pairs.h5.parts").exists()
