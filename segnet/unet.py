"""Two-timepoint 3D U-Nets."""

import torch
from jaxtyping import Float
from monai.networks.nets import BasicUNet, UNet
from torch import Tensor, nn

from segnet.config import Network

# at the start a voxel is a new lesion with a probability of 2 %: the Dice loss of a map of one half
# everywhere hardly has a gradient
_FIRST_LOGIT = -4.0


class TwoVisitUNet(nn.Module):
    """A U-Net from two FLAIR channels to one logit per voxel, with a bias that starts low."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.bias = nn.Parameter(torch.tensor(_FIRST_LOGIT))

    def forward(self, visits: Float[Tensor, "batch 2 d h w"]) -> Float[Tensor, "batch 1 d h w"]:
        """Return the logits of a new lesion; visits are normalised scans."""
        logits: Tensor = self.unet(visits.to(memory_format=torch.channels_last_3d)) + self.bias
        return logits


def build_unet(network: Network, channels: int) -> TwoVisitUNet:
    """Return a U-Net from two FLAIR channels to one logit per voxel.

    "full_resolution" convolves at full resolution, as published U-Nets do; "strided" begins with
    a stride of 2 and is some ten times faster on a CPU. Both halve the patch three times or four:
    its edge must be a multiple of 16. `channels` is the number at the first level.
    """
    unet: nn.Module
    match network:
        case "full_resolution":
            widths = tuple(channels * factor for factor in (1, 1, 2, 4, 8, 1))
            unet = BasicUNet(
                3, 2, 1, features=widths, norm=("group", {"num_groups": channels // 2})
            )
        case "strided":
            unet = UNet(
                3,
                in_channels=2,
                out_channels=1,
                channels=tuple(channels * factor for factor in (1, 2, 4, 8)),
                strides=(2, 2, 2),
                num_res_units=2,
                norm="INSTANCE",
            )
    unet.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return TwoVisitUNet(unet)
