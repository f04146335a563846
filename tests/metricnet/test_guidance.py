import pytest
import torch

from metricnet import LesionWiseLoss
from metricnet.guidance import NumberedPieces, cut_into_pieces, guide


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A found lesion with a rim, a missed one and a false one; and a sample without any."""
    truth = torch.zeros(2, 1, 8, 8, 8)
    truth[0, 0, 1, 1, 1:3] = truth[0, 0, 6, 6, 5:8] = 1
    probability = torch.full((2, 1, 8, 8, 8), 0.2)
    probability[0, 0, 1, 1, 0:3] = probability[0, 0, 4, 1, 1:4] = 0.8
    return probability, truth


def test_lesions_fall_into_pieces_of_overlap_and_remainder(pair):
    pieces = cut_into_pieces(*pair)
    number = pieces.number[0, 0]
    assert len(pieces.is_truth) == 4
    assert len({*number[1, 1, 1:3].tolist()}) == 1
    assert len({number[1, 1, 0].item(), number[1, 1, 1].item(), number[6, 6, 5].item()}) == 3
    assert pieces.is_truth.sum() == 2
    assert (number > 0).sum() == 9
    assert not pieces.number[1].any()


def test_pieces_of_samples_are_numbered_through(pair):
    probability, truth = (volume[[0, 0]] for volume in pair)
    number = cut_into_pieces(probability, truth).number
    assert torch.equal(number[1], torch.where(number[0] > 0, number[0] + 4, 0))


def test_voxels_of_a_piece_share_its_mean_slope(pair):
    slope = torch.zeros(2, 1, 8, 8, 8)
    slope[0, 0, 6, 6, 5:8] = torch.tensor([4.0, -1.0, 0.0])
    guided = guide(slope, cut_into_pieces(*pair))
    assert guided[0, 0, 6, 6, 5:8].tolist() == [1.0, 1.0, 1.0]
    assert guided.sum() == 3


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_slope_leads_away_from_the_truth(pair, sign):
    guided = guide(torch.full((2, 1, 8, 8, 8), sign), cut_into_pieces(*pair))
    inside, outside = guided[pair[1] > 0], guided[pair[1] == 0]
    assert (inside == max(sign, 0)).all()
    assert set(outside.tolist()) == ({0.0} if sign > 0 else {0.0, -1.0})


def test_the_guided_slope_still_leads_uphill():
    torch.manual_seed(0)
    slope = torch.randn(1, 1, 8, 8, 8)
    number = torch.randint(0, 12, (1, 1, 8, 8, 8))
    guided = guide(slope, NumberedPieces(number, torch.rand(11) < 0.5))
    assert (guided * slope).sum() > 0


def test_a_batch_without_lesions_has_no_slope():
    empty = torch.zeros(2, 1, 8, 8, 8)
    assert not guide(torch.ones(2, 1, 8, 8, 8), cut_into_pieces(empty, empty)).any()


def test_false_lesions_of_more_weight_are_pulled_at_more_and_scored_alike():
    truth, probability = torch.zeros(2, 1, 1, 32, 32, 32)
    truth[..., 4:9, 4:9, 4:9] = probability[..., 4:9, 4:9, 4:9] = 1
    probability[..., 20:25, 20:25, 20:25] = 1  # a false one
    scores, slopes = [], []
    for weight in (1.0, 3.0):
        loss = LesionWiseLoss.pretrained(thresholds=(0.5, 0.5), false_weight=weight)
        own = probability.clone().requires_grad_()
        value = loss(own, truth)
        value.backward()
        scores.append(value.item())
        slopes.append(own.grad[0, 0, 22, 22, 22].item())
    assert scores[0] == scores[1]
    # the more it weighs, the further the score has fallen already: less than three times
    assert 0 < slopes[0] < slopes[1] < 3 * slopes[0]
