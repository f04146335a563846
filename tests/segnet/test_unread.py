from pathlib import Path

import pytest

from datagen.config import read_recipe, recipe_names
from segnet.config import TrainSettings
from segnet.unread import unread_settings


def settings_with(**changes) -> TrainSettings:
    return TrainSettings(cohort=Path("cohort"), **changes)


def test_defaults_have_nothing_to_tell():
    assert unread_settings(settings_with()) == []


@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"loss": "dice", "loss_weight": 2.0, "region": "bce"}, ["--region", "--loss-weight"]),
        ({"loss": "blob", "loss_weight": 2.0, "region": "bce"}, []),
        ({"loss": "blob", "region_floor": 0.3}, ["--region-floor"]),
        ({"loss": "blob", "difference": "sobel"}, ["--difference"]),
        ({"loss": "fog_axial", "difference": "sobel"}, []),
        ({"loss": "sog", "sog_sign": "printed"}, []),
        ({"loss": "boundary", "region_floor": 0.3, "distance_cache": Path("maps")}, []),
        ({"loss": "boundary", "loss_weight": 2.0}, ["--loss-weight"]),
        ({"loss": "surface", "class_weight_exponent": 2.0}, []),
        ({"loss": "blob", "region": "generalised_dice", "class_weight_exponent": 2.0}, []),
        ({"loss": "dice_ce", "class_weights": "per_sample"}, ["--class-weights"]),
        ({"loss": "distance_ce", "penalty_scale": "raw", "distance_cache": Path("maps")}, []),
        ({"loss": "fog", "region": "distance_ce", "penalty_scale": "raw"}, []),
        ({"loss": "dice", "penalty_scale": "raw"}, ["--penalty-scale"]),
        ({"alpha": 0.0, "trust_gate": False}, ["--trust-gate"]),
        ({"trust_gate": False, "trusted_gap": 0.1}, ["--trusted-gap"]),
        ({"false_weight": 2.0}, []),
        ({"false_weight": 2.0, "guided_gradient": False}, ["--false-weight"]),
        ({"lowest_cut": 0.1, "guided_gradient": False}, ["--lowest-cut"]),
        ({"real_share": 0.2}, ["--real-share"]),
        ({"real_share": 0.2, "synthetic": Path("synthetic")}, []),
        ({"recorded_patches": 100}, ["--recorded-patches"]),
        ({"loss": "boundary", "region_constant": 0.9}, ["--region-constant"]),
        ({"loss": "boundary", "region_schedule": "constant", "region_constant": 0.9}, []),
        ({"loss": "boundary", "region_step_epochs": 9}, ["--region-step-epochs"]),
        ({"loss": "boundary", "region_schedule": "step", "region_step_epochs": 9}, []),
        ({"loss": "dice", "loss_form": "code"}, ["--loss-form"]),
        ({"loss": "blob", "region": "dice_ce", "loss_form": "code"}, []),
        ({"loss": "boundary", "loss_form": "code"}, []),
        ({"loss": "bce", "include_background": True}, ["--include-background"]),
        ({"loss": "surface", "region": "dice_ce", "include_background": True}, []),
        ({"loss": "tversky", "include_background": True}, []),
        (
            {"loss": "surface", "class_weights": "per_sample", "class_weight_exponent": 2.0},
            ["--class-weight-exponent"],
        ),
        ({"distractor_share": 0.3, "lesion_share": 1.0}, ["--distractor-share"]),
        ({"distractor_share": 0.3}, []),
    ],
)
def test_what_changes_nothing_is_named(changes, unread):

    assert unread_settings(settings_with(**changes)) == unread


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_say_nothing_that_their_training_does_not_read(name):
    recipe = read_recipe(name).get("segnet.train", {})
    assert unread_settings(TrainSettings(**{"cohort": "cohort", **recipe})) == []


def test_a_training_within_the_warm_up_is_told(tiny_cohort, tmp_path, run):
    options = ["--patch", "32", "--channels", "4", "--epochs", "1", "--steps-per-epoch", "1"]
    printed = run("segnet", "train", "--cohort", tiny_cohort, "--out", tmp_path / "run", *options)
    course = "--alpha-warmup-epochs 5 and --alpha-finish-share 0.3 leave F̂ none of --epochs 1:"
    assert f"{course} it is never switched on" in printed


def test_the_command_tells_before_it_begins(tiny_cohort, tmp_path, run):
    options = ["--patch", "32", "--channels", "4", "--epochs", "1", "--steps-per-epoch", "1"]
    words = ["--cohort", tiny_cohort, "--out", tmp_path / "run", "--alpha", "0", *options]
    printed = run("segnet", "train", *words, "--loss-weight", "2")
    assert "without effect beside the other settings: --loss-weight\n" in printed
