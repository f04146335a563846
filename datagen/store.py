"""The pair file: how (truth, probability, exact score) pairs lie on disk.

Schema 1. `pairs` is their number, a patch is `patch`³ voxels of `spacing_mm` each.

| dataset | dtype | shape | meaning |
|---|---|---|---|
| truth | uint8 | pairs, patch, patch, patch | 0 or 1 |
| probability | uint8 | pairs, patch, patch, patch | value / 255; predicted where >= 128 |
| ltpr, lppv, f1 | float32 | pairs | exact scores of the stored maps |
| truth_lesions, predicted_lesions, truth_hits, predicted_hits | int32 | pairs | their counts |
| case, patient, style, split | UTF-8 bytes | pairs | where the pair comes from |

Attributes: schema, rule, connectivity, min_volume_mm3, spacing_mm, patch, seed, settings (JSON),
version, sources_sha256. Each pair is one gzip-compressed chunk.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import h5py
import numpy as np
from jaxtyping import UInt8

from datagen.errors import InputError
from datagen.files import require_file, whole_file
from datagen.lesions import LesionScore, Rule

SCHEMA = 1
_SCORES = dict.fromkeys(("ltpr", "lppv", "f1"), np.float32)
_COUNTS = dict.fromkeys(
    ("truth_lesions", "predicted_lesions", "truth_hits", "predicted_hits"), np.int32
)
_NAMES = ("case", "patient", "style", "split")
_MAPS = ("truth", "probability")
_NOTHING = np.zeros((0, 0, 0), np.uint8)


class Pair(NamedTuple):
    """A truth, a prediction as it is stored, and the exact score of the two."""

    truth: UInt8[np.ndarray, "d h w"]
    probability: UInt8[np.ndarray, "d h w"]
    score: LesionScore
    case: str
    patient: str
    style: str
    split: str


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
        columns = {*_SCORES, *_COUNTS, *_NAMES, *_MAPS}
        attributes = {*Agreement._fields}
        missing = (columns - self._file.keys()) | (attributes - self._file.attrs.keys())
        if missing or not len(self):
            lacks = min(missing) if missing else "a pair"
            raise InputError(f"{path} lacks {lacks}; rebuild it with 'datagen build'")
        if self.agreement.rule not in get_args(Rule):
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
        """One value per pair: a score, a count, or one of case, patient, style, split."""
        values = self._file[name][:]
        decoded: np.ndarray = np.char.decode(values, "utf-8") if name in _NAMES else values
        return decoded

    def volumes(self, index: int) -> tuple[UInt8[np.ndarray, "d h w"], UInt8[np.ndarray, "d h w"]]:
        """Truth (0/1) and probability (value / 255) of one pair."""
        try:
            return self._file["truth"][index], self._file["probability"][index]
        except OSError as error:
            raise InputError(f"{self.path}: pair {index} is damaged; rebuild the file") from error

    def _plain(self, name: str) -> Any:
        value = self._file.attrs[name]
        return value.item() if isinstance(value, np.generic) else value


def write_pairs(
    path: Path, pairs: Iterable[Pair], total: int, agreement: Agreement, notes: dict[str, object]
) -> None:
    """Write `total` pairs in the order given; the same pairs and notes make the same bytes."""
    rows: list[Pair] = []
    with whole_file(path) as partial, h5py.File(partial, "w", track_order=True) as file:
        for name, value in {"schema": SCHEMA, **agreement._asdict(), **notes}.items():
            file.attrs[name] = json.dumps(value) if isinstance(value, dict) else value
        truth, probability = (_maps(file, name, total, agreement.patch) for name in _MAPS)
        for index, pair in enumerate(pairs):
            truth[index], probability[index] = pair.truth, pair.probability
            rows.append(pair._replace(truth=_NOTHING, probability=_NOTHING))
        for name, dtype in {**_SCORES, **_COUNTS}.items():
            values = np.array([getattr(row.score, name) for row in rows], dtype)
            file.create_dataset(name, data=values, track_times=False)
        if len(rows) != total:
            raise ValueError(f"{total} pairs were announced, {len(rows)} given")
        for name in _NAMES:
            names = np.array([getattr(row, name).encode() for row in rows])
            file.create_dataset(name, data=names, track_times=False)


def save_part(path: Path, pairs: Sequence[Pair]) -> None:
    """Write some pairs of a build as a compressed NumPy archive."""
    fields = dict(zip(Pair._fields, zip(*pairs, strict=True), strict=True))
    fields["score"] = [pair.score[:7] for pair in pairs]
    with whole_file(path) as partial:
        arrays = {key: np.array(value) for key, value in fields.items()}
        np.savez_compressed(partial, allow_pickle=False, **arrays)


def load_part(path: Path) -> list[Pair]:
    """Read what `save_part` wrote."""
    with np.load(path) as part:
        columns = {name: part[name] for name in Pair._fields}
    return [
        Pair(
            columns["truth"][index],
            columns["probability"][index],
            LesionScore(*score[:3].tolist(), *(int(count) for count in score[3:])),
            *(str(columns[name][index]) for name in _NAMES),
        )
        for index, score in enumerate(columns["score"])
    ]


def _maps(file: h5py.File, name: str, total: int, patch: int) -> h5py.Dataset:
    shape, chunk = (total, patch, patch, patch), (1, patch, patch, patch)
    compression = {"compression": "gzip", "compression_opts": 1}
    return file.create_dataset(
        name, shape, np.uint8, chunks=chunk, track_times=False, **compression
    )
