from pathlib import Path

import numpy as np
import pytest
import torch

from datagen.layouts import Case
from datagen.recordings import RecordingFile, list_predictions
from datagen.store import PairFile
from segnet.recording import FOLDER, Recorder

CASES = [Case(name, f"{name}-patient", Path(name), Path(name)) for name in "ab"]


def take(recorder, step):
    probability = torch.full((2, 1, 8, 8, 8), 0.2 + 0.001 * step)
    recorder.take(step, probability, torch.ones(2, 1, 8, 8, 8), torch.tensor([1, 0]))


def test_patches_are_kept_at_even_distances_from_the_first_to_the_last(tmp_path):
    recorder = Recorder(tmp_path, CASES, 1.0, draws=100, patches=10)
    for step in range(50):
        take(recorder, step)
    recorder.write()
    file = RecordingFile(tmp_path / "step0000000.h5", 8, 1.0)
    assert [file[index].step for index in range(len(file))] == list(range(0, 50, 5))
    assert file[0].case == "b"
    assert file[0].patient == "b-patient"
    assert (file[9].probability == round((0.2 + 0.045) * 255)).all()


def test_patches_are_written_by_the_hundred(tmp_path):
    recorder = Recorder(tmp_path, CASES, 1.0, draws=260, patches=1000)
    for step in range(130):
        take(recorder, step)
    recorder.write()
    recorder.write()  # nothing is kept any more
    sizes = [len(RecordingFile(path, 8, 1.0)) for path in sorted(tmp_path.iterdir())]
    assert sizes == [100, 100, 60]


@pytest.fixture(scope="module")
def recorded(tiny_cohort, tmp_path_factory, run):
    """A run of two epochs that recorded all of its patches."""
    out = tmp_path_factory.mktemp("recorded") / "run"
    options = ["--alpha", "0", "--epochs", "2", "--steps-per-epoch", "3", "--batch", "2"]
    options += ["--patch", "32", "--channels", "8", "--precision", "32", "--record-predictions"]
    run("segnet", "train", "--cohort", tiny_cohort, "--out", out, *options)
    return out


def test_a_training_records_along_its_whole_trajectory(recorded):
    files, maps = list_predictions([recorded / FOLDER])
    assert maps == []
    patches = [file[n] for file in (RecordingFile(p, 32, 1.0) for p in files) for n in range(6)]
    assert [patch.step for patch in patches] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert any(patch.truth.any() for patch in patches)
    assert len({patch.probability.tobytes() for patch in patches}) == 12


def test_pairs_are_built_from_what_was_recorded(recorded, tiny_cohort, tmp_path, run):
    out = tmp_path / "pairs.h5"
    source = ["--masks", tiny_cohort, "--predictions", recorded, "--prediction-share", "0.5"]
    options = ["--pairs", "20", "--patch", "32", "--workers", "1"]
    run("datagen", "build", *source, *options, "--out", out)
    with PairFile(out) as file:
        is_recorded = file.column("style") == "recorded"
        assert is_recorded.sum() == 10
        # networks are trained on training cases alone: their maps never judge the estimator
        assert set(file.column("split")[is_recorded]) == {"train"}
        assert np.isin(file.column("case")[is_recorded], file.column("case")).all()
