"""Tables of methods, and cohorts, that cannot be compared on."""

from pathlib import Path

import pytest

HEAD = "[segnet.compare]\n{keys}\n[segnet.compare.methods.m]\n{method}\n"
COMPARE = "segnet compare --config table.toml --cohort cohort --folds 3 --out new"

TABLES = {
    "has an unknown setting": ("", "alfa = 1", ("'m'", "alfa")),
    "has a wrong value": ("", 'loss = "geodesic"', ("'m'", "geodesic")),
    "has a quoted number": ("", 'epochs = "3"', ("'m'", "epochs")),
    "sets a seed for a method": ("", "seed = 3", ("'m'", "'seed'")),
    "sets the model of a prediction": ("", 'predict = { model = "run" }', ("'m'", "'model'")),
    "predicts by no table": ("", "predict = 3", ("'m'", "'predict'")),
    "has an unknown baseline": ("", 'baseline = "lucky"', ("'m'", "lucky")),
    "trains a baseline": ("", 'baseline = "empty"\nalpha = 0.1', ("'m'", "alpha")),
    "has F̂ at another spacing": ("", "alpha = 0.2\nspacing_mm = 2.0", ("spacing_mm", "2.0")),
    "has no estimator there": ("", 'alpha = 0.2\nestimator = "gone"', ("'m'", "gone")),
    "has a network that does not fit": (
        "",
        'alpha = 0.0\nnetwork = "vnet"\npatch = 16',
        ("--patch",),
    ),
    "trains by several processes": ("", "alpha = 0.0\ndevices = 2", ("'m'", "'devices'")),
    "has more classes than are scored": ("", "alpha = 0.0\nclasses = 3", ("'m'", "'classes'")),
    "has an unknown reference": ('reference = "n"', "alpha = 0.0", ("reference 'n'",)),
    "has a number for a reference": ("reference = 3", "alpha = 0.0", ("'reference'", "3")),
    "has a text for its methods": ('method = "m"', "alpha = 0.0", ("'method'", "'m'")),
    "has a number for a method": ("method = [3]", "alpha = 0.0", ("'method'", "3")),
    "has a seed twice": ("seeds = [1, 1]", "alpha = 0.0", ("seed", "twice")),
    "has a negative seed": ("seeds = [-1]", "alpha = 0.0", ("seed",)),
    "has no seed": ("seeds = []", "alpha = 0.0", ("seeds",)),
    "has an unknown key": ("fold = 3", "alpha = 0.0", ("fold",)),
    "has a path for a name": ("", 'alpha = 0.0\n[segnet.compare.methods."a/b"]', ("a/b",)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_compare_refuses_a_table_that(kind, refuses):
    keys, method, named = TABLES[kind]
    Path("table.toml").write_text(HEAD.format(keys=keys, method=method))
    refuses(COMPARE, *named)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--folds 1", ("--folds 2", "test")),
        ("--folds 4", ("--folds 4", "3")),
        ("--cohort none", ("none",)),
        ("--cell m/0/9", ("--cell m/0/9", "m/0/0")),
        ("--threads 0", ("--threads",)),
    ],
)
def test_compare_refuses(flags, named, refuses):
    Path("table.toml").write_text(HEAD.format(keys="", method="alpha = 0.0"))
    refuses(f"{COMPARE} {flags}", *named)


def test_compare_refuses_no_methods(refuses):
    refuses("segnet compare --cohort cohort --out new", "methods")


def test_compare_refuses_a_folder_of_another_cohort(refuses, call):
    Path("table.toml").write_text(HEAD.format(keys="", method='baseline = "empty"'))
    assert call(f"{COMPARE} --print-commands").exit_code == 0
    refuses(f"{COMPARE} --seed 5", "fold", "choose another --out")


@pytest.mark.parametrize("text", ["{", "{}"])
def test_compare_refuses_a_damaged_cell(text, refuses, call):
    Path("table.toml").write_text(HEAD.format(keys="", method='baseline = "empty"'))
    assert call(f"{COMPARE} --print-commands").exit_code == 0
    cell = Path("new/cells/m/fold0_seed0/cell.json")
    cell.parent.mkdir(parents=True)
    cell.write_text(text)
    refuses(COMPARE, "cell.json")
