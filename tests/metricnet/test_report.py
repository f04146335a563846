import csv
import json
from pathlib import Path

import numpy as np
import pytest

from datagen.errors import InputError
from datagen.recordings import Recording, write_recordings
from metricnet import report
from metricnet.checkpoint import load_estimator
from metricnet.config import EvaluateSettings
from metricnet.data import StoredPair
from metricnet.edits import Changes, measure_edits, measure_slopes
from metricnet.pictures import draw_slopes, most_of_all
from metricnet.report import Findings, evaluate
from metricnet.trajectory import Trajectory, follow


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Two files of recorded patches of one training, of steps 0 to 3."""
    folder = tmp_path_factory.mktemp("training") / "dice_alone"
    folder.mkdir()
    rng = np.random.default_rng(0)
    truth = np.zeros((32, 32, 32), dtype=np.uint8)
    truth[4:7, 4:7, 4:7] = truth[20:22, 20:22, 20:22] = 1
    for first in (0, 2):
        rows = [
            Recording(
                truth, rng.integers(0, 120, truth.shape, np.uint8) + 100 * truth, "a", "a", step
            )
            for step in (first, first + 1)
        ]
        write_recordings(folder / f"step{first:07d}.h5", rows, 1.0)
    return folder


@pytest.fixture(scope="module")
def findings(tiny_estimator, tiny_pairs, recordings, tmp_path_factory) -> tuple[Findings, Path]:
    out = tmp_path_factory.mktemp("agreement") / "agreement"
    settings = EvaluateSettings(
        estimator=tiny_estimator,
        pairs=tiny_pairs,
        predictions=(recordings,),
        edits=6,
        starts=3,
        attack_steps=2,
        out=out,
    )
    return evaluate(settings), out


def test_numbers_tables_figures_and_page_are_written(findings):
    found, out = findings
    written = json.loads((out / "agreement.json").read_text())
    assert written == json.loads(json.dumps(found.summary()))
    with (out / "by_bin.csv").open() as stream:
        assert sum(int(row["pairs"]) for row in csv.DictReader(stream)) == written["pairs"]
    for name in ("scatter", "edits", "attack", "slopes", "recorded"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == 5
    assert "dice_alone" in page
    assert f"{written['mse']:.4f}" in page


def test_the_packages_estimator_is_measured_on_pairs_of_another_size(
    tiny_pairs, tmp_path, run, monkeypatch
):
    monkeypatch.setattr(report, "_SLOPED_PAIRS", 2)
    options = ["--edits", "1", "--starts", "1", "--attack-steps", "1", "--out", tmp_path / "out"]
    printed = run("metricnet", "evaluate", "--pairs", tiny_pairs, *options)
    pairs = json.loads((tmp_path / "out/agreement.json").read_text())
    assert pairs["mse"] < pairs["mse_constant_mean"]
    assert f"MSE {pairs['mse']:.4f}" in printed
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "estimator of the package" in page
    assert "32³ voxels" in page


def test_both_ascents_begin_at_the_same_starts(findings):
    attacks = findings[0].attacks
    assert attacks["guided"].exact_before.tolist() == attacks["free"].exact_before.tolist()
    assert attacks["guided"].exact_before.size == 3


def test_each_tenth_of_a_recorded_training_has_a_row(findings):
    with (findings[1] / "recorded.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["training"], row["tenth"], row["patches"]) for row in rows] == [
        ("dice_alone", tenth, "1") for tenth in ("1", "3", "6", "8")
    ]


def test_a_recorded_patch_is_scored_exactly(tiny_estimator, recordings):
    trajectory = follow(load_estimator(tiny_estimator), recordings)
    assert trajectory.step.tolist() == [0, 1, 2, 3]
    assert trajectory.exact.tolist() == [1.0] * 4


def test_a_trajectory_tells_its_worst_tenth():
    trajectory = Trajectory("t", np.arange(10), np.zeros(10), np.array([0.0] * 9 + [0.5]))
    assert trajectory.summary() == {
        "training": "t",
        "patches": 10,
        "mae": pytest.approx(0.05),
        "worst_tenth": 0.5,
    }


def test_edits_change_the_exact_score(tiny_estimator, tiny_pairs):
    saved = load_estimator(tiny_estimator)
    found = measure_edits(saved.estimator, tiny_pairs, "validation", 5, seed=1)
    assert found.exact.size == 5
    assert (found.exact != 0).all()


def test_the_share_of_right_signs_leaves_unchanged_scores_out():
    assert Changes(np.array([0.1, -0.1, 0.0]), np.array([0.2, 0.1, 0.3])).right == 0.5
    assert np.isnan(Changes(np.zeros(2), np.ones(2)).right)


def test_recordings_of_another_patch_are_refused(tiny_estimator, tmp_path):
    small = np.zeros((16, 16, 16), dtype=np.uint8)
    write_recordings(tmp_path / "step0000000.h5", [Recording(small, small, "a", "a", 0)], 1.0)
    with pytest.raises(InputError, match="recorded with patch 16"):
        follow(load_estimator(tiny_estimator), tmp_path)


def test_a_folder_of_whole_maps_is_no_trajectory(tiny_estimator, tmp_path):
    (tmp_path / "a_probability.nii.gz").touch()
    with pytest.raises(InputError, match="but no recordings"):
        follow(load_estimator(tiny_estimator), tmp_path)


def test_pieces_that_change_no_score_count_as_no_change(tiny_estimator, tiny_pairs):
    saved = load_estimator(tiny_estimator)
    changes = measure_slopes(saved.estimator, tiny_pairs, "validation", 20, 0)
    exact = np.concatenate([of_kind.exact for of_kind in changes.values()])
    assert (exact != 0).any()
    assert np.abs(exact[exact != 0]).min() > 1e-5


@pytest.fixture
def pairs_to_show() -> tuple[StoredPair, StoredPair]:
    """A pair with a slice of hit, missed and false voxels, and one with many missed alone."""
    stored, truth = np.zeros((2, 8, 16, 16), np.uint8)
    truth[5, 1:9, 1:9] = 1
    densities = np.zeros((4, 2, 4, 4), np.float16)
    alone = StoredPair(stored.copy(), truth.copy(), densities, 0.5, 0)
    truth[2, 1:4, 1:4] = 1
    stored[2, 3:6, 3:6] = 200
    return StoredPair(stored, truth, densities, 0.5, 0), alone


def test_the_pair_with_all_kinds_is_shown_however_much_another_misses(pairs_to_show):
    assert max(reversed(pairs_to_show), key=most_of_all) is pairs_to_show[0]


def test_the_slice_with_most_to_see_is_drawn(pairs_to_show):
    slope = np.arange(8 * 16 * 16, dtype=np.float32).reshape(8, 16, 16)
    for pair, depth in zip(pairs_to_show, (2, 5), strict=True):
        axes = draw_slopes(pair, slope, slope).axes[1]
        assert np.array_equal(axes.images[0].get_array(), slope[depth])
