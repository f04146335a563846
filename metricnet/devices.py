"""Where tensors are computed, and how precisely."""

import os
from typing import Literal

import torch

from metricnet.config import Precision


def usual_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def turn_of(number: int) -> dict[str, str]:
    """Environment of a program that is to have one of several GPUs, in turn by its number."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if there < 2:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(there)))
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[number % there]}


def resolve_precision(precision: Precision, device: str | None = None) -> Literal["32", "bf16"]:
    """Choose bf16 where a device, "cpu" or "cuda", computes in it; else 32 bits.

    Without `device` it is the GPU where there is one.
    """
    if precision != "auto":
        return precision
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    return "bf16" if torch.cpu.get_capabilities().get("avx512_bf16", False) else "32"
