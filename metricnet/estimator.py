"""The estimator F̂: networks that map a (probability, truth) pair of patches to its L-F1."""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from datagen.densities import STRIDE
from metricnet.config import Form

# added to hits and lesions: F̂ of no lesions on either side is 1, and a tenth of one lowers it
_FLOOR = 0.01
# the slope of a frozen F̂ is that of the formula with half a lesion more on either side: with less,
# the score falls to 0 with the first false lesion where there are no others, and is flat from there
SLOPE_FLOOR = 0.5
THRESHOLD = 0.5  # from which on a voxel is predicted
MULTIPLE = 8  # of voxels that a patch of the structured form is long


class Estimate(NamedTuple):
    """Estimated scores, and the maps they were counted from.

    `densities` are those of hit and missed truth lesions, of hit and false predicted ones; `output`
    holds four maps on a grid of stride 4: the square root of the density of the truth's
    lesions, the share of it that is hit, the square root of the density of predicted lesions, and
    the share of it that is false; a lesion's density adds up to 1. None in the published form.
    """

    f1: Float[Tensor, " batch"]
    output: Float[Tensor, "batch 4 i j k"] | None
    densities: Float[Tensor, "batch 4 i j k"] | None


class LesionEstimator(nn.Module):
    """CNN estimate of the lesion-wise F1, in [0, 1].

    Both forms see three channels: prediction, truth, and their product (Kamraoui et al. 2021,
    figure 2). "published" follows that figure: convolution blocks with group norm and max pooling
    64 → 32 → 16 → 8, then a fully connected head with a linear output; it takes patches of its own
    size alone. "structured" sees the prediction as the score does, cut at one half, and passes the
    gradient straight through the cut; it estimates where lesions are hit, missed and invented, and
    combines the four counts by the formula of L-F1 (eq. 4); it takes patches whose edges are
    multiples of 8.
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
        return self.estimate(self.shown(probability), truth).f1

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    def shown(self, probability: Float[Tensor, "batch 1 d h w"]) -> Float[Tensor, "batch 1 d h w"]:
        """Return the map as the form sees it: as it is, or cut at one half."""
        return probability if self.form == "published" else cut(probability)

    def estimate(
        self, shown: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
    ) -> Estimate:
        """Estimate one score per sample from a shown map, with the densities it was counted from.

        A map between two cut ones, such as training makes, is scored as if its lesions were there
        in part.
        """
        channels = torch.cat([shown, truth, shown * truth], dim=1)
        channels = channels.to(memory_format=torch.channels_last_3d)
        output = self.network(channels).float()
        if self.form == "published":
            return Estimate(limit(output[:, 0]), None, None)
        counted = densities(output, truth, shown)
        f1 = lesion_f1(counted)
        if not self.training:
            smooth = lesion_f1(counted, SLOPE_FLOOR)
            f1 = smooth + (f1 - smooth).detach()
        return Estimate(f1, output, counted)


def cut(probability: Float[Tensor, "batch 1 d h w"]) -> Float[Tensor, "batch 1 d h w"]:
    """Return 1 from one half on and 0 below, with the gradient of the map itself.

    The exact score sees no more of a map, so nothing below one half can mislead its estimate.
    """
    return probability + ((probability >= THRESHOLD).to(probability) - probability).detach()


def densities(
    output: Float[Tensor, "batch 4 i j k"],
    truth: Float[Tensor, "batch 1 d h w"],
    shown: Float[Tensor, "batch 1 d h w"],
) -> Float[Tensor, "batch 4 i j k"]:
    """Densities of hit and missed truth lesions, of hit and false predicted ones.

    Lesions are counted where their mask is: elsewhere their density is known to be 0. Shares are
    limited to [0, 1] and keep their gradient: a missed lesion is drawn towards being hit.
    """
    truths = functional.relu(output[:, :1]).square() * _reach(truth)
    predicted = functional.relu(output[:, 2:3]).square() * _reach(shown)
    hit, false = limit(output[:, 1:2]), limit(output[:, 3:])
    maps = (truths * hit, truths * (1 - hit), predicted * (1 - false), predicted * false)
    return torch.cat(maps, dim=1)


def lesion_f1(
    densities: Float[Tensor, "batch 4 i j k"], floor: float = _FLOOR, false_weight: float = 1.0
) -> Float[Tensor, " batch"]:
    """Combine lesion densities into L-F1 (Kamraoui et al. 2021, eq. 4); 1 where none is counted.

    `floor` is added to hits and to lesions on either side; each false lesion counts `false_weight`
    times.
    """
    counts = densities.sum(dim=(2, 3, 4))
    hit_truth, missed_truth, hit_predicted, false_predicted = counts.unbind(1)
    ltpr = (hit_truth + floor) / (hit_truth + missed_truth + floor)
    lppv = (hit_predicted + floor) / (hit_predicted + false_weight * false_predicted + floor)
    return 2 * ltpr * lppv / (ltpr + lppv)


def _reach(mask: Float[Tensor, "batch 1 d h w"]) -> Float[Tensor, "batch 1 i j k"]:
    """1 where a block of the densities holds a voxel of the mask."""
    return (functional.max_pool3d(mask.detach().float(), STRIDE) > 1e-4).float()


def limit(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Limit to [0, 1] while the gradient stays that of the linear output."""
    return linear + (linear.clamp(0, 1) - linear).detach()


class _DensityNetwork(nn.Module):
    """Small U-Net from full resolution to the four density maps at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        # 2³ voxels become channels: full detail at an eighth of the cost of full resolution
        self.fine = nn.Sequential(_block(24, 24), _block(24, 24))
        self.middle = nn.Sequential(_block(24, 48, stride=2), _block(48, 48))
        self.coarse = nn.Sequential(_block(48, 64, stride=2), _block(64, 64), _block(64, 64))
        self.joined = nn.Sequential(_block(112, 48), _block(48, 48))
        self.head = nn.Conv3d(48, 4, 1)
        # nearly no lesion to begin with: thousands of cells add up
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

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
        layers += [_published_block(a, b, groups=5) for a, b in itertools.pairwise(row)]
        layers += [nn.MaxPool3d(2), nn.Dropout3d(0.1)]
    layers += [_published_block(80, 192, groups=8), nn.Conv3d(192, 8, 1), nn.Flatten()]
    units = 8 * (patch // 8) ** 3
    layers += [nn.Linear(units, 2048), nn.ReLU(), nn.Linear(2048, 1024), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(1024, 1))


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    # group norm would blow up the only lesion of a patch, however faint, to full size
    convolution = nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs), nn.ReLU())


def _published_block(inputs: int, outputs: int, groups: int) -> nn.Sequential:
    convolution = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(groups, outputs), nn.ReLU())
