"""Changes of training patches: what scanners, slices and heads do to an image, and warps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from monai.transforms import (
    RandAdjustContrast,
    RandBiasField,
    RandGaussianSmooth,
    RandHistogramShift,
    RandRicianNoise,
)
from scipy.spatial.transform import Rotation
from torch.nn import functional

from segnet.choices import Augmentation

Visit = Float32[np.ndarray, "d h w"]
Change = Callable[[Visit, np.random.Generator], Visit]

# a scan without signal lies about five deviations below the brain's median
_BLACK_Z = -5.0
_WARP_SHARE, _SCANNER_SHARE = 0.4, 0.3
WARP_MARGIN = 12  # voxels that a warp may fetch from beyond the patch, on each side
_RADIANS, _BEND_VOXELS = 0.2, 1.5
_ROUNDING, _SAMPLED = 1e-3, 7  # every seventh voxel tells the quartiles


class Volumes(NamedTuple):
    """One patch: both visits, its labels, and the distance maps that go with the labels.

    `outside` is what each visit holds beyond the brain.
    """

    visits: tuple[Visit, Visit]
    labels: np.ndarray
    maps: Sequence[np.ndarray] = ()
    outside: tuple[float, float] = (_BLACK_Z, _BLACK_Z)


def augment(volumes: Volumes, strength: Augmentation, rng: np.random.Generator) -> Volumes:
    """Mirror a patch and change what its visits look like; labels and maps turn along.

    "none" returns the patch as it is. "light" mirrors it, and changes gain, offset and noise of
    each visit a little. "full" adds blur, thick slices, ghosting, a bias field, contrast and noise,
    each of a visit on its own and seldom all at once, and at times another scanner for one visit
    alone; the brain keeps its median and quartile distance, as scans are normalised after all of
    that, and what lies beyond it stays. Warps come before, where patches are cut: see `warp`. Same
    rng state, same patch.
    """
    if strength == "none":
        return volumes
    mirrored = mirror(volumes, rng)
    first, second = mirrored.visits
    if strength == "full":
        elsewhere = int(rng.integers(2)) if rng.random() < _SCANNER_SHARE else None
        first, second = (
            _worsened(visit, outside, number == elsewhere, rng)
            for number, (visit, outside) in enumerate(
                zip(mirrored.visits, volumes.outside, strict=True)
            )
        )
    visits = (change_contrast(first, rng), change_contrast(second, rng))
    return mirrored._replace(visits=visits)


def mirror(volumes: Volumes, rng: np.random.Generator) -> Volumes:
    """Mirror along each axis with a probability of one half; distances stay as they are."""
    turn = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in range(3))
    first, second = (np.ascontiguousarray(visit[turn]) for visit in volumes.visits)
    maps = [np.ascontiguousarray(one[turn]) for one in volumes.maps]
    labels = np.ascontiguousarray(volumes.labels[turn])
    return Volumes((first, second), labels, maps, volumes.outside)


def warps(strength: Augmentation, has_maps: bool, rng: np.random.Generator) -> bool:
    """Tell whether a draw is to be warped: two in five at "full".

    Never where distance maps come along: a warp changes distances, and they are measured on the
    whole volume, so that no map of a patch could be made anew.
    """
    return strength == "full" and not has_maps and bool(rng.random() < _WARP_SHARE)


def warp(volumes: Volumes, patch: int, rng: np.random.Generator) -> Volumes:
    """Rotate by up to 0.2 radians, scale by up to 10 %, bend, and cut to the central `patch`³.

    The bend moves control points 16 voxels apart by 1.5 voxels (standard deviation); MONAI's
    elastic transform, which blurs noise at full resolution, took more than twenty times as long.
    Visits are interpolated linearly. A voxel takes the label of the nearest voxel that it comes
    from, so a lesion of a voxel or two can vanish. Raises ValueError where maps come along.
    """
    if volumes.maps:
        raise ValueError("a warp changes distances: leave the maps out")
    angles, scales = rng.uniform(-_RADIANS, _RADIANS, 3), rng.uniform(0.9, 1.1, 3)
    matrix = torch.from_numpy(Rotation.from_euler("xyz", angles).as_matrix() * scales).float()
    nodes = patch // 16 + 1
    bend = torch.from_numpy(rng.normal(0, _BEND_VOXELS, (1, 3, nodes, nodes, nodes))).float()
    bend = functional.interpolate(bend, (patch,) * 3, mode="trilinear", align_corners=True)[0]
    axis = torch.arange(patch) - (patch - 1) / 2
    offsets = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    places = torch.einsum("ij,jxyz->ixyz", matrix, offsets) + bend
    # from the centre, in voxels, to what grid_sample counts in: half edges, the last axis first
    grid = (2 * places / volumes.labels.shape[0]).flip(0).movedim(0, -1)[None]
    scans = torch.from_numpy(np.stack(volumes.visits))[None]
    labels = torch.from_numpy(volumes.labels.astype(np.float32))[None, None]
    bent = functional.grid_sample(scans, grid, "bilinear", "border", align_corners=False)[0].numpy()
    marked = functional.grid_sample(labels, grid, "nearest", "border", align_corners=False)[0, 0]
    turned = marked.numpy().astype(volumes.labels.dtype)
    return Volumes((bent[0], bent[1]), turned, (), volumes.outside)


def change_contrast(visit: Visit, rng: np.random.Generator) -> Visit:
    """Change one visit's gain, offset and noise a little, in units of the brain's deviation."""
    gain, offset = rng.uniform(0.9, 1.1), rng.uniform(-0.15, 0.15)
    noise = rng.standard_normal(visit.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.1))
    changed: np.ndarray = visit * np.float32(gain) + np.float32(offset) + noise
    return changed


def change_quality(visit: Visit, rng: np.random.Generator) -> Visit:
    """Worsen one visit: each change comes on its own, with the probability in `_CHANGES`."""
    for change, share in _CHANGES:
        if rng.random() < share:
            visit = change(visit, rng)
    return visit


def thicken_slices(visit: Visit, rng: np.random.Generator) -> Visit:
    """Average over slabs of 2 to 4 voxels along one axis, interpolated between their centres."""
    slab, axis = int(rng.integers(2, 5)), int(rng.integers(3))
    kernel = [slab if side == axis else 1 for side in range(3)]
    whole = torch.from_numpy(visit)[None, None]
    averages = functional.avg_pool3d(whole, kernel, ceil_mode=True)
    # by whole factors, and cut: to the patch's own shape, the slabs' centres would be moved
    wide = functional.interpolate(averages, scale_factor=kernel, mode="trilinear")
    thick: np.ndarray = wide[0, 0].numpy()[tuple(slice(side) for side in visit.shape)]
    return np.ascontiguousarray(thick)


def add_ghosts(visit: Visit, rng: np.random.Generator) -> Visit:
    """Add the echoes of a head that moved periodically: every n-th line of one axis is weaker.

    The lines in the middle, which hold the contrast, stay.
    """
    axis, every = int(rng.integers(3)), int(rng.integers(2, 5))
    weakening = rng.uniform(0.1, 0.35)
    lines = np.fft.rfft(visit - _BLACK_Z, axis=axis)
    weights = np.ones(lines.shape[axis])
    weights[every::every] -= weakening
    weights[:2] = 1
    shape = [-1 if side == axis else 1 for side in range(3)]
    ghosted = np.fft.irfft(lines * weights.reshape(shape), visit.shape[axis], axis=axis)
    changed: np.ndarray = (ghosted + _BLACK_Z).astype(np.float32)
    return changed


def blur(visit: Visit, rng: np.random.Generator) -> Visit:
    """Blur by a Gaussian of 0.3 to 1 voxels, along each axis on its own."""
    return _by_monai(RandGaussianSmooth(*((0.3, 1.0),) * 3, prob=1.0), visit, rng)


def add_noise(visit: Visit, rng: np.random.Generator) -> Visit:
    """Add Rician noise of up to 0.3 deviations to the scan's magnitude."""
    return _on_signal(RandRicianNoise(prob=1.0, std=0.3, sample_std=True), visit, rng)


def bias(visit: Visit, rng: np.random.Generator) -> Visit:
    """Multiply the signal by the exponential of a polynomial of the place, of third degree."""
    return _on_signal(RandBiasField(degree=3, coeff_range=(-0.05, 0.05), prob=1.0), visit, rng)


def change_gamma(visit: Visit, rng: np.random.Generator) -> Visit:
    """Bend the intensities between the darkest and the brightest by an exponent of 0.7 to 1.5."""
    return _by_monai(RandAdjustContrast(prob=1.0, gamma=(0.7, 1.5)), visit, rng)


def change_scanner(visit: Visit, rng: np.random.Generator) -> Visit:
    """Scan one visit elsewhere: other intensities of the tissues, gamma, sharpness and bias."""
    shifted = _by_monai(RandHistogramShift(num_control_points=(5, 8), prob=1.0), visit, rng)
    for change in (change_gamma, blur, bias):
        shifted = change(shifted, rng)
    return shifted


def _worsened(visit: Visit, outside: float, is_elsewhere: bool, rng: np.random.Generator) -> Visit:
    """Change the quality of a visit's brain, maybe on another scanner, and normalise it again."""
    changed = change_quality(visit, rng)
    if is_elsewhere:
        changed = change_scanner(changed, rng)
    brain = visit > outside + _ROUNDING
    if changed is visit or not brain.any():
        return visit
    lower, middle, upper = np.percentile(visit[brain][::_SAMPLED], (25, 50, 75))
    low, median, high = np.percentile(changed[brain][::_SAMPLED], (25, 50, 75))
    scale = np.clip((upper - lower) / max(high - low, 1e-3), 0.5, 2)
    normalised: np.ndarray = np.where(brain, (changed - median) * scale + middle, visit)
    return normalised.astype(np.float32)


def _by_monai(transform: Callable, visit: Visit, rng: np.random.Generator) -> Visit:
    transform.set_random_state(_draw_seed(rng))  # type: ignore[attr-defined]
    changed = transform(torch.from_numpy(visit)[None])
    result: np.ndarray = np.ascontiguousarray(np.asarray(changed)[0], np.float32)
    return result


def _on_signal(transform: Callable, visit: Visit, rng: np.random.Generator) -> Visit:
    """Apply a change that is meant for magnitudes, whose zero is black."""
    changed: np.ndarray = _by_monai(transform, visit - np.float32(_BLACK_Z), rng)
    return changed + np.float32(_BLACK_Z)


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**32))


_CHANGES: tuple[tuple[Change, float], ...] = (
    (blur, 0.2),
    (thicken_slices, 0.25),
    (add_ghosts, 0.1),
    (bias, 0.2),
    (change_gamma, 0.2),
    (add_noise, 0.2),
)
