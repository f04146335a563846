import numpy as np
import pytest
import torch

from datagen.lesions import score_lesions
from metricnet.checkpoint import load_estimator
from segnet.evaluation.estimates import PatchEstimate, by_case, gap_summaries
from segnet.evaluation.estimation import estimate_patches


@pytest.fixture
def pair(pair_of):
    """A patch of 32³ with a hit and a false lesion, an empty one, one with a missed lesion."""
    truth, prediction = np.zeros((2, 96, 32, 32), bool)
    truth[4:7, 4:7, 4:7] = truth[80:84, 4:7, 4:7] = True
    prediction[4:6, 4:7, 4:7] = prediction[20:23, 20:23, 20:23] = True
    return pair_of(truth, prediction, (prediction * 0.8).astype(np.float32))


def test_patches_with_a_lesion_are_estimated_beside_their_exact_score(pair, tiny_estimator):
    rows = estimate_patches("case", "method", pair, tiny_estimator)
    assert [(row.x, row.y, row.z) for row in rows] == [(0, 0, 0), (2, 0, 0)]
    first = score_lesions(pair.truth[:32], pair.prediction[:32]).f1
    assert [row.exact_f1 for row in rows] == [first, 0.0]
    estimator = load_estimator(tiny_estimator).estimator
    inputs = [
        torch.from_numpy(volume[:32].astype(np.float32))[None, None]
        for volume in (pair.probability, pair.truth)
    ]
    with torch.inference_mode():
        expected = float(estimator(*inputs)[0])
    assert rows[0].estimated_f1 == pytest.approx(expected, abs=1e-3)
    assert rows[0].gap == rows[0].estimated_f1 - rows[0].exact_f1


def test_without_a_map_the_mask_is_estimated(pair, tiny_estimator):
    bare = estimate_patches("case", "method", pair._replace(probability=None), tiny_estimator)
    mask = pair._replace(probability=pair.prediction.astype(np.float32))
    assert bare == estimate_patches("case", "method", mask, tiny_estimator)


def test_a_small_lesion_of_a_mask_is_not_lost_on_the_way_to_another_spacing(
    pair_of, tiny_estimator
):
    truth = np.zeros((32, 32, 16), bool)
    truth[4:12, 4:12, 2:6] = truth[20, 20, 10] = True  # the second is a quarter of a voxel there
    pair = pair_of(truth, truth, None, (0.5, 0.5, 1.0))
    (row,) = estimate_patches("case", "method", pair, tiny_estimator)
    assert row.exact_f1 == 1.0


def test_another_spacing_is_brought_to_that_of_the_estimator(pair_of, tiny_estimator):
    truth = np.zeros((16, 16, 16), bool)
    truth[2:4, 2:4, 2:4] = True
    pair = pair_of(truth, truth, None, (2.0, 2.0, 2.0))
    (row,) = estimate_patches("case", "method", pair, tiny_estimator)
    assert row.exact_f1 == 1.0


def test_gaps_are_averaged_by_case_and_described_by_method():
    rows = [
        PatchEstimate("a", "m", 0, 0, 0, 0.5, 0.25, 0.25),
        PatchEstimate("a", "m", 1, 0, 0, 0.25, 0.5, -0.25),
        PatchEstimate("b", "m", 0, 0, 0, 1.0, 0.0, 1.0),
        PatchEstimate("b", "n", 0, 0, 0, 1.0, 1.0, 0.0),
    ]
    cases = {(row.case, row.method): row for row in by_case(rows)}
    assert (cases["a", "m"].gap, cases["a", "m"].absolute_gap) == (0.0, 0.25)
    first, second = gap_summaries(rows)
    assert (first.patches, first.mean_absolute, first.median) == (3, 0.5, 0.25)
    assert (second.patches, second.std) == (1, None)
