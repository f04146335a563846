"""What the page's slice viewer is fed with: both visits as mosaics, masks as runs, lesions."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.image import imsave

from datagen import volumes
from datagen.boxes import foreground_box
from datagen.volumes import Grid

_MARGIN_VOXELS = 3
_LARGEST_SIDE = 320  # pixels of a slice; larger ones are thinned out
_QUALITY = 82
_LESION_COLUMNS = (
    "rule",
    "side",
    "id",
    "outcome",
    "volume_mm3",
    "partners",
    "peak_probability",
    "mean_probability",
)


def pack_case(sources: Sequence[Mapping[str, str]], lesions: Sequence[Mapping[str, str]]) -> str:
    """Return one case as JSON: its scans, the truth, and each method's prediction and lesions.

    `sources` are the rows of `sources.csv` of the case, one per method, `lesions` its rows of
    `lesions.csv`; a case without a truth has none in its JSON either. All is cut to what the scans
    show and brought to closest-canonical orientation; rows of a slice run from front to back,
    columns from the patient's left to right. Raises InputError where a volume cannot be read.
    """
    truth = _mask(sources[0]["truth"]) if sources[0]["truth"] else None
    found = {row["method"]: _mask(row["prediction"]) for row in sources}
    placed = truth or next(iter(found.values()))
    scans = [_scan(sources[0][visit], placed) for visit in ("time1", "time2")]
    wanted = None if truth is None else volumes.canonical_data(truth) > 0
    predictions = {method: volumes.canonical_data(mask) > 0 for method, mask in found.items()}
    box = _box(scans, [*([] if wanted is None else [wanted]), *predictions.values()])
    grid = volumes.canonical_grid(placed)
    cut = grid.cropped(box)
    packed = {
        "name": sources[0]["case"],
        "size": [side.stop - side.start for side in box],
        "spacing": [round(side, 4) for side in cut.spacing_mm],
        "visits": [None if scan is None else _mosaic(scan[box]) for scan in scans],
        "truth": None if wanted is None else _runs(wanted[box]),
        "methods": [
            {
                "name": method,
                "mask": _runs(mask[box]),
                "lesions": [_lesion(row, cut) for row in lesions if row["method"] == method],
            }
            for method, mask in predictions.items()
        ],
    }
    return json.dumps(packed, ensure_ascii=False, separators=(",", ":"))


def _lesion(row: Mapping[str, str], grid: Grid) -> dict[str, Any]:
    """A row of `lesions.csv`, numbers as they are written there, and its place in the slices."""
    place_mm = [float(row[f"{axis}_mm"]) for axis in "xyz"]
    x, y, z = nib.affines.apply_affine(np.linalg.inv(grid.affine), place_mm)
    at = [round(float(x), 1), round(grid.shape[1] - 1 - float(y), 1), round(float(z))]
    return {**{column: row[column] for column in _LESION_COLUMNS}, "at": at}


def _mask(path: str) -> nib.Nifti1Image:
    """Read a mask, or a volume of labels, which are shown alike."""
    image = volumes.read_image(Path(path))
    return nib.Nifti1Image((np.asanyarray(image.dataobj) > 0).astype(np.uint8), image.affine)


def _scan(path: str, mask: nib.Nifti1Image) -> Float[np.ndarray, "x y z"] | None:
    """Voxels of a scan; None where there is none, or it does not lie where a mask does."""
    if not path:
        return None
    image = volumes.read_image(Path(path))
    if not volumes.same_grid(image, mask):
        return None
    return volumes.canonical_data(image).astype(np.float32)


def _box(
    scans: Sequence[Float[np.ndarray, "x y z"] | None], masks: Sequence[Bool[np.ndarray, "x y z"]]
) -> tuple[slice, slice, slice]:
    """Box of all that is shown, with a margin."""
    shown = np.logical_or.reduce(masks)
    for scan in scans:
        if scan is not None:
            shown |= scan > scan.min()
    x, y, z = (
        slice(max(side.start - _MARGIN_VOXELS, 0), min(side.stop + _MARGIN_VOXELS, length))
        for side, length in zip(foreground_box(shown), shown.shape, strict=True)
    )
    return x, y, z


def _mosaic(scan: Float[np.ndarray, "x y z"]) -> dict[str, Any]:
    """All slices side by side in one picture of 8 bits, from dark to bright tissue."""
    step = math.ceil(max(scan.shape[:2]) / _LARGEST_SIDE)
    slices = _as_bytes(scan)[::step, ::-step].transpose(2, 1, 0)
    count, height, width = slices.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tiles = np.zeros((rows * columns, height, width), np.uint8)
    tiles[:count] = slices
    lines = tiles.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    picture = np.ascontiguousarray(lines).reshape(rows * height, columns * width)
    stream = io.BytesIO()
    colours = np.repeat(picture[..., None], 3, axis=2)
    imsave(stream, colours, format="webp", pil_kwargs={"quality": _QUALITY, "method": 2})
    address = "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
    return {"source": address, "columns": columns, "width": width, "height": height}


def _as_bytes(scan: Float[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "x y z"]:
    signal = scan[scan > scan.min()]
    if not signal.size:
        return np.zeros(scan.shape, np.uint8)
    low, high = np.percentile(signal, [0.2, 99.9])
    scaled = (scan - low) / max(float(high - low), 1e-6)
    scaled_bytes: np.ndarray = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return scaled_bytes


def _runs(mask: Bool[np.ndarray, "x y z"]) -> dict[str, list[int]]:
    """Runs of foreground in each slice that has any: start, length, start, length, ..."""
    runs = {}
    for level in np.flatnonzero(mask.any(axis=(0, 1))):
        row = mask[:, ::-1, level].T.ravel()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
        starts, stops = edges[::2], edges[1::2]
        runs[str(level)] = np.stack([starts, stops - starts], axis=1).ravel().tolist()
    return runs
