"""Fields over a patch as products of small matrices: smooth noise, blurring, coarse grids."""

import functools

import numpy as np
from jaxtyping import Float32

Volume = Float32[np.ndarray, "_ _ _"]


def smooth_noise(shape: tuple[int, int, int], step: int, rng: np.random.Generator) -> Volume:
    """Normal noise on a grid of `step` voxels, interpolated linearly; of unit deviation there."""
    coarse = [side // step + 2 for side in shape]
    noise = rng.standard_normal(coarse, dtype=np.float32)
    return _along_axes(noise, [_interpolation(side, step) for side in shape])


def blur(volume: Volume, sigma_voxels: float) -> Volume:
    """Gaussian blur; beyond the border the outermost voxels go on."""
    return _along_axes(volume, [_gaussian(side, sigma_voxels) for side in volume.shape])


def coarsen(volume: Volume, step: int) -> Volume:
    """Average over blocks of `step`³ voxels, then interpolate linearly between their centres."""
    return _along_axes(volume, [_coarsening(side, step) for side in volume.shape])


def _along_axes(volume: Volume, matrices: list[Float32[np.ndarray, "_ _"]]) -> Volume:
    first, second, third = matrices
    front = first @ volume.reshape(volume.shape[0], -1)
    middle = second @ front.reshape(len(first), *volume.shape[1:])
    whole: np.ndarray = middle @ third.T
    return whole


@functools.lru_cache
def _interpolation(side: int, step: int) -> Float32[np.ndarray, "_ _"]:
    place = np.arange(side) / step
    return _hat(place, side // step + 2)


@functools.lru_cache
def _coarsening(side: int, step: int) -> Float32[np.ndarray, "_ _"]:
    blocks = -(-side // step)
    averages = np.zeros((blocks, side), np.float32)
    for block in range(blocks):
        inside = slice(block * step, min((block + 1) * step, side))
        averages[block, inside] = 1 / (inside.stop - inside.start)
    place = np.clip((np.arange(side) + 0.5) / step - 0.5, 0, blocks - 1)
    fine: np.ndarray = _hat(place, blocks) @ averages
    return fine


def _hat(place: np.ndarray, nodes: int) -> Float32[np.ndarray, "_ _"]:
    """Weights of linear interpolation at the places between nodes 0, 1, 2, …"""
    weights: np.ndarray = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(nodes)))
    return weights.astype(np.float32)


def _gaussian(side: int, sigma_voxels: float) -> Float32[np.ndarray, "_ _"]:
    reach = round(3 * sigma_voxels) + 1
    places = np.arange(-reach, side + reach)
    weights = np.exp(-0.5 * ((np.arange(side)[:, None] - places) / sigma_voxels) ** 2)
    weights[np.abs(np.arange(side)[:, None] - places) > reach] = 0
    # what lies beyond the border is taken from the outermost voxel
    inner = weights[:, reach:-reach].copy()
    inner[:, 0] += weights[:, :reach].sum(axis=1)
    inner[:, -1] += weights[:, -reach:].sum(axis=1)
    normalised: np.ndarray = (inner / inner.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised
