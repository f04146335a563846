"""Packs the scores of a comparison: whoever unpacks them makes its tables without a training."""

import csv
import io
import tarfile
from pathlib import Path

import click

from datagen.files import read_table, whole_file
from datagen.shell import SentenceCommand

_KEPT = (
    "cell.json",
    "run/history.csv",
    "run/inputs.json",
    "run/operating_point.json",
    "scores/cases.csv",
    "scores/sources.csv",
    "scores/sweep_cases.csv",
    "scores/voxelwise.csv",
)


@click.command(cls=SentenceCommand)
@click.option("--compared", type=click.Path(path_type=Path), default=Path("runs/compare"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/compared.tar.xz"))
def main(compared: Path, out: Path) -> None:
    """Pack the finished trainings below --compared into the archive --out, alike to the byte."""
    cells = sorted(path.parent for path in compared.glob("cells/*/*/cell.json"))
    if not cells:
        raise click.UsageError(f"{compared} holds no finished training; name another --compared")
    with whole_file(out) as partial, tarfile.open(partial, "w:xz") as archive:
        for path in (cell / name for cell in cells for name in _KEPT):
            if path.is_file():  # a baseline has no run
                _add(archive, path, str(path.relative_to(compared)))
    print(f"{len(cells)} trainings, {out.stat().st_size / 1e3:.0f} kB in {out}")


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    content = _patients(path) if path.name == "sources.csv" else path.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _patients(path: Path) -> bytes:
    """The patient of each case, without the paths of the machine that scored it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ("case", "patient"), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(read_table(path))
    return text.getvalue().encode()


if __name__ == "__main__":
    main()
