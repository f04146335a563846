"""All commands in a row, on volumes as small as they get."""

import csv
import re

import nibabel as nib
import numpy as np
import pytest

from datagen.config import recipe_names, resolve
from datagen.files import read_table
from datagen.store import PairFile
from segnet.config import PredictSettings, TrainSettings


@pytest.fixture(scope="module")
def predictions(tiny_cohort, tiny_run, tmp_path_factory, run):
    """Predictions of the tiny network and of both baselines, a folder each."""
    out = tmp_path_factory.mktemp("predictions")
    common = ["--cohort", tiny_cohort, "--min-volume-mm3", "0"]
    run("segnet", "predict", "--model", tiny_run, *common, "--out", out / "network")
    run("segnet", "predict", "--baseline", "subtraction", *common, "--out", out / "subtraction")
    run("segnet", "predict", "--baseline", "empty", *common, "--out", out / "empty")
    return out


@pytest.fixture(scope="module")
def scores(tiny_cohort, predictions, run):
    out = predictions.parent / "scores"
    methods = ("network", "subtraction", "empty")
    options = [word for name in methods for word in ("--prediction", predictions / name)]
    options += ["--rule", "overlap", "--rule", "msseg2", "--workers", "1", "--out", out]
    printed = run("segnet", "evaluate", "--truth", tiny_cohort, *options)
    return out, printed


def test_predictions_lie_on_the_grid_of_visit_2(tiny_cohort, predictions):
    scan = nib.load(tiny_cohort / "case0/flair_time02_on_middle_space.nii.gz")
    for name in ("new_lesions", "probability"):
        image = nib.load(predictions / f"network/case0/{name}.nii.gz")
        assert image.shape == scan.shape
        assert np.array_equal(image.affine, scan.affine)


def test_subtraction_finds_the_bright_cubes(scores):
    with (scores[0] / "cases.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["method"] == "subtraction"]
    active = [row for row in rows if row["is_clean"] == "False" and row["rule"] == "overlap"]
    assert len(active) == 3
    assert all(float(row["ltpr"]) > 0.7 for row in active)


def test_the_clean_patient_has_a_table_of_its_own(scores):
    with (scores[0] / "clean_cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case"] for row in rows} == {"case3"}
    empty = next(row for row in rows if row["method"] == "empty")
    assert (empty["false_lesions"], float(empty["false_volume_mm3"])) == ("0", 0.0)


def test_the_terminal_shows_both_tables(scores):
    assert "Cases with new lesions" in scores[1]
    assert "Patients without new lesions" in scores[1]


def test_the_page_holds_everything_in_one_file(tiny_run, scores, tmp_path, run):
    out = tmp_path / "report.html"
    run("segnet", "report", tiny_run, "--scores", scores[0], "--out", out)
    page = out.read_text()
    assert len(re.findall(r'<script type="application/json" id="case-\d+">', page)) == 4
    assert page.count("data:image/webp;base64,") == 8
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "case3" in page
    assert "Patients without new lesions" in page


def test_the_page_says_when_nothing_was_scored(tiny_run, tmp_path, run):
    run("segnet", "report", tiny_run, "--out", tmp_path / "report.html")
    assert "No scores yet" in (tmp_path / "report.html").read_text()


def test_one_case_is_predicted_like_the_same_case_of_a_cohort(
    tiny_cohort, tiny_run, predictions, tmp_path, run
):
    visits = [tiny_cohort / f"case0/flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2)]
    options = ["--brain-mask", tiny_cohort / "case0/brain_mask.nii.gz", "--min-volume-mm3", "0"]
    options += ["--model", tiny_run, "--out", tmp_path / "mask.nii.gz"]
    run("segnet", "predict", "--time1", visits[0], "--time2", visits[1], *options)
    single = nib.load(tmp_path / "mask_probability.nii.gz").get_fdata()
    of_cohort = nib.load(predictions / "network/case0/probability.nii.gz").get_fdata()
    assert np.array_equal(single, of_cohort)
    assert (tmp_path / "mask_lesions.csv").is_file()


def test_bids_scans_get_the_names_of_a_derivative(tiny_cohort, tmp_path, run):
    (tmp_path / "bids").mkdir()
    (tmp_path / "bids/dataset_description.json").write_text("{}")
    for visit in (1, 2):
        scan = tiny_cohort / f"case0/flair_time0{visit}_on_middle_space.nii.gz"
        anat = tmp_path / f"bids/sub-7/ses-{visit}/anat"
        anat.mkdir(parents=True)
        (anat / f"sub-7_ses-{visit}_FLAIR.nii.gz").write_bytes(scan.read_bytes())
    out = tmp_path / "found"
    run("segnet", "predict", "--baseline", "empty", "--cohort", tmp_path / "bids", "--out", out)
    stem = out / "sub-7/ses-2/anat/sub-7_ses-2_space-orig_label-lesion_desc-predicted"
    for suffix in ("mask.nii.gz", "probseg.nii.gz", "lesions.csv"):
        assert stem.with_name(f"{stem.name}_{suffix}").is_file()


def test_subtraction_is_fitted_on_the_cases_of_other_splits(tiny_cohort, tmp_path, run):
    listed = tmp_path / "cohort.csv"
    run("datagen", "cohort", tiny_cohort, "--out", listed)
    rows = listed.read_text().splitlines()
    splits = ("train", "train", "validation", "test")
    of_case = zip(rows[1:], splits, strict=True)
    lines = [row.replace(",,case", f",{split},case") for row, split in of_case]
    listed.write_text("\n".join([rows[0], *lines]))
    options = ["--cohort", listed, "--split", "test", "--out", tmp_path / "found"]
    printed = run("segnet", "predict", "--baseline", "subtraction", *options)
    said = (
        r"subtraction above [\d.]+ deviations \(fitted on \d other cases?\) found \d+ new lesions?"
    )
    assert re.search(rf"{said} in 1 case \(", printed)
    names = sorted(path.name for path in (tmp_path / "found").iterdir())
    assert names == ["case3", "config.toml", "inputs.json"]


def test_a_network_trains_without_the_learned_term(tiny_cohort, tmp_path, run):
    options = ["--alpha", "0", "--epochs", "1", "--steps-per-epoch", "1", "--batch", "1"]
    options += ["--patch", "32", "--channels", "4", "--precision", "32"]
    printed = run("segnet", "train", "--cohort", tiny_cohort, "--out", tmp_path / "run", *options)
    assert re.search(
        r"^training on \d cases, \d with new lesions; of \d validation cases? .* choose",
        printed,
        re.M,
    )
    splits = {row["split"] for row in read_table(tmp_path / "run/cohort.csv")}
    assert splits == {"train", "validation"}
    assert "estimated" not in (tmp_path / "run/history.csv").read_text()


def test_a_pair_file_is_shown_as_pictures_and_tables(tiny_pairs, tmp_path, run):
    run("datagen", "inspect", tiny_pairs, "--out", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    pictures = {"balance.png", "montage.png", "styles.png", "families.png"}
    assert names == pictures | {"balance.csv", "by_count.csv", "by_patient.csv"}


def test_pairs_remember_what_they_are_made_of(tiny_pairs):
    with PairFile(tiny_pairs) as file:
        attributes = file.attributes
        assert len(file) == 60
    assert attributes["rule"] == "overlap"
    assert attributes["patch"] == 32
    assert len(attributes["sources_sha256"]) == 64


@pytest.mark.parametrize(("name", "alpha"), [("demo", 3.0), ("kamraoui2021", 0.2)])
def test_recipes_are_found_by_name(name, alpha, tmp_path):
    assert name in recipe_names()
    settings = resolve(TrainSettings, "segnet.train", name, {"cohort": str(tmp_path)})
    assert settings.alpha == alpha


def test_the_published_recipe_is_the_printed_one(tmp_path):
    settings = resolve(TrainSettings, "segnet.train", "kamraoui2021", {"cohort": str(tmp_path)})
    assert (settings.alpha_warmup_epochs, settings.learning_rate, settings.patch) == (0, 1e-4, 64)


def test_the_recipes_of_other_papers_are_the_printed_ones(tmp_path):
    def recipe(name: str) -> TrainSettings:
        return resolve(TrainSettings, "segnet.train", name, {"cohort": str(tmp_path)})

    geo, caliva, gsl = (recipe(name) for name in ("geo2021", "caliva2019", "gsl2023"))
    assert (geo.loss, geo.loss_weight, geo.region, geo.schedule) == ("fog", 1.0, "dice", "halving")
    assert (geo.learning_rate, geo.weight_decay, geo.batch, geo.epochs) == (1e-3, 1e-6, 4, 100)
    assert (caliva.loss, caliva.network, caliva.learning_rate) == ("distance_ce", "vnet", 1e-4)
    assert (gsl.loss, gsl.region, gsl.region_schedule) == ("surface", "dice_ce", "linear")
    assert (gsl.network, gsl.patch, gsl.batch, gsl.learning_rate) == ("dynunet", 128, 2, 3e-4)
    predicted = resolve(PredictSettings, "segnet.predict", "caliva2019", {})
    assert predicted.largest_components == 3


@pytest.mark.parametrize("name", ["geo2021", "caliva2019", "gsl2023"])
def test_the_recipes_of_other_papers_train(name, tiny_cohort, tmp_path, run):
    short = ["--epochs", "1", "--steps-per-epoch", "1", "--batch", "1", "--patch", "32"]
    short += [] if name == "caliva2019" else ["--channels", "4"]
    run("segnet", "train", "--config", name, "--cohort", tiny_cohort, "--out", tmp_path, *short)
    assert (tmp_path / "best.ckpt").is_file()
