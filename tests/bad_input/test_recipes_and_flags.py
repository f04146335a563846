"""Settings that no command accepts, from a recipe and from the command line."""

from pathlib import Path

import pytest

TRAIN = "segnet train --cohort cohort --alpha 0 --out new"
VISITS = "--time1 one/time1.nii.gz --time2 one/time2.nii.gz"

RECIPES = {
    "has an unknown key": ("[segnet.train]\nalfa = 1\n", "alfa"),
    "has an unknown section": ("[segnet.trian]\nalpha = 1\n", "segnet.trian"),
    "is broken": ("[segnet.train\n", "line 1"),
    "is no text": (bytes(range(256)), "bad.toml"),
    "has a quoted number": ('[segnet.train]\nlearning_rate = "0.1"\n', "learning_rate"),
    "has a number for a path": ("[segnet.train]\nestimator = 5\n", "estimator"),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_train_refuses_a_recipe_that(kind, refuses):
    content, named = RECIPES[kind]
    Path("bad.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refuses(f"{TRAIN} --config bad.toml", "bad.toml", named)


@pytest.mark.parametrize("name", ["none", "cohort"])
def test_train_refuses_an_unknown_recipe_and_names_the_known(name, refuses):
    refuses(f"{TRAIN} --config {name}", f"--config {name}", "kamraoui2021")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("metricnet train", "--pairs"),
        ("datagen build", "--masks"),
        ("segnet evaluate --truth cohort", "--prediction"),
    ],
)
def test_every_command_names_the_flag_that_is_missing(command, named, refuses):
    refuses(f"{command} --out new", f"{named} is missing")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--time1 one/time1.nii.gz", "--time2"),
        (f"{VISITS} --cohort cohort", "--cohort"),
        ("--cohort cohort --brain-mask one/brain.nii.gz", "--brain-mask"),
        ("--cohort cohort", "new.nii.gz: with --cohort it names a folder"),
        ("--cohort cohort --split test --out new", "test"),
        ("--cohort cohort --model run --out new", "--baseline"),
    ],
)
def test_predict_refuses_flags(flags, named, refuses):
    refuses(f"segnet predict --baseline empty --out new.nii.gz {flags}", named)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("segnet train --cohort cohort --alpha 0 --synthetic nothing", "nothing"),
        (
            "segnet train --cohort cohort --alpha 0 --synthetic cohort --real-share 1",
            "--real-share",
        ),
        ("segnet train --cohort cohort --alpha 0 --init-from cohort", "cohort is not a run folder"),
        ("segnet train --cohort cohort --alpha 0 --init-from run --channels 12", "--channels 8"),
        ("segnet train --cohort cohort --alpha 0 --scan-cache pairs.h5", "--scan-cache pairs.h5"),
        ("segnet predict --model run --model cohort --cohort cohort", "cohort is not a run folder"),
        ("datagen synthesise --scans cohort", "cohort holds no single visit"),
        ("datagen synthesise --scans nothing", "nothing does not exist"),
    ],
)
def test_augmented_training_and_ensembles_refuse(command, named, refuses):
    refuses(f"{command} --out new", named)


def test_synthesis_keeps_a_cohort_that_is_there(refuses):
    Path("old").mkdir()
    Path("old/cohort.csv").write_text("case,time1,time2\n")
    refuses("datagen synthesise --scans cohort --out old", "old already holds a cohort")


def test_a_single_visit_has_no_order(refuses):
    refuses("datagen cohort cohort --both-orders --single-visits --out new", "--both-orders")


@pytest.mark.parametrize("flag", ["--alpha -1", "--patch 20", "--seed -1", "--learning-rate inf"])
def test_train_refuses_a_value_out_of_range(flag, refuses):
    refuses(f"{TRAIN} {flag}", *flag.split())


def test_train_refuses_a_seed_beyond_64_bits(refuses):
    refuses(f"{TRAIN} --seed {10**26}", "--seed")


def test_a_flag_that_is_unknown_ends_in_one_sentence_too(refuses):
    refuses(f"{TRAIN} --depth 3", "--depth", "See --help.")


def test_the_estimator_of_the_package_is_refused_at_another_spacing(refuses):
    flags = "--alpha 0.2 --spacing-mm 2"
    refuses(
        f"segnet train --cohort cohort {flags} --out new", "of the package", "1.0", "--spacing-mm"
    )


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--classes 3 --loss blob", "--loss blob"),
        ("--classes 3 --loss lesion_f1", "--loss lesion_f1"),
        ("--network vnet --patch 16", "--patch"),
        ("--network vnet", "--channels 8"),
        ("--loss surface --distance-cache pairs.h5", "--distance-cache pairs.h5"),
        ("--loss geodesic", "geodesic"),
    ],
)
def test_train_refuses_losses_and_networks_that_do_not_fit(flags, named, refuses):
    refuses(f"{TRAIN} {flags}", named)


def test_train_refuses_labels_beyond_the_classes(refuses, load, write):
    path = "cohort/p0/ground_truth.nii.gz"
    write(Path(path), load(path) * 7)
    refuses(f"{TRAIN} --classes 3", path, "found 7", "--classes")


def test_inspect_refuses_a_negative_seed(refuses):
    refuses("datagen inspect pairs.h5 --out new --seed -1", "seed", "-1")


def test_phantom_refuses_two_cases_for_three_splits(refuses):
    refuses("datagen phantom --cases 2 --out new", "--cases", "2")
