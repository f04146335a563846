"""The pair file: how (truth, probability, exact score) pairs lie on disk.

Schema 2. `pairs` is their number, a patch is `patch`³ voxels of `spacing_mm` each.

| dataset | dtype | shape | meaning |
|---|---|---|---|
| truth | uint8 | pairs, patch, patch, patch | 0 or 1 |
| probability | uint8 | pairs, patch, patch, patch | value / 255; predicted where >= 128 |
| densities | float16 | pairs, 4, patch/4, … | `datagen.densities` under the file's rule |
| ltpr, lppv, f1 | float32 | pairs | exact scores of the stored maps under the file's rule |
| truth_lesions, predicted_lesions, truth_hits, predicted_hits | int32 | pairs | their counts |
| f1_overlap, f1_geo, f1_msseg2 | float32 | pairs | under each rule; NaN where it gives none |
| family | int64 | pairs | row of the pair that this one was edited from; its own row if of none |
| edit | bytes | pairs | add, remove, fade, merge or split; empty for a pair by itself |
| case, patient, split, style | UTF-8 bytes | pairs | where the pair comes from |
| parameters | UTF-8 bytes | pairs | what its style drew, as JSON |

Attributes: schema, rule, connectivity, min_volume_mm3, spacing_mm, patch, seed, settings (JSON),
version, sources_sha256. Each pair's volumes are gzip-compressed chunks of their own.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import h5py
import numpy as np
from jaxtyping import Float16, UInt8

from datagen.densities import STRIDE
from datagen.errors import InputError
from datagen.files import require_file, require_space, whole_file
from datagen.lesions import LesionScore, Rule
from datagen.maps import (
    create_maps,
    pack_map,
    read_map,
    read_packed,
    whole_hdf5,
    write_packed,
)

SCHEMA = 2
RULES: tuple[Rule, ...] = get_args(Rule)
_NUMBERS: dict[str, type] = {
    **dict.fromkeys(("ltpr", "lppv", "f1"), np.float32),
    **dict.fromkeys(("truth_lesions", "predicted_lesions", "truth_hits"), np.int32),
    "predicted_hits": np.int32,
    **{f"f1_{rule}": np.float32 for rule in RULES},
    "family": np.int64,
}
_NAMES = ("edit", "case", "patient", "split", "style", "parameters")
_MAPS = ("truth", "probability", "densities")
_ROWS_PER_CHUNK = 4096


class Pair(NamedTuple):
    """A truth, a prediction as it is stored, and the exact scores of the two.

    `family` is the number of the pair within the build that this one was edited from.
    """

    truth: UInt8[np.ndarray, "d h w"]
    probability: UInt8[np.ndarray, "d h w"]
    densities: Float16[np.ndarray, "4 i j k"]
    score: LesionScore
    f1: dict[Rule, float | None]
    case: str
    patient: str
    split: str
    style: str
    parameters: dict[str, int | float]
    family: int
    edit: str = ""


class Agreement(NamedTuple):
    """What a pair file, an estimator trained on it and a loop that uses it must agree on."""

    rule: Rule
    connectivity: int
    min_volume_mm3: float
    spacing_mm: float
    patch: int

    def require(self, other: "Agreement", mine: str, theirs: str) -> None:
        """Raise InputError that names the first field in which two artefacts differ."""
        for field, value, found in zip(self._fields, self, other, strict=True):
            if value != found:
                raise InputError(
                    f"{theirs} has {field} {found}, but {mine} has {value}; "
                    "rebuild one of them to match"
                )


class PairFile:
    """An open pair file; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open for reading; InputError where it is missing, no pair file, or of another schema."""
        require_file(path)
        try:
            self._file = h5py.File(path)
        except OSError as error:
            raise InputError(f"{path} is not an HDF5 file, or is cut off; rebuild it") from error
        found = self._file.attrs.get("schema")
        if found != SCHEMA:
            raise InputError(
                f"{path}: schema {SCHEMA} expected, found {found}; rebuild it with 'datagen build'"
            )
        self.path = path
        columns = {*_NUMBERS, *_NAMES, *_MAPS}
        attributes = {*Agreement._fields}
        missing = (columns - self._file.keys()) | (attributes - self._file.attrs.keys())
        if missing or not len(self):
            lacks = min(missing) if missing else "a pair"
            raise InputError(f"{path} lacks {lacks}; rebuild it with 'datagen build'")
        self._maps = {name: self._file[name] for name in _MAPS}
        if self.agreement.rule not in RULES:
            raise InputError(f"{path}: rule '{self.agreement.rule}' is unknown to this version")

    def __enter__(self) -> "PairFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._file["f1"])

    @property
    def agreement(self) -> Agreement:
        """The definitions behind the labels."""
        return Agreement(**{name: self._plain(name) for name in Agreement._fields})

    @property
    def attributes(self) -> dict[str, Any]:
        """All attributes as plain Python values."""
        return {name: self._plain(name) for name in self._file.attrs}

    def column(self, name: str) -> np.ndarray:
        """One value per pair; see the table of the module."""
        values = self._file[name][:]
        decoded: np.ndarray = np.char.decode(values, "utf-8") if name in _NAMES else values
        return decoded

    def volumes(self, index: int) -> tuple[UInt8[np.ndarray, "d h w"], UInt8[np.ndarray, "d h w"]]:
        """Truth (0/1) and probability (value / 255) of one pair; InputError where damaged."""
        truth, probability = (
            read_map(self._maps[name], index, self.path) for name in ("truth", "probability")
        )
        return truth, probability

    def densities(self, index: int) -> Float16[np.ndarray, "4 i j k"]:
        """Dense lesion counts of one pair; InputError where damaged."""
        return read_map(self._maps["densities"], index, self.path)

    def _plain(self, name: str) -> Any:
        value = self._file.attrs[name]
        return value.item() if isinstance(value, np.generic) else value


def write_shard(path: Path, pairs: Sequence[Pair]) -> None:
    """Write some pairs of a build: a pair file without attributes."""
    patch = pairs[0].truth.shape[0]
    with whole_hdf5(path) as file:
        for name, dataset in _create(file, len(pairs), patch).items():
            for index, pair in enumerate(pairs):
                write_packed(dataset, index, pack_map(getattr(pair, name)))
        for name, values in _columns(pairs).items():
            file.create_dataset(name, data=values, track_times=False)


def merge_shards(
    path: Path, shards: Sequence[Path], agreement: Agreement, notes: dict[str, object]
) -> int:
    """Join shards to a pair file in the order given; return the number of pairs.

    Chunks are copied as they are, shard by shard: memory does not grow with the number of pairs.
    The same shards and notes make the same bytes.
    """
    lengths, widths = [], dict.fromkeys(_NAMES, 1)
    for shard in shards:
        with h5py.File(shard) as part:
            lengths.append(len(part["f1"]))
            widths = {name: max(width, part[name].dtype.itemsize) for name, width in widths.items()}
    total = sum(lengths)
    require_space(path, sum(shard.stat().st_size for shard in shards))
    with whole_file(path) as partial, h5py.File(partial, "w", track_order=True) as file:
        for name, value in {"schema": SCHEMA, **agreement._asdict(), **notes}.items():
            file.attrs[name] = json.dumps(value) if isinstance(value, dict) else value
        maps = _create(file, total, agreement.patch)
        dtypes: dict[str, type | str] = {
            **_NUMBERS,
            **{name: f"S{width}" for name, width in widths.items()},
        }
        columns = {name: _create_column(file, name, total, kind) for name, kind in dtypes.items()}
        start = 0
        for shard, length in zip(shards, lengths, strict=True):
            with h5py.File(shard) as part:
                for name, dataset in maps.items():
                    for index in range(length):
                        write_packed(dataset, start + index, read_packed(part[name], index))
                for name, column in columns.items():
                    column[start : start + length] = part[name][:]
            start += length
    return total


def _create(file: h5py.File, pairs: int, patch: int) -> dict[str, h5py.Dataset]:
    block = patch // STRIDE
    return {
        "truth": create_maps(file, "truth", pairs, (patch,) * 3),
        "probability": create_maps(file, "probability", pairs, (patch,) * 3),
        "densities": create_maps(file, "densities", pairs, (4, block, block, block), np.float16),
    }


def _create_column(file: h5py.File, name: str, pairs: int, dtype: type | str) -> h5py.Dataset:
    chunks = (min(pairs, _ROWS_PER_CHUNK),)
    return file.create_dataset(
        name, (pairs,), dtype, chunks=chunks, compression="gzip", track_times=False
    )


def _columns(pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
    """One array per column; names as bytes that are as wide as the longest."""
    values: dict[str, list[Any]] = {name: [] for name in (*_NUMBERS, *_NAMES)}
    for pair in pairs:
        scores = {f"f1_{rule}": np.nan if f1 is None else f1 for rule, f1 in pair.f1.items()}
        row = {**pair._asdict(), **pair.score._asdict(), **scores}
        row["parameters"] = json.dumps(pair.parameters)
        for name, column in values.items():
            column.append(row[name].encode() if name in _NAMES else row[name])
    return {name: np.array(column, _NUMBERS.get(name)) for name, column in values.items()}
