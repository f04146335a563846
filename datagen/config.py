"""Settings of the commands: default < TOML file < flag, resolved in one place."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from datagen.errors import InputError

SECTIONS = (
    "datagen.phantom",
    "datagen.build",
    "datagen.synthesise",
    "metricnet.train",
    "metricnet.evaluate",
    "segnet.train",
    "segnet.predict",
    "segnet.evaluate",
    "segnet.compare",
    "segnet.evolution",
)


CONFIG = "config.toml"  # the settings of a run, in its folder
MAX_SEED = 2**63 - 1
_VERSIONED = ("lesionwise", "torch")  # what a result depends on beside its settings


class Settings(BaseModel):
    """What one command can be told; every field is a flag and a key of its TOML section."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_types(cls, values: dict[str, object]) -> dict[str, object]:
        """Refuse in a TOML file what pydantic would convert: a text or a truth for a number."""
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if field and field.annotation in (int, float) and isinstance(value, str | bool):
                raise ValueError(f"'{name}' needs a number, got {value!r}")
        return values

    def recorded(self) -> dict[str, Any]:
        """Return what must be known to repeat the result, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)


AnySettings = TypeVar("AnySettings", bound=Settings)


def not_recorded(default: Any, description: str, **limits: Any) -> Any:
    """Declare a setting that changes how a command runs, never what it computes."""
    return Field(default, description=description, exclude=True, **limits)


def resolve(
    model: type[AnySettings], section: str, config: str | None, flags: Mapping[str, object]
) -> AnySettings:
    """Merge the flags over the section of the recipe; InputError names a wrong key or value."""
    recipe = _section_of(config, section) if config else {}
    try:
        return model.model_validate({**recipe, **flags})
    except ValidationError as error:
        origin = f"section [{section}] of {config}" if config else "the command line"
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            known = [*model.model_fields, *(field.alias for field in model.model_fields.values())]
            raise InputError(_unknown(str(first["loc"][0]), section, origin, known)) from error
        raise InputError(_sentence(first, section, origin, flags)) from error


def _section_of(config: str, section: str) -> dict[str, object]:
    sections = read_recipe(config)
    if sections and section not in sections:
        raise InputError(
            f"{config} holds no section [{section}], but {', '.join(sections)}; leave --config out "
            "for the defaults"
        )
    return sections.get(section, {})


def read_recipe(config: str) -> dict[str, dict[str, object]]:
    """Return the recipe's sections by dotted name, such as 'segnet.train'.

    `config` is a path to a TOML file, or the name of a recipe that comes with the package.
    """
    path = _find_recipe(config)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error
    sections = {}
    for package, commands in document.items():
        for command, values in commands.items() if isinstance(commands, dict) else [("", None)]:
            name = f"{package}.{command}" if command else package
            if name not in SECTIONS or not isinstance(values, dict):
                raise InputError(
                    f"{path}: unknown key '{name}'; sections are {', '.join(SECTIONS)}"
                )
            sections[name] = values
    return sections


def recipe_names() -> list[str]:
    """Names that --config accepts without a path."""
    return sorted(path.stem for path in _recipe_folder().glob("*.toml"))


def format_recipe(section: str, settings: Settings) -> str:
    """Return the settings as a TOML section that `resolve` reads back to the same values.

    A comment above it names the versions that it was written by.
    """
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in _VERSIONED)
    lines = [f"{key} = {_toml(value)}" for key, value in settings.recorded().items()]
    return "\n".join([f"# {versions}", f"[{section}]", *lines, ""])


def _toml(value: object) -> str:
    if isinstance(value, dict):
        pairs = (f"{_toml(key)} = {_toml(held)}" for key, held in value.items())
        return "{" + ", ".join(pairs) + "}"
    # what settings hold is written alike in JSON and in TOML, but for DEL in a string
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _find_recipe(config: str) -> Path:
    given, named = Path(config), _recipe_folder() / f"{config}.toml"
    if given.is_file():
        return given
    if named.is_file():
        return named
    known = ", ".join(recipe_names())
    raise InputError(f"--config {config}: no such file, and no recipe of that name ({known})")


def _recipe_folder() -> Path:
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def _unknown(key: str, section: str, origin: str, known: Sequence[str | None]) -> str:
    near = difflib.get_close_matches(key, [name for name in known if name], 1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    command = section.replace(".", " ")
    return f"unknown key '{key}' in {origin}; {meant}'{command} --help' lists the settings"


def _sentence(error: ErrorDetails, section: str, origin: str, flags: Mapping[str, object]) -> str:
    key = str(error["loc"][0]) if error["loc"] else ""
    flag = "--" + key.replace("_", "-")
    if error["type"] == "missing":
        return f"{flag} is missing; give it, or set '{key}' in section [{section}] of --config"
    if not key:
        return f"{origin}: {error['msg'].removeprefix('Value error, ')}"
    where = flag if key in flags else f"'{key}' in {origin}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}, got {error['input']!r}"


def require_own(folder: Path, section: str) -> None:
    """Raise InputError where a folder holds another command's settings, which would be lost."""
    path = folder / CONFIG
    if not path.is_file():
        return
    try:
        others = read_recipe(str(path)).keys() - {section}
    except InputError as error:
        raise InputError(f"{error}; choose another --out") from error
    if others:
        command = min(others).replace(".", " ")
        raise InputError(f"{folder} holds a run of '{command}'; choose another --out")


def require_free(folder: Path, names: Iterable[str]) -> None:
    """Raise InputError where files of these names would be replaced that no command made there."""
    if (folder / CONFIG).is_file():
        return
    for name in names:
        if (folder / name).exists():
            raise InputError(
                f"{folder / name} is there already, and would be replaced; choose another --out"
            )
