"""Half precision ends at the door of every loss: sums over a patch overflow or round in it."""

import torch
from torch import Tensor


def widen(tensor: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32; float32 and float64 stay as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
