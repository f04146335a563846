"""Distances between the surfaces of two masks, in millimetres, and boundary Dice."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.spatial import cKDTree

TOLERANCES_VOXELS = (1, 2, 3, 4)
_PERCENTILE = 95


class SurfaceScore(NamedTuple):
    """How far the surfaces of two masks lie apart.

    `hd95_mm` is the larger of the two directed 95th percentiles of surface distances, `assd_mm`
    the mean over the distances of both directions, as MONAI defines them: both are 0 where both
    masks are empty, and None, which is "not defined", where one is. `boundary_dice` and its relaxed
    forms (Calivá et al. 2019) are in [0, 1]: 1 where both masks are empty, 0 where one is.
    """

    hd95_mm: float | None
    assd_mm: float | None
    boundary_dice: float
    boundary_dice_1: float
    boundary_dice_2: float
    boundary_dice_3: float
    boundary_dice_4: float


def score_surfaces(
    truth: Bool[np.ndarray, "x y z"],
    prediction: Bool[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
) -> SurfaceScore:
    """Measure the distances between two surfaces.

    A surface voxel is a foreground voxel with a background voxel, or the image's border, among its
    6 neighbours. Boundary Dice is the Dice coefficient of the surfaces. The relaxed form "expands
    boundaries by a certain tolerance" of t voxels, and prints no formula: here a surface voxel
    agrees when it lies within t voxels (Euclidean) of the other surface, and the score is the share
    of agreeing voxels among those of both surfaces; at t = 0 that is boundary Dice.
    """
    surfaces = [np.argwhere(surface_of(mask)) for mask in (truth, prediction)]
    if not all(len(points) for points in surfaces):
        return _of_empty(both=not any(len(points) for points in surfaces))
    to_prediction, to_truth = _distances(surfaces[0], surfaces[1], spacing_mm)
    both = np.concatenate([to_prediction, to_truth])
    in_voxels = both / spacing_mm[0]
    if not np.allclose(spacing_mm, spacing_mm[0], rtol=1e-6):
        in_voxels = np.concatenate(_distances(surfaces[0], surfaces[1], (1.0, 1.0, 1.0)))
    # distances of whole voxels carry rounding errors once a spacing was divided out
    agreeing = [float(np.mean(in_voxels <= t + 1e-6)) for t in (0, *TOLERANCES_VOXELS)]
    hd95_mm = max(np.percentile(side, _PERCENTILE) for side in (to_prediction, to_truth))
    return SurfaceScore(float(hd95_mm), float(both.mean()), *agreeing)


def volume_hd95_mm(
    truth: Bool[np.ndarray, "x y z"],
    prediction: Bool[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
    empty_mm: float,
) -> float:
    """HD95 as the public code of Celaya et al. (2023) measures it.

    The percentile runs over all foreground voxels, 0 for each that lies in the other mask, not over
    surfaces: their tables cannot be compared with a surface HD95. 0 where both masks are empty;
    where one is, `empty_mm`, for which that code takes the diagonal of the image.
    """
    sizes = [int(np.count_nonzero(mask)) for mask in (truth, prediction)]
    if not all(sizes):
        return empty_mm if any(sizes) else 0.0
    directed = [
        _directed_volume_hd95(one, other, spacing_mm)
        for one, other in ((truth, prediction), (prediction, truth))
    ]
    return max(directed)


def surface_of(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Foreground voxels with a background voxel, or the border, among their 6 neighbours."""
    padded = np.pad(mask, 1)
    inner = slice(1, -1)
    inside: np.ndarray = mask.copy()
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            inside &= padded[tuple(side if other == axis else inner for other in range(3))]
    surface: np.ndarray = mask & ~inside
    return surface


def _of_empty(both: bool) -> SurfaceScore:
    agreeing = [float(both)] * (1 + len(TOLERANCES_VOXELS))
    distance_mm = 0.0 if both else None
    return SurfaceScore(distance_mm, distance_mm, *agreeing)


def _distances(
    first: Integer[np.ndarray, "a 3"],
    second: Integer[np.ndarray, "b 3"],
    spacing_mm: tuple[float, float, float],
) -> tuple[Float[np.ndarray, " a"], Float[np.ndarray, " b"]]:
    """Distance of each point to the nearest of the other points, in both directions."""
    places = (first * np.array(spacing_mm), second * np.array(spacing_mm))
    # an exact distance map costs seconds on a whole brain; lesions have few surface voxels
    return (_nearest(places[1], places[0]), _nearest(places[0], places[1]))


def _nearest(points: np.ndarray, queries: np.ndarray) -> Float[np.ndarray, " queries"]:
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    distances: np.ndarray = tree.query(queries)[0]
    return distances


def _directed_volume_hd95(
    mask: Bool[np.ndarray, "x y z"],
    other: Bool[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
) -> float:
    outside = np.argwhere(mask & ~other) * np.array(spacing_mm)
    distances = np.zeros(int(np.count_nonzero(mask)))
    if len(outside):
        # from outside, the nearest voxel of a mask lies on its surface
        surface = np.argwhere(surface_of(other)) * np.array(spacing_mm)
        distances[: len(outside)] = _nearest(surface, outside)
    return float(np.percentile(distances, _PERCENTILE))
