"""All lesions of the source masks, laid out on disk so that any worker can draw from them.

| file | holds |
|---|---|
| index.json | case, patient and split of each source, in order |
| 0000.npz | `corners` and `shapes` of each lesion's box, and all `fields` end to end |

The masks themselves are not kept: inside a lesion its field is negative. A field is the signed
distance to the lesion's surface in sixteenths of a voxel, within a box that reaches four voxels
beyond the lesion.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import cc3d
import numpy as np
from jaxtyping import Bool, Float32, Int8, Integer
from scipy import ndimage

from datagen.files import whole_file, write_json
from datagen.layouts import Split
from datagen.lesions import label_lesions
from datagen.sources import SourceFile, read_source

MARGIN = 4  # voxels around a lesion within which its distance is known
_STEPS = 16  # of a voxel
_FLIPS = itertools.product((slice(None), slice(None, None, -1)), repeat=3)
_TURNS = tuple(itertools.product(itertools.permutations(range(3)), _FLIPS))


class Source(NamedTuple):
    """The lesions of one mask: where the box around each lies, and the distances within."""

    case: str
    patient: str
    split: str
    corners: Integer[np.ndarray, "lesions 3"]
    shapes: Integer[np.ndarray, "lesions 3"]
    fields: Int8[np.ndarray, " voxels"]
    ends: tuple[int, ...]  # of each lesion's field

    def field(self, lesion: int) -> Float32[np.ndarray, "a b c"]:
        """Signed distance in voxels around a lesion, numbered from 0; negative inside."""
        stored = self.fields[self.ends[lesion - 1] if lesion else 0 : self.ends[lesion]]
        return stored.reshape(self.shapes[lesion]).astype(np.float32) / np.float32(_STEPS)


class Bank(NamedTuple):
    """Every source, and which lesions each split may borrow: rows of (source, lesion)."""

    sources: tuple[Source, ...]
    lesions: dict[str, Integer[np.ndarray, "lesions 2"]]

    @property
    def with_lesions(self) -> tuple[Source, ...]:
        """Sources that hold a lesion."""
        return tuple(source for source in self.sources if len(source.corners))

    def borrow(self, split: str, rng: np.random.Generator) -> Float32[np.ndarray, "a b c"]:
        """Draw a lesion's field from patients of one side of the split, turned at random."""
        choices = self.lesions[split]
        source, lesion = choices[rng.integers(len(choices))].tolist()
        axes, flips = _TURNS[int(rng.integers(len(_TURNS)))]
        turned: np.ndarray = self.sources[source].field(lesion).transpose(axes)[flips]
        return turned


def store_source(file: SourceFile, spacing_mm: float, folder: Path, number: int) -> int:
    """Read one mask at the working spacing and lay out its lesions; return how many there are."""
    mask = read_source(file, spacing_mm)
    labels, count = label_lesions(mask)
    boxes = cc3d.statistics(labels)["bounding_boxes"][1:]
    corners = [[side.start - MARGIN for side in box] for box in boxes]
    fields = [
        signed_distance(np.pad(labels[box] == index + 1, MARGIN)) for index, box in enumerate(boxes)
    ]
    stored = [_as_steps(field).ravel() for field in fields]
    with whole_file(folder / f"{number:04d}.npz") as partial:
        np.savez(
            partial,
            corners=np.array(corners, np.int32).reshape(count, 3),
            shapes=np.array([field.shape for field in fields], np.int32).reshape(count, 3),
            fields=np.concatenate([np.zeros(0, np.int8), *stored]),
        )
    return count


def write_index(files: Sequence[SourceFile], folder: Path) -> None:
    """Name the sources; a bank is whole once it has its index."""
    names = [[file.case, file.patient, file.split] for file in files]
    write_json(folder / "index.json", names)


def open_bank(folder: Path) -> Bank:
    """Open a bank that is whole."""
    names = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    sources = tuple(_open_source(folder, number, name) for number, name in enumerate(names))
    lesions = {
        split: np.array(
            [
                (number, lesion)
                for number, source in enumerate(sources)
                if source.split == split
                for lesion in range(len(source.corners))
            ]
        )
        for split in get_args(Split)
    }
    everybody = np.concatenate([rows for rows in lesions.values() if len(rows)])
    # a split that has no patients, or none with a lesion, borrows from the others
    return Bank(
        sources, {split: rows if len(rows) else everybody for split, rows in lesions.items()}
    )


def signed_distance(lesion: Bool[np.ndarray, "a b c"]) -> Float32[np.ndarray, "a b c"]:
    """Distance in voxels to the surface between inside and outside, negative inside."""
    outside = ndimage.distance_transform_edt(~lesion)
    inside = ndimage.distance_transform_edt(lesion)
    distance: np.ndarray = np.where(lesion, 0.5 - inside, outside - 0.5).astype(np.float32)
    return distance


def _as_steps(field: Float32[np.ndarray, "a b c"]) -> Int8[np.ndarray, "a b c"]:
    steps: np.ndarray = np.clip(np.round(field * _STEPS), -127, 127).astype(np.int8)
    return steps


def _open_source(folder: Path, number: int, name: list[str]) -> Source:
    case, patient, split = name
    with np.load(folder / f"{number:04d}.npz") as lesions:
        corners, shapes, fields = (lesions[key] for key in ("corners", "shapes", "fields"))
    ends = tuple(np.cumsum(shapes.prod(axis=1, dtype=np.int64)).tolist())
    return Source(case, patient, split, corners, shapes, fields, ends)
