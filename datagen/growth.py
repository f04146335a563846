"""Lesions that grow: where one began, and what of its growth counts as a new lesion."""

import cc3d
import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from datagen.decomposition import Patch

_LEAST_MM3 = 3.0
_ROUNDING = 1e-4  # voxels: spacings of files are rounded
_CORE_SHARE = (0.3, 0.85)


def draw_core(lesion: Patch, rng: np.random.Generator) -> Patch:
    """Return a part of a lesion, 30 to 85 % of its volume: it grew from there, mostly one way."""
    # a voxel beyond each face is none of it
    depth = ndimage.distance_transform_edt(np.pad(lesion.mask, 1))[1:-1, 1:-1, 1:-1]
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    along = np.tensordot(direction, np.indices(lesion.mask.shape), axes=1)
    score = depth + rng.uniform(0, 1.5) * along
    core = lesion.mask & (score >= np.quantile(score[lesion.mask], 1 - rng.uniform(*_CORE_SHARE)))
    # the brightness of a voxel outside goes with the nearer of core and rest
    rest = lesion.mask & ~core
    nearer = ndimage.distance_transform_edt(~core) <= ndimage.distance_transform_edt(~rest)
    weight = ndimage.gaussian_filter(nearer.astype(np.float32), 0.6)
    return Patch((weight * lesion.excess).astype(np.float32), core)


def drop_crumbs(
    mask: Bool[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]
) -> Bool[np.ndarray, "x y z"]:
    """Remove components (26 neighbours) of less than 3 mm³, such as shells of growth leave."""
    voxels = int(np.ceil(_LEAST_MM3 / float(np.prod(spacing_mm)) - _ROUNDING))
    kept: np.ndarray = cc3d.dust(mask.astype(np.uint8), threshold=voxels, connectivity=26)
    return kept.astype(bool)
