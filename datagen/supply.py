"""What pairs are drawn from: laid out once in a folder that all workers see, opened by each."""

import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datagen.bank import Bank, open_bank, store_source, write_index
from datagen.crew import Crew
from datagen.errors import InputError
from datagen.files import write_json
from datagen.recordings import (
    Recording,
    RecordingFile,
    cut_recordings,
    find_case,
    write_recordings,
)
from datagen.sources import SourceFile

_LIST = "recordings.json"


class RecordingPool:
    """The recordings of the patients that have a split, of several files, numbered through."""

    def __init__(self, files: Sequence[RecordingFile], splits: dict[str, str]) -> None:
        self._splits = splits
        self._places = [
            (file, index)
            for file in files
            for index, patient in enumerate(file.patients)
            if patient in splits
        ]

    def __len__(self) -> int:
        return len(self._places)

    def draw(self, rng: np.random.Generator) -> tuple[Recording, str]:
        """Draw a recording; return it with the split of its patient."""
        file, index = self._places[int(rng.integers(len(self)))]
        recording = file[index]
        return recording, self._splits[recording.patient]


class Supply(NamedTuple):
    """Lesions to compose pairs of, and predictions to take as they are."""

    bank: Bank
    recordings: RecordingPool


class Layout(NamedTuple):
    """Grid and split of a supply; what networks predicted of patients to test is not taken."""

    patch: int
    spacing_mm: float
    validation_fraction: float
    seed: int
    patients_to_test: tuple[str, ...] = ()
    cases_to_test: tuple[str, ...] = ()


def store_supply(
    files: Sequence[SourceFile],
    predictions: tuple[Sequence[Path], Sequence[Path]],
    folder: Path,
    layout: Layout,
    crew: Crew,
) -> None:
    """Lay out masks, recordings and predicted maps in a folder, where they are not there already.

    `predictions` are files of recordings, which stay where they are, and maps of whole cases.
    Raises InputError where no mask holds a lesion, or a prediction cannot be used.
    """
    if (folder / _LIST).is_file():
        return
    recorded, maps = predictions
    jobs = [(file, layout.spacing_mm, folder, number) for number, file in enumerate(files)]
    if not any(crew.run(store_source, jobs, "masks read")):
        raise InputError(f"no mask below {files[0].path.parent} holds a lesion")
    write_index(files, folder)
    of_case = {file.case: file for file in files}
    owners = [find_case(path, {*of_case, *layout.cases_to_test}) for path in maps]
    _require_one_truth(files, maps, owners)
    cuts = [
        (path, of_case[case], folder / f"cut{number:04d}.h5", layout, number)
        for number, (path, case) in enumerate(zip(maps, owners, strict=True))
        if case in of_case
    ]
    crew.run(_cut, cuts, "predicted maps read")
    paths = [path.absolute() for path in recorded] + [cut[2] for cut in cuts]
    opened = [RecordingFile(path, layout.patch, layout.spacing_mm) for path in paths]
    splits = _splits(files, (patient for file in opened for patient in file.patients), layout)
    if maps and not paths:
        raise InputError("--predictions are of patients alone whom --masks keep for the test")
    if opened and not len(RecordingPool(opened, splits)):
        raise InputError("--predictions are of patients alone whom --masks keep for the test")
    content = {"files": [str(path) for path in paths], "splits": splits, **layout._asdict()}
    write_json(folder / _LIST, content)


def _require_one_truth(
    files: Sequence[SourceFile], maps: Sequence[Path], owners: Sequence[str]
) -> None:
    """Refuse a map of a case of two masks: which of them it predicts cannot be told."""
    of_case: dict[str, SourceFile] = {}
    for file in files:
        other = of_case.setdefault(file.case, file)
        if other.path != file.path and file.case in owners:
            predicted = maps[owners.index(file.case)]
            raise InputError(
                f"{predicted} is of case {file.case}, which has two masks, {other.path} and "
                f"{file.path}; give --masks that hold the one that is predicted alone"
            )


@functools.lru_cache(maxsize=2)
def open_supply(folder: Path, plan: str) -> Supply:
    """Open what `store_supply` laid out; each process does so once for each plan of a build.

    Without the plan, a process that builds twice to one place would draw from what is gone.
    """
    content = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    files = [
        RecordingFile(Path(path), content["patch"], content["spacing_mm"])
        for path in content["files"]
    ]
    return Supply(open_bank(folder), RecordingPool(files, content["splits"]))


def _cut(prediction: Path, truth: SourceFile, path: Path, layout: Layout, number: int) -> None:
    rng = np.random.default_rng([layout.seed, number])
    patches = cut_recordings(prediction, truth, layout.patch, layout.spacing_mm, rng)
    write_recordings(path, patches, layout.spacing_mm)


def _splits(files: Sequence[SourceFile], recorded: Iterable[str], layout: Layout) -> dict[str, str]:
    """Put recorded patients on the side on which their masks are, and others on one at random."""
    known = {file.patient: file.split for file in files}
    others = sorted(set(recorded) - known.keys() - set(layout.patients_to_test))
    order = np.random.default_rng(layout.seed).permutation(len(others)).tolist()
    held_out = {others[index] for index in order[: round(layout.validation_fraction * len(order))]}
    return known | {name: "validation" if name in held_out else "train" for name in others}
