import shutil
from pathlib import Path

import h5py
import pytest
import pytorch_lightning as lightning
import torch
from click.testing import CliRunner

from datagen.errors import InputError
from metricnet import runs
from metricnet.checkpoint import load_estimator
from metricnet.cli import main
from metricnet.config import TrainSettings
from metricnet.trainer import Kept, WholeCheckpoints, keep_inputs, open_run

SECTION = "metricnet.train"


@pytest.fixture
def settings(tmp_path) -> TrainSettings:
    return TrainSettings(pairs=tmp_path / "pairs.h5", seed=3)


def test_a_run_is_not_overwritten(tmp_path, settings):
    open_run(tmp_path, SECTION, settings, resume=False)
    with pytest.raises(InputError, match="add --resume"):
        open_run(tmp_path, SECTION, settings, resume=False)


def test_a_resumed_run_keeps_its_settings(tmp_path, settings):
    open_run(tmp_path, SECTION, settings, resume=False)
    other = settings.model_copy(update={"seed": 4})
    with pytest.raises(InputError, match="begun with seed = 3, not 4"):
        open_run(tmp_path, SECTION, other, resume=True)


def test_minutes_may_change_between_parts_of_a_run(tmp_path, settings):
    open_run(tmp_path, SECTION, settings, resume=False)
    longer = settings.model_copy(update={"max_minutes": 5.0})
    assert open_run(tmp_path, SECTION, longer, resume=True) is None


def test_a_run_does_not_go_on_with_what_was_replaced(tmp_path):
    keep_inputs(tmp_path, {"--pairs": "a"}, goes_on=False)
    keep_inputs(tmp_path, {"--pairs": "a"}, goes_on=True)
    with pytest.raises(InputError, match="what --pairs names has changed since the run was begun"):
        keep_inputs(tmp_path, {"--pairs": "b"}, goes_on=True)
    # what an earlier version did not write down
    keep_inputs(tmp_path, {"--pairs": "a", "--estimator": "c"}, goes_on=True)
    (tmp_path / runs.INPUTS).write_text('{"--pairs"')
    with pytest.raises(InputError, match=r"inputs\.json is damaged"):
        keep_inputs(tmp_path, {"--pairs": "a"}, goes_on=True)
    (tmp_path / runs.INPUTS).unlink()  # a run of an earlier version
    keep_inputs(tmp_path, {"--pairs": "b"}, goes_on=True)


def test_an_estimator_is_not_trained_on_with_pairs_built_anew(tiny_pairs, tmp_path, run):
    pairs = shutil.copy(tiny_pairs, tmp_path / "pairs.h5")
    options = ["--epochs", "1", "--steps-per-epoch", "1", "--batch", "2", "--out", tmp_path / "run"]
    run("metricnet", "train", "--pairs", pairs, *options)
    anew = shutil.copy(tiny_pairs, tmp_path / "anew.h5")
    with h5py.File(anew, "r+") as file:
        file.attrs["rule"] = "msseg2"
    anew.replace(pairs)
    command = ["train", "--pairs", pairs, *options, "--resume"]
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 2
    assert "what --pairs names has changed" in result.stderr
    assert load_estimator(tmp_path / "run").agreement.rule == "overlap"


@pytest.mark.parametrize("error", [IndexError, KeyError])
def test_a_checkpoint_of_garbage_is_refused(error, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error("memo")

    (tmp_path / runs.LAST).write_bytes(b"garbage")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(InputError, match="is not a checkpoint, or is cut off"):
        runs.read_checkpoint(tmp_path / runs.LAST)


def test_settings_are_read_back_from_a_run(tmp_path, settings):
    open_run(tmp_path, SECTION, settings, resume=False)
    assert runs.read_config(tmp_path, SECTION, TrainSettings) == settings


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        runs.read_config(tmp_path, SECTION, TrainSettings)


def test_a_run_that_is_not_there_to_be_resumed_is_told(tmp_path, capsys):
    runs.say_if_new(tmp_path, resume=False)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / runs.LAST).touch()
    runs.say_if_new(tmp_path / "begun", resume=True)
    assert capsys.readouterr().out == ""
    runs.say_if_new(tmp_path / "mistyped", resume=True)
    assert "mistyped holds nothing to go on from" in capsys.readouterr().out


def test_a_checkpoint_that_is_cut_short_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / runs.LAST
    WholeCheckpoints().save_checkpoint({"state_dict": {}, "epoch": 1}, path)

    def fill_the_disk(partial, content):
        partial.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        WholeCheckpoints().save_checkpoint({"state_dict": {}, "epoch": 2}, path)
    assert runs.epochs_done(path) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_half_a_checkpoint_of_a_killed_process_is_swept_up(tmp_path, settings):
    open_run(tmp_path, SECTION, settings, resume=False)
    WholeCheckpoints().save_checkpoint({"state_dict": {}, "epoch": 1}, tmp_path / runs.LAST)
    kept = sorted(tmp_path.iterdir())
    (tmp_path / f".partial-0a1b2c3d-{runs.LAST}").write_bytes(b"half")
    assert open_run(tmp_path, SECTION, settings, resume=True) == tmp_path / runs.LAST
    assert sorted(tmp_path.iterdir()) == kept


def test_a_training_stops_after_its_minutes(tiny_pairs, tmp_path, run):
    options = ["--epochs", "50", "--steps-per-epoch", "1", "--batch", "2", "--max-minutes", "0.001"]
    run("metricnet", "train", "--pairs", tiny_pairs, "--out", tmp_path / "run", *options)
    assert len(runs.read_history(tmp_path / "run")) < 50


def test_minutes_count_anew_in_a_resumed_training(tiny_pairs, tmp_path, run):
    options = ["--epochs", "9", "--steps-per-epoch", "1", "--batch", "2", "--max-minutes", "0.0001"]
    lengths = []
    for _ in range(3):
        run("metricnet", "train", "--pairs", tiny_pairs, "--out", tmp_path, *options, "--resume")
        lengths.append(len(runs.read_history(tmp_path)))
    assert lengths == [1, 2, 3]


def test_a_run_that_was_moved_keeps_its_best_epoch(tmp_path):
    trainer = lightning.Trainer(logger=False, enable_progress_bar=False)
    trainer.callback_metrics["score"] = torch.tensor(0.9)
    before = Kept(tmp_path / "here", filename="best", monitor="score", mode="max")
    before.best_model_score = torch.tensor(0.9)
    before.best_model_path = before.kth_best_model_path = str(tmp_path / "here" / "best.ckpt")
    before.best_k_models = {before.best_model_path: before.best_model_score}
    after = Kept(tmp_path / "there", filename="best", monitor="score", mode="max")
    after.load_state_dict(before.state_dict())
    assert after.best_model_score == torch.tensor(0.9)
    assert after.best_model_path == str(tmp_path / "there" / "best.ckpt")
    assert not after.check_monitor_top_k(trainer, torch.tensor(0.3))
    assert after.check_monitor_top_k(trainer, torch.tensor(0.95))
