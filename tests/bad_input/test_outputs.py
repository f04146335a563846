"""Places where nothing can be written, and files that must not be lost."""

import os
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from datagen.errors import InputError
from segnet.config import PredictSettings
from segnet.detector import load_detector, save_detector
from segnet.prediction import predict, write_prediction

VISITS = "--time1 one/time1.nii.gz --time2 one/time2.nii.gz"
FILES = {
    "cohort": ("datagen cohort cohort --out", ".csv"),
    "build": ("datagen build --masks cohort --out", ".h5"),
    "predict": (f"segnet predict --baseline subtraction {VISITS} --out", ".nii.gz"),
    "report": ("segnet report run --scores scores --out", ".html"),
}
FOLDERS = {
    "phantom": "datagen phantom --cases 3 --out",
    "inspect": "datagen inspect pairs.h5 --out",
    "measure": "metricnet evaluate --estimator estimator.safetensors --pairs pairs.h5 --out",
    "fit": "metricnet train --pairs pairs.h5 --out",
    "train": "segnet train --cohort cohort --alpha 0 --out",
    "predict": "segnet predict --baseline empty --cohort cohort --out",
    "evaluate": "segnet evaluate --truth cohort --prediction predictions --out",
}


@pytest.mark.parametrize("name", FILES)
def test_a_folder_is_refused_where_a_file_is_written(name, refuses):
    command, suffix = FILES[name]
    Path(f"taken{suffix}").mkdir()
    refuses(f"{command} taken{suffix}", f"taken{suffix} is a folder")


@pytest.mark.parametrize("name", ["build", "predict"])
def test_a_file_below_a_file_is_refused(name, refuses):
    command, suffix = FILES[name]
    refuses(f"{command} pairs.h5/new{suffix}", "pairs.h5 is not a folder")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_is_refused_where_a_folder_is_written(name, refuses):
    refuses(f"{FOLDERS[name]} pairs.h5", "pairs.h5")


@pytest.mark.parametrize("command", [FOLDERS["train"], FILES["cohort"][0]])
def test_a_folder_that_cannot_be_made_is_refused(command, refuses):
    refuses(f"{command} /proc/new/list.csv", "/proc/new")


@pytest.mark.parametrize("name", ["cohort", "build"])
def test_a_name_that_is_too_long_is_refused_as_the_machine_says_it(name, refuses):
    command, suffix = FILES[name]
    refuses(f"{command} {'n' * 300}{suffix}", "n" * 300, "too long", code=1)


def test_predict_refuses_a_mask_that_is_no_nifti(refuses):
    refuses(f"segnet predict --baseline empty {VISITS} --out new.txt", "new.txt", ".nii.gz")


def test_predict_refuses_to_write_over_its_own_scan(refuses):
    out = "one/../one/time2.nii.gz"
    refuses(f"segnet predict --baseline empty {VISITS} --out {out}", out, "overwrite")


def test_predict_refuses_to_write_over_a_mask_of_another_origin(refuses):
    command = f"segnet predict --baseline empty {VISITS} --out one/truth.nii.gz"
    refuses(command, "one/truth.nii.gz is there already, and no table of 'segnet predict'")


def test_predict_writes_over_its_own_mask(work, call):
    command = f"segnet predict --baseline empty {VISITS} --out new.nii.gz"
    assert [call(command).exit_code for _ in range(2)] == [0, 0]


def test_masks_of_two_methods_do_not_mix_in_one_folder(work, call, refuses):
    everything = "segnet predict --baseline empty --cohort cohort --out predictions"
    assert call(everything).exit_code == 0  # instead of those of another method
    scans = ",".join(f"cohort/p1/flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2))
    Path("one.csv").write_text(f"case,time1,time2\np1,{scans}\n")
    some = everything.replace("cohort --out", "one.csv --out")
    assert call(some).exit_code == 0  # the same method
    refuses(f"{some} --threshold 0.9", "was made with another --threshold and would stay beside")
    refuses(some.replace("empty", "subtraction"), "p0/new_lesions.nii.gz was made with another")
    assert len(list(Path("predictions").glob("*/new_lesions.nii.gz"))) == 3
    assert call(f"{everything} --threshold 0.9").exit_code == 0


def test_masks_of_two_networks_of_one_name_do_not_mix_in_one_folder(work, call, refuses):
    options = "--threshold 0.5 --min-volume-mm3 3 --out mixed"
    assert call("segnet export run --out m.safetensors").exit_code == 0
    assert call(f"segnet predict --model m.safetensors --cohort cohort {options}").exit_code == 0
    detector = load_detector(Path("m.safetensors"))
    scans = ",".join(f"cohort/p1/flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2))
    Path("one.csv").write_text(f"case,time1,time2\np1,{scans}\n")
    some = f"segnet predict --model m.safetensors --cohort one.csv {options}"
    assert call(some).exit_code == 0  # the same network
    with torch.no_grad():
        next(detector.network.parameters()).mul_(1.5)
    save_detector(Path("m.safetensors"), detector)
    refuses(some, "was made with another network in the place of --model and would stay beside")


def test_train_does_not_write_over_a_list_of_cases(work, call, refuses):
    assert call("datagen cohort cohort --out own/cohort.csv").exit_code == 0
    refuses("segnet train --cohort cohort --alpha 0 --out own", "own/cohort.csv is there already")
    refuses("segnet train --cohort cohort --alpha 0 --out cohort", "is the cohort's own folder")


def test_predict_keeps_the_cases_around_a_broken_one(work, call):
    Path("cohort/p1/flair_time02_on_middle_space.nii.gz").write_text("no scan")
    result = call("segnet predict --baseline empty --cohort cohort --out new")
    assert result.exit_code == 3, result.stderr
    assert result.stderr.startswith("case p1: cohort/p1/flair_time02")
    assert result.stderr.count("\n") == 1
    assert "in 2 cases" in result.stdout
    assert "wrote new, 1 failed" in result.stdout
    assert sorted(path.parent.name for path in Path("new").rglob("new_lesions*")) == ["p0", "p2"]


def test_a_case_that_fails_keeps_no_mask_of_an_earlier_call(work, call):
    Path("cohort/p0/flair_time02_on_middle_space.nii.gz").write_bytes(b"")
    result = call("segnet predict --baseline empty --cohort cohort --out predictions")
    assert result.exit_code == 3
    assert not Path("predictions/p0/new_lesions.nii.gz").exists()
    assert Path("predictions/p1/new_lesions.nii.gz").exists()


def test_predict_as_a_function_raises_after_the_last_case(work):
    Path("cohort/p0/flair_time02_on_middle_space.nii.gz").write_text("no scan")
    settings = PredictSettings(baseline="empty", cohort=Path("cohort"), out=Path("new"))
    with pytest.raises(InputError, match="case p0: "):
        predict(settings)
    assert sorted(path.name for path in Path("new").glob("p*")) == ["p1", "p2"]


def test_predict_refuses_a_cohort_of_broken_cases(refuses):
    for case in Path("cohort").iterdir():
        (case / "flair_time02_on_middle_space.nii.gz").write_text("no scan")
    refuses("segnet predict --baseline empty --cohort cohort --out new", "cohort/p0")


def test_a_prediction_that_cannot_be_written_leaves_the_old_ones(work, call):
    Path("predictions/p1/lesions.csv").unlink()
    Path("predictions/p1/lesions.csv").mkdir()
    before = Path("predictions/config.toml").read_text()
    result = call("segnet predict --baseline empty --cohort cohort --out predictions")
    assert result.exit_code == 2, result.stderr
    assert "lesions.csv is a folder" in result.stderr
    assert Path("predictions/config.toml").read_text() == before
    assert len(list(Path("predictions").glob("*/new_lesions.nii.gz"))) == 3


def test_a_prediction_that_is_cut_short_leaves_no_mask_of_an_earlier_call(work, call, monkeypatch):
    written = []

    def write_one(prediction, paths):
        if written:
            raise KeyboardInterrupt
        written.append(write_prediction(prediction, paths))

    monkeypatch.setattr("segnet.prediction.write_prediction", write_one)
    result = call("segnet predict --baseline empty --cohort cohort --out predictions")
    assert result.exit_code == 130, result.stderr
    left = [path.parent.name for path in Path("predictions").rglob("*.nii.gz")]
    assert left == ["p0"] * 2  # mask and map


@pytest.mark.parametrize("cohort", ["cohort", "cohort/list.csv"])
def test_predict_refuses_to_write_among_the_scans_of_the_cohort(cohort, call, refuses):
    if cohort.endswith(".csv"):
        assert call(f"datagen cohort cohort --out {cohort}").exit_code == 0
    command = f"segnet predict --baseline empty --cohort {cohort} --out one/../cohort"
    refuses(command, "--out one/../cohort is the cohort's own folder")


RUNS = {
    "run": "holds a run of 'segnet train'; choose another --out",
    "mixed": "holds a run of 'metricnet train'; choose another --out",
    "foreign": "foreign/config.toml is not a TOML file",
}


@pytest.mark.parametrize("name", RUNS)
def test_evaluate_does_not_write_over_the_settings_of_another_command(name, refuses):
    for folder, text in {"mixed": "[segnet.evaluate]\n[metricnet.train]", "foreign": "="}.items():
        Path(folder).mkdir()
        Path(folder, "config.toml").write_text(text)
    refuses(f"segnet evaluate --truth cohort --prediction predictions --out {name}", RUNS[name])


def test_evaluate_does_not_write_over_tables_of_others(refuses):
    Path("study").mkdir()
    Path("study/patients.csv").write_text("patient,age\n")
    command = "segnet evaluate --truth cohort --prediction predictions --out study"
    refuses(command, "study/patients.csv is there already, and would be replaced")


def test_evaluate_goes_over_its_own_scores(work, call):
    command = "segnet evaluate --truth cohort --prediction predictions --out scores"
    assert call(command).exit_code == 0


def test_evaluate_looks_at_its_folder_before_it_scores(refuses):
    command = "segnet evaluate --truth one/truth.nii.gz --prediction one/time1.nii.gz --out"
    refuses(f"{command} pairs.h5", "pairs.h5 is not a folder")
    refuses(f"{command} new/scores", "one/time1.nii.gz")  # and removes what it made


def test_phantom_refuses_a_folder_that_holds_a_cohort(refuses):
    Path("taken").mkdir()
    Path("taken/cohort.csv").touch()
    refuses("datagen phantom --cases 3 --out taken", "taken already holds a cohort")


def test_a_pair_file_does_not_give_way_to_a_new_one(work, refuses):
    before = Path("pairs.h5").read_bytes()
    refuses("datagen build --masks none --out pairs.h5", "none")
    refuses("datagen build --masks cohort --seed 1 --out pairs.h5", "pairs.h5 is there already")
    assert Path("pairs.h5").read_bytes() == before


@pytest.mark.parametrize("option", ["--scan-cache", "--distance-cache"])
def test_a_cache_that_cannot_be_made_is_named_by_its_option(option, refuses):
    command = f"segnet train --cohort cohort --alpha 0 --loss boundary {option} pairs.h5/cache"
    refuses(f"{command} --out fresh", f"choose another {option}", begun="fresh")


def run_on_a_full_disk(line: str, most: int) -> subprocess.CompletedProcess[str]:
    """Run a command in a process in which no file can grow beyond some bytes."""

    def fill_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    program, *words = shlex.split(line)
    # in a process of its own: the limit would also cut off what the test run itself writes
    shell = [sys.executable, "-c", f"from {program}.cli import main; main()", *words]
    # nor may it leave compiled modules that are cut off
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        shell, preexec_fn=fill_disk, capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize("name", ["build", "predict", "report"])
def test_a_write_that_the_disk_cuts_short_is_the_machines_fault(name, work):
    line, suffix = FILES[name]
    short = " --pairs 10 --patch 32 --workers 1" if name == "build" else ""
    result = run_on_a_full_disk(f"{line} new{suffix}{short}", 2000)
    assert result.returncode == 1, result.stderr
    assert result.stderr.count("\n") == 1
    assert "new" in result.stderr
    assert ".partial" not in result.stderr
    assert not Path(f"new{suffix}").exists()
    assert not list(Path().rglob(".partial-*"))


@pytest.mark.parametrize(
    ("name", "short"), [("fit", "--batch 2"), ("train", "--batch 1 --patch 32 --channels 8")]
)
def test_a_checkpoint_that_the_disk_cuts_short_is_the_machines_fault(name, short, work):
    line = f"{FOLDERS[name]} new --epochs 1 --steps-per-epoch 1 {short}"
    result = run_on_a_full_disk(line, 30_000)
    assert result.returncode == 1, result.stderr
    assert result.stderr.splitlines()[-1].endswith(".ckpt: File too large")
    assert "Traceback" not in result.stderr
    assert not list(Path().rglob(".partial-*"))


def test_pairs_that_the_disk_has_no_room_for_are_not_begun(work, call, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    result = call("datagen build --masks cohort --pairs 10 --patch 32 --workers 1 --out new.h5")
    assert result.exit_code == 1
    assert "new.h5: No space left on device" in result.stderr
    assert not Path("new.h5").exists()
