import csv
import json

import numpy as np
import pytest

from metricnet.agreement import Comparison, evaluate, measure
from metricnet.checkpoint import load_estimator


def compare(exact, estimated) -> Comparison:
    exact = np.array(exact, float)
    return Comparison(exact, np.array(estimated, float), np.full(exact.size, 0.5), exact)


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


def test_evaluation_writes_numbers_table_and_figure(tiny_estimator, tiny_pairs, tmp_path):
    compared = evaluate(tiny_estimator, tiny_pairs, tmp_path / "agreement")
    written = json.loads((tmp_path / "agreement/agreement.json").read_text())
    assert written["mse"] == pytest.approx(compared.summary()["mse"], rel=1e-4)
    with (tmp_path / "agreement/by_bin.csv").open() as stream:
        assert sum(int(row["pairs"]) for row in csv.DictReader(stream)) == written["pairs"]
    assert (tmp_path / "agreement/scatter.png").read_bytes().startswith(b"\x89PNG")


def test_a_saved_estimator_carries_its_held_out_agreement(tiny_estimator, tiny_pairs):
    saved = load_estimator(tiny_estimator)
    measured = measure(saved.estimator, tiny_pairs).summary()
    assert saved.held_out["mse"] == pytest.approx(measured["mse"], rel=1e-5)
    assert saved.agreement.patch == 32
