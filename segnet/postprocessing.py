"""What may be done to a label volume after prediction: closing, and the largest components."""

import cc3d
import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

_ROUNDING = 1e-6  # spacings of files are rounded


def close_gaps(
    labels: UInt8[np.ndarray, "x y z"], radius_mm: float, spacing_mm: tuple[float, float, float]
) -> UInt8[np.ndarray, "x y z"]:
    """Close gaps of each class by a ball (morphological closing); 0 mm changes nothing.

    Only background becomes a class, in the order of the labels. What touches the image's border
    goes on beyond it, so that the border neither opens nor closes anything. A ball smaller than a
    voxel's edge closes nothing along that axis.
    """
    closed = labels.copy()
    ball = _ball(radius_mm, spacing_mm)
    reach = [(side // 2, side // 2) for side in ball.shape]
    inner = tuple(
        slice(low, low + size) for (low, _), size in zip(reach, labels.shape, strict=True)
    )
    for label in np.unique(labels[labels > 0]):
        mask = ndimage.binary_closing(np.pad(labels == label, reach, mode="edge"), ball)[inner]
        closed[mask & (closed == 0)] = label
    return closed


def keep_largest(labels: UInt8[np.ndarray, "x y z"], count: int) -> UInt8[np.ndarray, "x y z"]:
    """Keep the `count` largest components (26 neighbours, one class each) of the whole volume.

    All where there are no more; of equally large ones, those that come first in the volume.
    """
    components = cc3d.connected_components(labels, connectivity=26)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    kept = np.argsort(-sizes, kind="stable")[:count]
    keep = np.zeros(sizes.size, bool)
    keep[kept] = sizes[kept] > 0
    largest: np.ndarray = np.where(keep[components], labels, 0).astype(np.uint8)
    return largest


def _ball(radius_mm: float, spacing_mm: tuple[float, float, float]) -> Bool[np.ndarray, "a b c"]:
    radius_mm *= 1 + _ROUNDING
    reach = [int(radius_mm / edge_mm) for edge_mm in spacing_mm]
    axes = [
        np.arange(-count, count + 1) * edge_mm
        for count, edge_mm in zip(reach, spacing_mm, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    ball: np.ndarray = x**2 + y**2 + z**2 <= radius_mm**2
    return ball
