"""Two-timepoint 3D networks: U-Nets, V-Net, and the architecture of nnU-Net."""

import torch
from jaxtyping import Float
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, VNet
from torch import Tensor, nn
from torch.nn import functional

from datagen.errors import InputError
from metricnet.estimator import space_to_channels
from segnet.config import Network
from segnet.siamese import SiameseSegResNet

# at the start a voxel is a new lesion with a probability of 2 %: the Dice loss of a map of one half
# everywhere hardly has a gradient
_FIRST_LOGIT = -4.0
_VNET_CHANNELS = 16


class TwoVisitUNet(nn.Module):
    """A network from two FLAIR channels to logits per voxel, with a bias that starts low.

    Two classes have one logit, that of the foreground; more have one each, the background's first.
    With `is_strided`, blocks of 2³ voxels become channels on the way in, and logits are
    interpolated on the way out: transposed convolutions were seen to draw lesions in stripes.
    """

    def __init__(self, unet: nn.Module, is_strided: bool, classes: int = 2) -> None:
        super().__init__()
        self.unet, self.is_strided = unet, is_strided
        self.bias = nn.Parameter(_first_logits(classes))

    def forward(
        self, visits: Float[Tensor, "batch 2 d h w"]
    ) -> Float[Tensor, "batch channel d h w"]:
        """Return the logits; visits are normalised scans."""
        if not self.is_strided:
            logits: Tensor = self.unet(visits.to(memory_format=torch.channels_last_3d))
            return logits + self.bias
        logits = self.unet(space_to_channels(visits)) + self.bias
        return functional.interpolate(logits.float(), scale_factor=2.0, mode="trilinear")


def build_unet(network: Network, channels: int, classes: int = 2) -> TwoVisitUNet:
    """Return a network from two FLAIR channels to one logit per voxel, or one per class.

    "siamese" works from half the resolution on, with residual blocks, and has one encoder for both
    visits, whose decoder sees the change of its features; "strided" is that with both visits as
    channels of one scan; "full_resolution" convolves at full resolution, as published U-Nets do;
    "vnet" is V-Net (Milletari et al. 2016), residual throughout; "dynunet" is the architecture of
    nnU-Net with four resolutions below the first, without deep supervision. The patch's edge must
    be a multiple of 16, for the last two above 16. `channels` is the number at the first level.
    Raises InputError for another number than V-Net's.
    """
    outputs = 1 if classes == 2 else classes
    unet: nn.Module
    match network:
        case "full_resolution":
            widths = tuple(channels * factor for factor in (1, 1, 2, 4, 8, 1))
            unet = BasicUNet(
                3, 2, outputs, features=widths, norm=("group", {"num_groups": channels // 2})
            )
        case "strided":
            unet = SegResNet(
                spatial_dims=3,
                init_filters=channels,
                in_channels=2 * 2**3,
                out_channels=outputs,
                # group norm took half of a step: its backward pass is slow on CPUs
                norm=("INSTANCE", {"affine": True}),
                blocks_down=(1, 2, 2),
                blocks_up=(1, 1),
            )
        case "siamese":
            unet = SiameseSegResNet(channels, 2**3, outputs)
        case "vnet":
            if channels != _VNET_CHANNELS:
                raise InputError(f"--channels {channels}: V-Net has {_VNET_CHANNELS}; leave it out")
            unet = VNet(3, in_channels=2, out_channels=outputs)
        case "dynunet":
            unet = DynUNet(
                3,
                2,
                outputs,
                kernel_size=[3] * 5,
                strides=[1, 2, 2, 2, 2],
                upsample_kernel_size=[2] * 4,
                filters=[channels * factor for factor in (1, 2, 4, 8, 10)],
            )
    unet.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return TwoVisitUNet(unet, network in ("strided", "siamese"), classes)


def _first_logits(classes: int) -> Tensor:
    if classes == 2:
        return torch.tensor(_FIRST_LOGIT)
    logits = torch.full((classes, 1, 1, 1), _FIRST_LOGIT)
    logits[0] = 0
    return logits
