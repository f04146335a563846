"""FOG, SOG and the general form beside numbers that a hand can work out."""

import math

import pytest
import torch

from segnet import losses
from segnet.losses.derivative import derivative, laplacian


@pytest.fixture
def centre() -> torch.Tensor:
    """One voxel in the middle of 3 × 3 × 3."""
    truth = torch.zeros(1, 1, 3, 3, 3, dtype=torch.float64)
    truth[0, 0, 1, 1, 1] = 1
    return truth


def maps(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(2, 1, 4, 5, 6, generator=generator, dtype=torch.float64)
    truth = (torch.rand(2, 1, 4, 5, 6, generator=generator) > 0.6).double()
    return probability, truth


def test_bce_is_a_special_case():
    probability, truth = maps(0)
    theta = -(truth * probability.log() + (1 - truth) * (1 - probability).log())
    wanted = losses.bce_loss(probability.logit(), truth)
    torch.testing.assert_close(losses.geometric_loss(theta), wanted)


def test_dice_is_a_special_case():
    probability, truth = maps(1)
    theta = probability + truth - 2 * probability * truth
    wanted = 1 - 2 * (probability * truth).sum() / (probability + truth).sum()
    torch.testing.assert_close(losses.geometric_loss(theta, 1.0, probability + truth), wanted)


def test_boundary_and_hausdorff_losses_are_special_cases():
    probability, truth = maps(2)
    distance = torch.linspace(-2, 5, truth.numel(), dtype=torch.float64).reshape(truth.shape)
    general = losses.geometric_loss
    torch.testing.assert_close(
        losses.boundary_loss(probability, distance), general(probability, distance)
    )
    torch.testing.assert_close(
        losses.hausdorff_loss(probability, truth, distance),
        general((probability - truth).square(), distance**2),
    )
    assert losses.boundary_loss(probability, distance).item() == pytest.approx(
        (probability * distance).sum().item() / truth.numel()
    )


def test_a_missed_voxel_has_two_steps_along_each_axis(centre):
    empty = torch.zeros_like(centre)
    # forward: +1 before the voxel and −1 at it
    assert losses.fog_loss(empty, centre).item() == pytest.approx(3 * 2 / 27)
    for plane in ("sagittal", "coronal", "axial"):
        assert losses.fog_loss(empty, centre, plane).item() == pytest.approx(2 / 27)
    # central: one half on either side
    assert losses.fog_loss(empty, centre, difference="central").item() == pytest.approx(
        3 * 2 * 0.25 / 27
    )
    # Sobel: weights 1-2-1 by 1-2-1 on the planes before and after, squares (1 + 4 + 1)² each
    assert losses.fog_loss(empty, centre, difference="sobel").item() == pytest.approx(
        3 * 2 * 36 / 27
    )


@pytest.mark.parametrize(("plane", "axis"), [("sagittal", 0), ("coronal", 1), ("axial", 2)])
def test_each_plane_looks_along_its_own_axis(plane, axis):
    ramp = torch.arange(4.0, dtype=torch.float64) / 3
    shape = [1, 1, 1, 1, 1]
    shape[axis + 2] = 4
    probability = ramp.reshape(shape).expand(1, 1, 4, 4, 4)
    flat = torch.zeros_like(probability)
    # three of four differences are 1/3, the border's own is 0
    assert losses.fog_loss(probability, flat, plane).item() == pytest.approx(3 / 4 / 9)
    others = {"sagittal", "coronal", "axial"} - {plane}
    assert all(losses.fog_loss(probability, flat, other).item() == 0 for other in others)


def test_only_forward_differences_see_a_checkerboard():
    board = torch.zeros(1, 1, 6, 6, 6, dtype=torch.float64)
    board[..., ::2] = 1
    inside = (..., slice(1, -1))
    assert derivative(board, 2, "forward")[inside].abs().min() == 1
    assert derivative(board, 2, "central")[inside].abs().max() == 0


def test_only_forward_differences_see_a_voxel_alone_at_its_place(centre):
    for axis in range(3):
        assert derivative(centre, axis, "forward")[0, 0, 1, 1, 1] == -1
        assert derivative(centre, axis, "central")[0, 0, 1, 1, 1] == 0


def test_all_and_nothing_are_alike_to_fog():
    empty = torch.zeros(1, 1, 4, 4, 4)
    assert losses.fog_loss(empty, empty) == losses.fog_loss(empty + 1, empty) == 0


def test_laplacian_of_a_voxel_is_minus_six_and_one_at_its_faces(centre):
    found = laplacian(centre)[0, 0]
    assert found[1, 1, 1] == -6
    assert found[0, 1, 1] == found[1, 2, 1] == found[1, 1, 0] == 1
    assert found.abs().sum() == 12


def test_printed_sog_rewards_an_empty_prediction(centre):
    empty = torch.zeros_like(centre)
    assert losses.sog_loss(empty, centre, sign="printed").item() == pytest.approx(-6 / 27)
    assert losses.sog_loss(centre, centre, sign="printed").item() == 0
    assert losses.sog_loss(empty, centre).item() == pytest.approx(6 / 27)


def test_two_sided_sog_adds_the_predictions_own_edges(centre):
    probability = torch.zeros_like(centre)
    probability[0, 0, 0, 1, 1] = 0.5
    # at the missed voxel φ(g) = −6, φ(s) = 0.5; at the false one, on the border, φ(g) = 1 and
    # φ(s) = −5 · 0.5
    assert losses.sog_loss(probability, centre).item() == pytest.approx((6 + 0.5) / 27)
    two_sided = (6.5 + 0.5 * (1 + 2.5)) / 27
    assert losses.sog_loss(probability, centre, True).item() == pytest.approx(two_sided)
    printed = ((-6 + 0.5) + 0.5 * (1 - 2.5)) / 27
    assert losses.sog_loss(probability, centre, True, "printed").item() == pytest.approx(printed)


def test_the_confidence_penalty_is_the_mean_entropy_with_its_sign_changed():
    logits = torch.zeros(1, 2, 3, 3, 3, dtype=torch.float64)
    assert losses.confident_prediction_penalty(logits).item() == pytest.approx(-math.log(2))
    logits[0, 1, 1, 1, 1] = math.log(3)  # one voxel of 27 at 3/4
    of_voxel = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    mean = (26 * math.log(2) + of_voxel) / 27
    assert losses.confident_prediction_penalty(logits).item() == pytest.approx(-mean)
    one_channel = logits[:, 1:] - logits[:, :1]
    assert losses.confident_prediction_penalty(one_channel).item() == pytest.approx(-mean)
    truth = torch.cat([torch.ones(1, 1, 3, 3, 3), torch.zeros(1, 1, 3, 3, 3)], 1).double()
    entropy = losses.cross_entropy(logits, truth).mean()
    penalised = losses.confidence_penalised_ce_loss(logits, truth, weight=0.5)
    assert penalised.item() == pytest.approx(entropy.item() - 0.5 * mean)
