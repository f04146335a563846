import numpy as np
import pytest
import torch

from datagen.lesions import score_lesions
from datagen.store import Agreement
from metricnet import LesionWiseLoss
from metricnet.attack import Attack, attack, joined

AGREEMENT = Agreement("overlap", 26, 0.0, 1.0, 16)


def test_the_ascent_raises_the_estimate_and_scores_both_ends_exactly():
    torch.manual_seed(0)
    truth = torch.zeros(2, 1, 16, 16, 16)
    truth[:, :, 2:5, 2:5, 2:5] = truth[:, :, 10:12, 10:12, 10:12] = 1
    probability = torch.rand(2, 1, 16, 16, 16)
    loss = LesionWiseLoss.pretrained(guided=False)
    result = attack(loss, AGREEMENT, probability, truth, steps=5)
    assert (result.estimated_after > result.estimated_before).all()
    exact = [
        score_lesions(truth[n, 0].numpy() > 0, probability[n, 0].numpy() >= 0.5).f1 for n in (0, 1)
    ]
    assert result.exact_before.tolist() == exact
    assert ((result.exact_after >= 0) & (result.exact_after <= 1)).all()


def test_the_summary_tells_what_the_estimate_is_worth():
    zero, half, one = (np.full(4, value) for value in (0.0, 0.5, 1.0))
    summary = Attack(half, zero, half, one).summary()
    assert summary == pytest.approx(
        {
            "starts": 4,
            "exact_before": 0.5,
            "exact_after": 0,
            "estimated_before": 0.5,
            "estimated_after": 1,
            "gap_before": 0,
            "gap_after": 1,
        }
    )


def test_batches_are_joined_in_order():
    parts = [Attack(*(np.full(size, float(size)) for _ in range(4))) for size in (1, 2)]
    assert joined(parts).exact_after.tolist() == [1, 2, 2]
