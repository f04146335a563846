"""Settings of 'segnet compare', and from them those of each single training."""

import difflib
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, ValidationError, model_validator

from datagen.config import MAX_SEED, AnySettings, Settings, not_recorded
from datagen.errors import InputError
from datagen.lesions import Rule
from segnet.config import Baseline, PredictSettings, TrainSettings

SECTION = "segnet.compare"
# what the comparison itself decides about each training and each prediction
_OWN_OF_TRAINING = {"cohort", "out", "seed", "resume", "validation_fraction"}
_OWN_OF_PREDICTION = {
    "out",
    "page",
    "model",
    "baseline",
    "cohort",
    "split",
    "time1",
    "time2",
    "brain_mask",
}


class CompareSettings(Settings):
    """Settings of 'segnet compare'."""

    cohort: Path = Field(description="Folder in MSSEG-2 or BIDS layout, or a cohort.csv.")
    out: Path = not_recorded(Path("runs/compare"), "Folder to write.")
    table: dict[str, dict[str, Any]] = Field(
        {},
        alias="methods",
        description="A table for each method: settings of 'segnet train', or a baseline.",
    )
    train: dict[str, Any] = Field({}, description="Settings of 'segnet train' for all methods.")
    predict: dict[str, Any] = Field({}, description="Settings of 'segnet predict' for all methods.")
    folds: int = Field(
        1, description="Parts of the patients, each tested once; 1: the cohort's own split.", ge=1
    )
    seeds: tuple[int, ...] = Field(
        (0, 1, 2), description="Seed of a training; repeatable.", min_length=1
    )
    validation_fraction: float = Field(
        0.2, description="Share of the patients not tested that chooses the epoch.", gt=0, lt=1
    )
    rule: tuple[Rule, ...] = Field(
        ("overlap", "msseg2"), description="Matching rule; repeatable.", min_length=1
    )
    reference: str | None = Field(
        None, description="Method that each other is tested against; default: the first."
    )
    threads: int = Field(1, description="Threads of each training.", ge=1)
    resamples: int = Field(2000, description="Resamples of the bootstrap interval.", ge=100)
    seed: int = Field(0, description="Seed of folds and bootstrap.", ge=0, le=MAX_SEED)
    workers: int = not_recorded(1, "Trainings at a time on this machine.", ge=1)
    cluster: str | None = not_recorded(
        None, "Address of a Dask scheduler whose workers share this folder, instead of --workers."
    )
    print_commands: bool = not_recorded(
        False, "Print a command for each open training, as for a SLURM array, and end."
    )
    finished: bool = not_recorded(
        False, "Write the tables of the trainings that are finished, and train nothing."
    )
    method: tuple[str, ...] = not_recorded((), "Only this method of the table; repeatable.")
    cell: str | None = not_recorded(None, "Run this training alone: METHOD/FOLD/SEED.")

    @property
    def methods(self) -> dict[str, dict[str, Any]]:
        """The methods of --method, in the table's order; without it, the whole table."""
        chosen = self.method or tuple(self.table)
        return {name: own for name, own in self.table.items() if name in chosen}

    def recorded(self) -> dict[str, Any]:
        """Return the settings as JSON values, with the whole table under its key in the file."""
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)

    @model_validator(mode="after")
    def _has_methods(self) -> "CompareSettings":
        if not self.table:
            raise ValueError("no method; give a table [segnet.compare.methods.NAME] in --config")
        for name in self.table:
            if not name or name.startswith(".") or set(name) & set("/\\\n\r\t"):
                raise ValueError(f"'{name}' cannot name a method; it becomes a folder's name")
        return self

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: dict[str, Any]) -> dict[str, Any]:
        table = values.get("methods")
        if not isinstance(table, dict) or not table:
            return values
        named = dict(values)
        # what is no text is refused by its type afterwards
        if isinstance(reference := values.get("reference"), str):
            named["reference"] = find_name(reference, table, "reference")
        if isinstance(method := values.get("method"), list | tuple):
            named["method"] = [
                find_name(name, table) if isinstance(name, str) else name for name in method
            ]
        return named

    @model_validator(mode="after")
    def _fits(self) -> "CompareSettings":
        is_tabulated = self.cell is None and not self.print_commands
        if is_tabulated and self.reference is not None and self.reference not in self.methods:
            raise ValueError(
                f"reference '{self.reference}' is none of the methods; add --method "
                f"'{self.reference}', or choose another --reference"
            )
        alone = [name for name in ("cell", "print_commands", "finished") if getattr(self, name)]
        if len(alone) > 1:
            raise ValueError(f"give {' or '.join(alone)}, not both")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed stands twice among the seeds")
        if any(not 0 <= seed <= MAX_SEED for seed in self.seeds):
            raise ValueError("a seed lies between 0 and 2^63 - 1")
        return self


def find_name(typed: str, table: Collection[str], setting: str = "method") -> str:
    """Return the method of a table that was typed, perhaps in other case or without accents.

    Raises ValueError, with the setting that named it, where the table has none.

    >>> find_name("dice + 3 (1 - f)", ["Dice", "Dice + 3 (1 - F̂)"])
    'Dice + 3 (1 - F̂)'
    """
    if typed in table:
        return typed
    plain = {_plain(name): name for name in table}
    if _plain(typed) in plain and len(plain) == len(table):
        return plain[_plain(typed)]
    near = difflib.get_close_matches(_plain(typed), plain, n=1)
    meant = f"; did you mean '{plain[near[0]]}'?" if near else f"; it has {', '.join(table)}"
    raise ValueError(f"{setting} '{typed}' is not in the table{meant}")


def _plain(name: str) -> str:
    """Return the name as any keyboard types it: no accents, small letters."""
    parts = unicodedata.normalize("NFKD", name.replace("−", "-"))
    return "".join(letter for letter in parts if not unicodedata.combining(letter)).casefold()


class Method(NamedTuple):
    """What one method is: a training's settings or a baseline, and how it predicts."""

    name: str
    train: dict[str, Any]
    predict: dict[str, Any]
    baseline: Baseline | None


def read_method(settings: CompareSettings, name: str) -> Method:
    """Return a method of the table; InputError where its settings cannot be used."""
    own = dict(settings.methods[name])
    baseline, predict = own.pop("baseline", None), own.pop("predict", {})
    if baseline is not None and baseline not in get_args(Baseline):
        known = ", ".join(get_args(Baseline))
        raise InputError(f"method '{name}': baseline {baseline!r} is none of {known}")
    if baseline is not None and own:
        raise InputError(f"method '{name}': a baseline is not trained; remove '{min(own)}'")
    if not isinstance(predict, dict):
        raise InputError(f"method '{name}': 'predict' needs a table of settings")
    method = Method(name, {**settings.train, **own}, {**settings.predict, **predict}, baseline)
    _refuse(name, method.train, _OWN_OF_TRAINING)
    _refuse(name, method.predict, _OWN_OF_PREDICTION)
    training = train_settings(method, settings.cohort, settings.out, 0)
    if training.devices > 1:
        raise InputError(f"method '{name}': each training is one process; remove 'devices'")
    if training.classes > 2:
        raise InputError(
            f"method '{name}': a comparison scores one class of lesions; remove 'classes'"
        )
    predict_settings(method, settings.cohort, settings.out, settings.out)
    return method


def train_settings(method: Method, cohort: Path, out: Path, seed: int) -> TrainSettings:
    """Settings of one training; it resumes what was begun."""
    values = {**method.train, "cohort": cohort, "out": out, "seed": seed, "resume": True}
    return _validated(TrainSettings, values, method.name)


def predict_settings(method: Method, cohort: Path, run: Path, out: Path) -> PredictSettings:
    """Settings of the prediction of a fold's test cases."""
    source: dict[str, Any] = {"baseline": method.baseline} if method.baseline else {"model": (run,)}
    split: Literal["test"] = "test"
    values = {**method.predict, **source, "cohort": cohort, "split": split, "out": out}
    return _validated(PredictSettings, values, method.name)


def _refuse(name: str, values: dict[str, Any], decided: set[str]) -> None:
    for key in sorted(decided & values.keys()):
        raise InputError(f"method '{name}': '{key}' is set by the comparison; remove it")


def _validated(model: type[AnySettings], values: dict[str, Any], name: str) -> AnySettings:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            said = "there is no such setting"
        shown = f"'{key}': {said}, got {first['input']!r}" if key else said
        raise InputError(f"method '{name}': {shown}") from error
