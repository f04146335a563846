"""Derivatives of maps along the axes of space, by differences of neighbouring voxels."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from segnet.choices import Difference


def derivative(
    values: Float[Tensor, "batch class d h w"], axis: int, difference: Difference = "forward"
) -> Float[Tensor, "batch class d h w"]:
    """Derivative along an axis of space (0, 1 or 2), per voxel; the border voxel is repeated.

    "forward", `f(x + 1) − f(x)`, sees every pair of neighbours once, so a checkerboard is rough to
    it and a lesion of one voxel has a derivative at that voxel. "central",
    `(f(x + 1) − f(x − 1)) / 2`, is 0 in both places. "sobel" is the usual kernel without
    normalisation: the difference of the two neighbours, smoothed by 1-2-1 along both other axes,
    32 times the derivative of a ramp.
    """
    match difference:
        case "forward":
            return _at(values, axis, 1) - values
        case "central":
            return (_at(values, axis, 1) - _at(values, axis, -1)) / 2
        case "sobel":
            for other in {0, 1, 2} - {axis}:
                values = _at(values, other, -1) + 2 * values + _at(values, other, 1)
            return _at(values, axis, 1) - _at(values, axis, -1)


def laplacian(values: Float[Tensor, "batch class d h w"]) -> Float[Tensor, "batch class d h w"]:
    """Sum of the second derivatives, `Σ_axes f(x + 1) − 2 f(x) + f(x − 1)`: six neighbours.

    It is the backward difference of the forward difference; the border voxel is repeated.
    """
    sums = [_at(values, axis, 1) + _at(values, axis, -1) for axis in range(3)]
    return sums[0] + sums[1] + sums[2] - 6 * values


def _at(values: Tensor, axis: int, offset: Literal[-1, 1]) -> Tensor:
    """Values one voxel further along an axis; at the border, the border's own."""
    size = values.shape[axis + 2]
    if offset == 1:
        parts = [values.narrow(axis + 2, 1, size - 1), values.narrow(axis + 2, size - 1, 1)]
    else:
        parts = [values.narrow(axis + 2, 0, 1), values.narrow(axis + 2, 0, size - 1)]
    return torch.cat(parts, axis + 2)
