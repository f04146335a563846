"""A network with one encoder for both visits, whose decoder sees the later one and the change."""

import torch
from jaxtyping import Float
from monai.networks.nets import SegResNet
from torch import Tensor, nn


class SiameseSegResNet(SegResNet):
    """SegResNet whose encoder reads each visit by itself, with the same weights.

    At each resolution the decoder gets a 1³ convolution of visit 2's features and their difference
    from visit 1's: what both visits share cannot be taken for a change. Instance norm of each visit
    by itself makes two scanners alike.
    """

    def __init__(self, channels: int, visit_channels: int, outputs: int) -> None:
        blocks_down = (1, 2, 2)
        super().__init__(
            spatial_dims=3,
            init_filters=channels,
            in_channels=visit_channels,
            out_channels=outputs,
            norm=("INSTANCE", {"affine": True}),
            blocks_down=blocks_down,
            blocks_up=(1, 1),
        )
        widths = [channels * 2**level for level in range(len(blocks_down))]
        self.merges = nn.ModuleList(nn.Conv3d(2 * width, width, 1) for width in widths)

    def forward(self, x: Float[Tensor, "batch c i j k"]) -> Float[Tensor, "batch o i j k"]:
        """Return the logits; the first half of the channels is visit 1's, the second visit 2's."""
        _, features = self.encode(torch.cat(x.chunk(2, dim=1)))
        merged = []
        for merge, of_visits in zip(self.merges, features, strict=True):
            before, after = of_visits.chunk(2)
            merged.append(merge(torch.cat([after, after - before], dim=1)))
        merged.reverse()
        logits: Tensor = self.decode(merged[0], merged)
        return logits
