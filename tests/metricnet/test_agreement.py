import numpy as np
import pytest

from metricnet.agreement import Comparison, measure
from metricnet.checkpoint import load_estimator


def compare(exact, estimated, style=None, step=None) -> Comparison:
    exact = np.array(exact, float)
    return Comparison(
        exact,
        np.array(estimated, float),
        np.full(exact.size, 0.5),
        exact,
        np.array(style or ["blur"] * exact.size),
        np.full(exact.size, -1) if step is None else np.array(step),
    )


def test_a_perfect_estimate_has_no_error():
    summary = compare([0.0, 0.5, 1.0], [0.0, 0.5, 1.0]).summary()
    assert summary["mse"] == 0
    assert summary["pearson"] == pytest.approx(1)
    assert summary["spearman"] == pytest.approx(1)
    assert summary["mse_soft_dice_regression"] == 0
    assert summary["mse_constant_mean"] == pytest.approx(0.5 / 3)


def test_a_constant_estimate_correlates_with_nothing():
    assert compare([0.0, 0.5, 1.0], [0.4, 0.4, 0.4]).summary()["spearman"] == 0


def test_bins_hold_every_pair_and_show_the_bias():
    rows = compare([0.0, 0.05, 1.0], [0.2, 0.2, 0.7]).by_bin()
    assert [row["pairs"] for row in rows] == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert rows[0]["bias"] == pytest.approx(0.175)
    assert rows[9]["bias"] == pytest.approx(-0.3)


def test_groups_are_styles_and_tenths_of_a_trajectory():
    rows = compare(
        [0.0, 0.5, 1.0], [0.1, 0.5, 0.7], ["blur", "recorded", "recorded"], step=[-1, 0, 99]
    ).by_group()
    assert [(row["group"], row["pairs"]) for row in rows] == [
        ("blur", 1),
        ("recorded", 2),
        ("recorded, tenth 1", 1),
        ("recorded, tenth 10", 1),
    ]
    assert rows[0]["mae"] == pytest.approx(0.1)
    assert rows[3]["bias"] == pytest.approx(-0.3)


def test_a_saved_estimator_carries_its_held_out_agreement(tiny_estimator, tiny_pairs):
    saved = load_estimator(tiny_estimator)
    measured = measure(saved.estimator, tiny_pairs).summary()
    assert saved.held_out["mse"] == pytest.approx(measured["mse"], rel=1e-5)
    assert saved.agreement.patch == 32


def test_a_score_of_32_bits_lies_in_the_bin_of_its_value():
    scores = [float(np.float32(score)) for score in (0.1, 0.3, 0.6, 0.7, 0.9)]
    rows = compare(scores, scores).by_bin()
    assert [row["from"] for row in rows if row["pairs"]] == [0.1, 0.3, 0.6, 0.7, 0.9]
