"""The estimator F̂: networks that map a (probability, truth) pair of patches to its L-F1."""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from datagen.densities import STRIDE
from metricnet.config import Form

# F̂ of no lesions on either side is 1, and a missing half lesion already lowers it
_COUNT_FLOOR = 0.05


class Estimate(NamedTuple):
    """Estimated scores, and the maps they were counted from.

    `roots` are square roots of four lesion densities on a grid of stride 4: hit truth, missed
    truth, hit prediction, false prediction; a lesion's density adds up to 1. None in the published
    form.
    """

    f1: Float[Tensor, " batch"]
    roots: Float[Tensor, "batch 4 i j k"] | None


class LesionEstimator(nn.Module):
    """CNN estimate of the lesion-wise F1, in [0, 1].

    Both forms see three channels: prediction, truth, and their product (Kamraoui et al. 2021,
    figure 2). "published" follows that figure: convolution blocks with group norm and max pooling
    64 → 32 → 16 → 8, then a fully connected head with a linear output; it takes 64³ patches alone.
    "structured" estimates where lesions are hit, missed and invented, and combines the four counts
    by the formula of L-F1 (eq. 4); it takes any patch whose edge is a multiple of 8.
    """

    def __init__(self, form: Form = "structured", patch: int = 64) -> None:
        super().__init__()
        self.form, self.patch = form, patch
        self.network: nn.Module
        match form:
            case "structured":
                self.network = _DensityNetwork()
            case "published":
                self.network = _published_network(patch)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(
        self, probability: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
    ) -> Float[Tensor, " batch"]:
        """Estimate one score per sample."""
        return self.estimate(probability, truth).f1

    def estimate(
        self, probability: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
    ) -> Estimate:
        """Estimate one score per sample, with the density maps it was counted from."""
        channels = torch.cat([probability, truth, probability * truth], dim=1)
        channels = channels.to(memory_format=torch.channels_last_3d)
        output = self.network(channels).float()
        if self.form == "published":
            return Estimate(_limit(output[:, 0]), None)
        return Estimate(lesion_f1(output, truth), output)


def lesion_f1(
    roots: Float[Tensor, "batch 4 i j k"], truth: Float[Tensor, "batch 1 d h w"]
) -> Float[Tensor, " batch"]:
    """Combine square roots of lesion densities into L-F1; 1 where no lesion is counted.

    Truth lesions are counted where the truth is: elsewhere their density is known to be 0.
    """
    there = functional.max_pool3d(truth.float(), STRIDE)
    squared = functional.relu(roots).square()
    hit_truth, missed_truth = (squared[:, :2] * there).sum(dim=(2, 3, 4)).unbind(1)
    hit_predicted, false_predicted = squared[:, 2:].sum(dim=(2, 3, 4)).unbind(1)
    ltpr = (hit_truth + _COUNT_FLOOR) / (hit_truth + missed_truth + _COUNT_FLOOR)
    lppv = (hit_predicted + _COUNT_FLOOR) / (hit_predicted + false_predicted + _COUNT_FLOOR)
    return 2 * ltpr * lppv / (ltpr + lppv)


def _limit(score: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Limit to [0, 1] while the gradient stays that of the linear output."""
    return score + (score.clamp(0, 1) - score).detach()


class _DensityNetwork(nn.Module):
    """Small U-Net from full resolution to the four density maps at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        # 2³ voxels become channels: full detail at an eighth of the cost of full resolution
        self.fine = nn.Sequential(_block(24, 24), _block(24, 24))
        self.middle = nn.Sequential(_block(24, 48, stride=2), _block(48, 48))
        self.coarse = nn.Sequential(_block(48, 64, stride=2), _block(64, 64), _block(64, 64))
        self.joined = nn.Sequential(_block(112, 48), _block(48, 48))
        self.head = nn.Conv3d(48, 4, 1, bias=False)
        # nearly no lesion to begin with: thousands of cells add up
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, channels: Float[Tensor, "batch 3 d h w"]) -> Float[Tensor, "batch 4 i j k"]:
        middle = self.middle(self.fine(space_to_channels(channels)))
        coarse = functional.interpolate(self.coarse(middle), scale_factor=2.0)
        roots: Tensor = self.head(self.joined(torch.cat([middle, coarse], dim=1)))
        return roots


def space_to_channels(volume: Float[Tensor, "batch c d h w"]) -> Float[Tensor, "batch e i j k"]:
    """Turn blocks of 2³ voxels into channels: half the edges, eight times the channels."""
    batch, channels, *sides = volume.shape
    i, j, k = (side // 2 for side in sides)
    folded = volume.reshape(batch, channels, i, 2, j, 2, k, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return folded.reshape(batch, channels * 8, i, j, k).to(memory_format=torch.channels_last_3d)


def _published_network(patch: int) -> nn.Sequential:
    """Channel rows 10 20 | 20 20 40 | 40 40 80 | 192 of the figure, then 4096–2048–1024–1.

    How 192 channels at 8³ meet 4096 units is not printed: here a 1³ convolution leaves 8 channels
    of 8³, which are 4096 numbers.
    """
    rows = ((3, 10, 20), (20, 20, 20, 40), (40, 40, 40, 80))
    layers: list[nn.Module] = []
    for row in rows:
        layers += [_block(a, b, groups=5) for a, b in itertools.pairwise(row)]
        layers += [nn.MaxPool3d(2), nn.Dropout3d(0.1)]
    layers += [_block(80, 192, groups=8), nn.Conv3d(192, 8, 1), nn.Flatten()]
    units = 8 * (patch // 8) ** 3
    layers += [nn.Linear(units, 2048), nn.ReLU(), nn.Linear(2048, 1024), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(1024, 1))


def _block(inputs: int, outputs: int, stride: int = 1, groups: int = 8) -> nn.Sequential:
    convolution = nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(groups, outputs), nn.ReLU())
