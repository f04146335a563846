"""What a folder of predictions tells of its model: the settings, and cases that it knew before."""

import shutil

import pytest
from click.testing import CliRunner

from datagen.config import CONFIG, resolve
from datagen.errors import InputError
from datagen.files import read_table
from segnet.cli import main
from segnet.config import PredictSettings
from segnet.operating_point import read_point
from segnet.prediction import SECTION, predict_usable


@pytest.fixture
def settings_of(tiny_cohort, tiny_run, tmp_path):
    """Settings that predict the tiny cohort: settings_of(split="test", ...)."""

    def build(**changes) -> PredictSettings:
        known = {"cohort": tiny_cohort, "model": (tiny_run,), "out": tmp_path / "predictions"}
        return PredictSettings.model_validate({**known, **changes})

    return build


def test_cases_that_the_network_was_trained_on_are_told(settings_of, tiny_run, tiny_cohort):
    (note,) = predict_usable(settings_of()).notes
    first = min(row["case"] for row in read_table(tiny_run / "cohort.csv"))
    assert note.startswith(f"{tiny_run} was trained on or chosen by 4 of 4 cases here, {first} ")
    given = [
        f"--time{visit}={tiny_cohort}/{first}/flair_time0{visit}_on_middle_space.nii.gz"
        for visit in (2, 1)  # in the other order, too
    ]
    out = settings_of().out.parent / "mask.nii.gz"
    result = CliRunner().invoke(
        main,
        [
            "predict",
            f"--model={tiny_run}",
            *given,
            f"--brain-mask={tiny_cohort}/{first}/brain_mask.nii.gz",
            f"--out={out}",
        ],
    )
    assert result.exit_code == 0
    assert "by 1 of 1 case here" in result.stderr


def test_cases_that_it_never_saw_are_no_matter(settings_of, tiny_cohort, tmp_path):
    moved = shutil.copytree(tiny_cohort, tmp_path / "elsewhere")
    assert predict_usable(settings_of(cohort=moved)).notes == []
    assert predict_usable(settings_of(model=())).notes == []


def test_a_scan_that_is_given_as_both_visits_is_told(tiny_cohort, tmp_path):
    for visit in (1, 2):
        scan = tiny_cohort / f"case0/flair_time0{visit}_on_middle_space.nii.gz"
        given = {"time1": tiny_cohort / "case0/flair_time01_on_middle_space.nii.gz", "time2": scan}
        settings = PredictSettings(baseline="subtraction", **given, out=tmp_path / "mask.nii.gz")
        notes = predict_usable(settings).notes
        assert any("both visits are the same scan" in note for note in notes) == (visit == 1)


def test_a_broken_list_of_the_run_is_told_before_anything_is_predicted(
    settings_of, tiny_run, tmp_path
):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "cohort.csv").write_text("case,case\na,b\n")
    settings = settings_of(model=(run,))
    with pytest.raises(InputError, match=r"cohort\.csv: two columns are named 'case'"):
        predict_usable(settings)
    assert not settings.out.exists()
    (run / "cohort.csv").write_text("case\na\n")  # knows of no scan
    assert predict_usable(settings).notes == []


def test_predictions_say_what_made_them(settings_of, tiny_run):
    settings = settings_of()
    predict_usable(settings)
    kept = resolve(PredictSettings, SECTION, str(settings.out / CONFIG), {})
    point = read_point(tiny_run)
    assert kept.model == (tiny_run,)
    assert (kept.threshold, kept.min_volume_mm3) == (point.threshold, point.min_volume_mm3)


def test_a_trained_run_takes_no_predictions(settings_of, tiny_run):
    before = (tiny_run / CONFIG).read_bytes()
    with pytest.raises(InputError, match="holds a run of 'segnet train'; choose another --out"):
        predict_usable(settings_of(out=tiny_run))
    assert (tiny_run / CONFIG).read_bytes() == before
