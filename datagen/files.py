"""Files that appear whole or not at all."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datagen.errors import InputError

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

_PARTIAL = ".partial-"
NIFTI = (".nii.gz", ".nii")
_OPEN_FILES = 10_240  # macOS allows no more


@contextlib.contextmanager
def whole_file(path: Path, option: str = "--out") -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it on success and vanishes on failure.

    The temporary name keeps all suffixes, since writers choose their format by them. Missing parent
    folders are made. Raises InputError where nothing can be written, which names the option by
    which another place is chosen.
    """
    require_writable(path, option)
    # containers that share a folder have the same process numbers
    partial = path.with_name(f"{_PARTIAL}{secrets.token_hex(4)}-{path.name}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename not in (None, str(partial), partial):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what a process that was killed had half-written in a folder of its own."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        partial.unlink(missing_ok=True)


def require_writable(path: Path, option: str = "--out") -> None:
    """Make the parent folders of a file to write; InputError where it cannot be written there.

    The error names the command-line option by which another place is chosen.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file to write")
    if not os.access(make_folder(path.parent, option), os.W_OK):
        raise InputError(f"{path} cannot be written; choose another {option}")


def require_space(path: Path, size: int) -> None:
    """Raise OSError where the disk of a file to write has not as many bytes left."""
    if shutil.disk_usage(make_folder(path.parent)).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def make_folder(folder: Path, option: str = "--out") -> Path:
    """Make `folder` and its parents; InputError where it is a file or may not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder} is not a folder; choose another {option}") from error
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made ({error.strerror}); choose another {option}"
        ) from error
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, values: object) -> None:
    """Write values as JSON that people can read, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI."""
    return path.name.endswith(NIFTI)


def nifti_stem(name: str) -> str:
    """Return a name without .nii.gz or .nii."""
    return name.removesuffix(".gz").removesuffix(".nii")


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Iterable[str]) -> None:
    """Write rows as CSV under the given columns; None becomes an empty cell."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(columns))
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path, separator: str = ",") -> list[dict[str, str]]:
    """Read a CSV file with a header line, or one of tabs, in which quotes are letters.

    Raises InputError where it is missing or not text, two of its columns have one name, or a row
    has more or fewer cells than the header.
    """
    require_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            if separator == ",":
                table = csv.DictReader(stream)
            else:
                table = csv.DictReader(stream, delimiter=separator, quoting=csv.QUOTE_NONE)
            heads = table.fieldnames or []
            if twice := next((head for head in heads if list(heads).count(head) > 1), None):
                raise InputError(f"{path}: two columns are named '{twice}'; remove one")
            rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV table ({error})") from error
    _refuse_ragged(rows, path, separator)
    return rows


def _refuse_ragged(rows: Iterable[Mapping[Any, object]], path: Path, separator: str) -> None:
    """Refuse rows of too many cells, which `csv` keeps under None, or too few, filled by None."""
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            column, cell = next(iter(row.items()))
            kind = "more" if None in row else "fewer"
            hint = ", and quote one that holds a comma" if separator == "," else ""
            raise InputError(
                f"{path}: row {number} below the header, {column} '{cell}', has {kind} cells than "
                f"the header; give each column a cell{hint}"
            )


def visible_below(folder: Path) -> Iterator[Path]:
    """Everything below a folder but what is hidden, as half-written and system files are.

    Linked folders are followed, each once.
    """
    seen, waiting = set[Path](), [folder]
    while waiting:  # linked folders after all others, so that a file has its own name
        for here, folders, files in os.walk(waiting.pop(0)):
            place = Path(here)
            if (real := place.resolve()) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            shown = (name for name in files if not name.startswith("."))
            yield from (place / name for name in (*folders, *shown))
            waiting += [place / name for name in folders if (place / name).is_symlink()]


def require_file(path: Path) -> Path:
    """Return `path`, or raise InputError where there is no such file."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path")
    return path


def allow_open_files() -> None:
    """Raise this process's limit of open files, often 256 or 1,024, as far as the system allows.

    Arrays whose pages are read from disk as they are needed keep their files open.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def checksum(paths: Iterable[Path], text: str = "") -> str:
    """SHA-256 over a text and the files' contents, in the order given: 64 hexadecimal digits."""
    digest = hashlib.sha256(text.encode())
    for path in paths:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
