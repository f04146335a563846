"""Distance maps of label volumes, computed on the whole volume and kept on disk."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from datagen.errors import InputError
from datagen.files import whole_file
from datagen.lesions import label_lesions
from segnet.choices import MapKind

# changes with the meaning of the maps, so that no older file is read
_VERSION = "1"
_NEIGHBOURS = np.ones((3, 3, 3), bool)


def signed_distance(
    mask: Bool[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]
) -> Float32[np.ndarray, "x y z"]:
    """Euclidean distance to the mask's boundary in mm: negative inside, 0 on the boundary.

    The boundary are the voxels of the mask with a background voxel among their 26 neighbours
    (Celaya et al. 2023); the border of the image is none. An empty mask is as far away as the
    image's diagonal everywhere, a full one has minus that.
    """
    if mask.all() or not mask.any():
        diagonal_mm = float(np.linalg.norm(np.multiply(mask.shape, spacing_mm)))
        return np.full(mask.shape, -diagonal_mm if mask.any() else diagonal_mm, np.float32)
    boundary = mask & ~ndimage.binary_erosion(mask, _NEIGHBOURS, border_value=1)
    distance = ndimage.distance_transform_edt(~boundary, sampling=spacing_mm)
    signed: np.ndarray = np.where(mask, -distance, distance).astype(np.float32)
    return signed


def penalty_map(
    labels: UInt8[np.ndarray, "x y z"], is_normalised: bool
) -> Float32[np.ndarray, "x y z"]:
    """Φ of Calivá et al. 2019: distances to the objects, reverted, in voxels; ≥ 0.

    Outside, the largest distance to any object minus the voxel's own. Inside, the same for the
    distance to the end of the object, for each object (26 neighbours, one class) on its own. So Φ
    is largest along the boundaries. Normalised, each part is divided by its largest distance and
    lies in [0, 1). 0 where there is no object, or no background.
    """
    penalty = np.zeros(labels.shape, np.float32)
    if labels.all() or not labels.any():
        return penalty
    outside = labels == 0
    penalty[outside] = _reverted(outside, np.ones(labels.shape, np.int32), is_normalised)
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        penalty[mask] = _reverted(mask, label_lesions(mask)[0], is_normalised)
    return penalty


def distance_maps(
    labels: UInt8[np.ndarray, "x y z"],
    classes: int,
    spacing_mm: tuple[float, float, float],
    kind: MapKind,
) -> Float32[np.ndarray, "map x y z"]:
    """Maps of one case: a signed distance per class, without or with the background's, or Φ."""
    match kind:
        case "foreground":
            shown = range(1, classes)
        case "classes":
            shown = range(classes)
        case "penalty":
            return penalty_map(labels, is_normalised=False)[None]
        case "normalised_penalty":
            return penalty_map(labels, is_normalised=True)[None]
    return np.stack([signed_distance(labels == label, spacing_mm) for label in shown])


def cached_maps(
    folder: Path,
    labels: UInt8[np.ndarray, "x y z"],
    classes: int,
    spacing_mm: tuple[float, float, float],
    kind: MapKind,
) -> Float32[np.ndarray, "map x y z"]:
    """Return `distance_maps`, from the folder where they lie there already; else keep them there.

    A file is named after the contents of the labels and everything else that the maps depend on.
    Its pages are read from disk as they are needed. Raises InputError where a file is damaged.
    """
    words = (_VERSION, kind, str(classes), str(spacing_mm), str(labels.shape))
    digest = hashlib.sha256(" ".join(words).encode() + labels.tobytes()).hexdigest()
    path = folder / f"{digest[:32]}.npy"
    if not path.is_file():
        with whole_file(path, "--distance-cache") as partial:
            np.save(partial, distance_maps(labels, classes, spacing_mm, kind))
    try:
        maps: np.ndarray = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, it is made anew") from error
    return maps


def _reverted(
    mask: Bool[np.ndarray, "x y z"], objects: np.ndarray, is_normalised: bool
) -> Float32[np.ndarray, " voxels"]:
    """Largest depth of a voxel's object minus its own depth in the mask, in the mask's order."""
    depth = ndimage.distance_transform_edt(mask)[mask]
    owner = objects[mask]
    largest = np.zeros(int(owner.max()) + 1)
    np.maximum.at(largest, owner, depth)
    reverted = largest[owner] - depth
    if is_normalised:
        reverted /= largest[owner]
    found: np.ndarray = reverted.astype(np.float32)
    return found
