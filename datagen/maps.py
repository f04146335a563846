"""Volumes of bytes in HDF5: one compressed chunk each, packed and unpacked outside of the library.

The chunks are gzip's, which every HDF5 reader understands; zlib unpacks them three times as fast
when it is called directly.
"""

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from datagen.errors import InputError
from datagen.files import whole_file

_LEVEL = 1


@contextlib.contextmanager
def whole_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file in memory, and write it whole or not at all.

    On a disk that is full the library itself ends in a thousand errors, or the process.
    """
    in_memory = h5py.File(path.name, "w", driver="core", backing_store=False, track_order=True)
    with whole_file(path) as partial, in_memory as file:
        yield file
        file.flush()
        partial.write_bytes(file.id.get_file_image())


def create_maps(
    file: h5py.File, name: str, count: int, shape: tuple[int, ...], dtype: type = np.uint8
) -> h5py.Dataset:
    """Add a dataset of `count` volumes, each a chunk of its own."""
    return file.create_dataset(
        name,
        (count, *shape),
        dtype,
        chunks=(1, *shape),
        compression="gzip",
        compression_opts=_LEVEL,
        track_times=False,
    )


def pack_map(volume: np.ndarray) -> bytes:
    """Compress a volume as its chunk is stored."""
    return zlib.compress(np.ascontiguousarray(volume).data, _LEVEL)


def write_packed(dataset: h5py.Dataset, index: int, packed: bytes) -> None:
    """Store a compressed volume."""
    dataset.id.write_direct_chunk((index,) + (0,) * (dataset.ndim - 1), packed)


def read_packed(dataset: h5py.Dataset, index: int) -> bytes:
    """Return a compressed volume as it is stored."""
    packed: bytes = dataset.id.read_direct_chunk((index,) + (0,) * (dataset.ndim - 1))[1]
    return packed


def read_map(dataset: h5py.Dataset, index: int, path: Path) -> np.ndarray:
    """Read a volume; InputError where it is damaged."""
    try:
        voxels = zlib.decompress(read_packed(dataset, index))
        return np.frombuffer(bytearray(voxels), dataset.dtype).reshape(dataset.chunks[1:])
    except (OSError, RuntimeError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: volume {index} is damaged; make the file anew") from error
