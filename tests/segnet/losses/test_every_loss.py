"""What holds for every loss: finite on extreme inputs, in half precision, and the right slope."""

import numpy as np
import pytest
import torch
from torch import Tensor

from segnet import losses
from segnet.distances import penalty_map, signed_distance
from segnet.losses.blob import number_lesions

SPACING_MM = (1.0, 1.0, 3.0)


def distance_of(truth: Tensor) -> Tensor:
    masks = (truth > 0).numpy()
    maps = [[signed_distance(mask, SPACING_MM) for mask in sample] for sample in masks]
    return torch.from_numpy(np.array(maps)).double()


def penalty_of(truth: Tensor) -> Tensor:
    labels = (truth[:, -1:] if truth.shape[1] == 1 else truth.argmax(1, keepdim=True)).byte()
    maps = [[penalty_map(sample[0], is_normalised=True)] for sample in labels.numpy()]
    return torch.from_numpy(np.array(maps)).double()


def active(logits: Tensor) -> Tensor:
    """Probabilities of a network with one channel, or with one per class."""
    return torch.sigmoid(logits) if logits.shape[1] == 1 else logits.softmax(1)


# each takes logits and the one-hot truth
LOSSES = {
    "dice": lambda z, t: losses.dice_loss(active(z), t),
    "dice_per_sample": lambda z, t: losses.dice_loss_per_sample(active(z), t),
    "generalised_dice": lambda z, t: losses.generalised_dice_loss(active(z), t),
    "generalised_dice_printed": lambda z, t: losses.generalised_dice_loss(
        active(z), t, form="printed"
    ),
    "tversky": lambda z, t: losses.tversky_loss(active(z), t),
    "bce": losses.bce_loss,
    "cross_entropy": lambda z, t: losses.cross_entropy(z, t).mean(),
    "dice_ce": losses.dice_ce_loss,
    "focal": losses.focal_loss,
    "confidence": losses.confidence_penalised_ce_loss,
    "distance_ce": lambda z, t: losses.distance_penalised_ce_loss(z, t, penalty_of(t)),
    "fog": lambda z, t: losses.fog_loss(active(z), t),
    "fog_sobel": lambda z, t: losses.fog_loss(active(z), t, "axial", "sobel"),
    "fog_central": lambda z, t: losses.fog_loss(active(z), t, "coronal", "central"),
    "sog": lambda z, t: losses.sog_loss(active(z), t),
    "sog_two_sided": lambda z, t: losses.sog_loss(active(z), t, is_two_sided=True),
    "sog_printed": lambda z, t: losses.sog_loss(active(z), t, True, "printed"),
    "hausdorff": lambda z, t: losses.hausdorff_loss(active(z), t, distance_of(t)),
    "boundary": lambda z, t: losses.boundary_loss(active(z), distance_of(t)),
    "surface": lambda z, t: losses.surface_loss(active(z), t, distance_of(t)),
    "surface_weighted": lambda z, t: losses.surface_loss(
        active(z), t, distance_of(t), losses.class_weights([10] * t.shape[1])
    ),
}
ONE_CHANNEL = {
    "blob": lambda z, t: losses.blob_loss(z, number_lesions(t)),
    "lesion_f1": lambda z, t: losses.lesion_f1_loss(active(z), t),
}


def one_hot(labels: Tensor, channels: int) -> Tensor:
    if channels == 1:
        return (labels > 0)[:, None].double()
    return torch.nn.functional.one_hot(labels, channels).movedim(-1, 1).double()


def truths(channels: int) -> dict[str, Tensor]:
    """Empty, full, with an absent class (of three), and two lesions."""
    labels = torch.zeros(2, 6, 6, 6, dtype=torch.long)
    lesions = labels.clone()
    lesions[0, 1:3, 1:4, 1:3] = 1
    lesions[0, 5, 5, 5] = lesions[1, 4, 3, 2] = max(channels - 1, 1)
    absent = (lesions == 1).long()
    named = {"empty": labels, "full": labels + 1, "absent class": absent, "lesions": lesions}
    return {name: one_hot(labels, channels) for name, labels in named.items()}


def every_case() -> list[tuple[str, int]]:
    return [(name, channels) for name in LOSSES for channels in (1, 2, 3)] + [
        (name, 1) for name in ONE_CHANNEL
    ]


@pytest.mark.parametrize(("name", "channels"), every_case())
@pytest.mark.parametrize("size", [1.0, 200.0, 60000.0])
def test_value_and_gradient_are_finite(name, channels, size):
    """Logits of 200 and more saturate: probabilities of exactly 0 and 1, right and wrong."""
    loss = {**LOSSES, **ONE_CHANNEL}[name]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, channels, 6, 6, 6, generator=generator)
    for truth in truths(channels).values():
        for start in (noise * size, torch.full_like(noise, size), torch.full_like(noise, -size)):
            logits = start.clone().requires_grad_()
            value = loss(logits, truth.float())
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("name", "channels"), every_case())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_left_at_the_door(name, channels, dtype):
    loss = {**LOSSES, **ONE_CHANNEL}[name]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, channels, 6, 6, 6, generator=generator).to(dtype)
    for truth in truths(channels).values():
        wide = loss(noise.float(), truth.float())
        with torch.autocast("cpu", dtype=dtype):
            logits = noise.clone().requires_grad_()
            value = loss(logits, truth.to(dtype))
        value.backward()
        assert value.dtype in (torch.float32, torch.float64)
        # probabilities are rounded before they come in
        assert value.item() == pytest.approx(wide.item(), rel=0.05, abs=0.02)
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("name", "channels"), every_case())
def test_the_gradient_is_the_slope(name, channels):
    loss = {**LOSSES, **ONE_CHANNEL}[name]
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, channels, 3, 3, 4, generator=generator, dtype=torch.float64)
    labels = torch.zeros(1, 3, 3, 4, dtype=torch.long)
    labels[0, 0, 0, 0] = 1
    labels[0, 2, 1, 2:] = max(channels - 1, 1)
    truth = one_hot(labels, channels)
    assert torch.autograd.gradcheck(
        lambda z: loss(z, truth), noise.requires_grad_(), eps=1e-6, atol=1e-7, rtol=1e-4
    )


@pytest.mark.parametrize("name", ["dice", "tversky", "surface", "hausdorff", "fog", "sog", "focal"])
def test_the_truth_itself_costs_nothing(name):
    truth = truths(2)["lesions"]
    assert LOSSES[name](200 * (2 * truth - 1), truth).item() == pytest.approx(0, abs=1e-5)
