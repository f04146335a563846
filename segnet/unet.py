"""Two-timepoint 3D U-Nets."""

import torch
from jaxtyping import Float
from monai.networks.nets import BasicUNet, SegResNet
from torch import Tensor, nn
from torch.nn import functional

from metricnet.estimator import space_to_channels
from segnet.config import Network

# at the start a voxel is a new lesion with a probability of 2 %: the Dice loss of a map of one half
# everywhere hardly has a gradient
_FIRST_LOGIT = -4.0


class TwoVisitUNet(nn.Module):
    """A U-Net from two FLAIR channels to one logit per voxel, with a bias that starts low.

    With `is_strided`, blocks of 2³ voxels become channels on the way in, and logits are
    interpolated on the way out: transposed convolutions were seen to draw lesions in stripes.
    """

    def __init__(self, unet: nn.Module, is_strided: bool) -> None:
        super().__init__()
        self.unet, self.is_strided = unet, is_strided
        self.bias = nn.Parameter(torch.tensor(_FIRST_LOGIT))

    def forward(self, visits: Float[Tensor, "batch 2 d h w"]) -> Float[Tensor, "batch 1 d h w"]:
        """Return the logits of a new lesion; visits are normalised scans."""
        if not self.is_strided:
            logits: Tensor = self.unet(visits.to(memory_format=torch.channels_last_3d))
            return logits + self.bias
        logits = self.unet(space_to_channels(visits)) + self.bias
        return functional.interpolate(logits.float(), scale_factor=2.0, mode="trilinear")


def build_unet(network: Network, channels: int) -> TwoVisitUNet:
    """Return a U-Net from two FLAIR channels to one logit per voxel.

    "full_resolution" convolves at full resolution, as published U-Nets do; "strided" works from
    half the resolution on, with residual blocks, and is some ten times faster on a CPU. The
    patch's edge must be a multiple of 16. `channels` is the number at the first level.
    """
    unet: nn.Module
    match network:
        case "full_resolution":
            widths = tuple(channels * factor for factor in (1, 1, 2, 4, 8, 1))
            unet = BasicUNet(
                3, 2, 1, features=widths, norm=("group", {"num_groups": channels // 2})
            )
        case "strided":
            unet = SegResNet(
                spatial_dims=3,
                init_filters=channels,
                in_channels=2 * 2**3,
                out_channels=1,
                # group norm took half of a step: its backward pass is slow on CPUs
                norm=("INSTANCE", {"affine": True}),
                blocks_down=(1, 2, 2),
                blocks_up=(1, 1),
            )
    unet.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return TwoVisitUNet(unet, is_strided=network == "strided")
