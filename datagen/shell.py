"""What the three command lines share: flags made from settings, errors as sentences."""

import atexit
import functools
import gc
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from datagen.config import AnySettings, recipe_names, resolve
from datagen.errors import InputError

Command = Callable[..., Any]

# objects made between two collections: libraries make a million of them while they are imported
_COLLECT_AFTER = 10_000
_NO_MEMORY = "the memory does not suffice; work on smaller volumes or patches, or fewer at a time"


class SentenceCommand(click.Command):
    """A command whose failures end in one sentence: exit code 2 for input, 1 for the machine."""

    def __init__(self, *, context_settings: dict[str, Any] | None = None, **kwargs: Any) -> None:
        own = {"help_option_names": ["-h", "--help"], **(context_settings or {})}
        super().__init__(context_settings=own, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see the class for what becomes of its errors."""
        _collect_seldom()
        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail(ctx, str(error), 2)
        except click.UsageError as error:
            told = f"{error.format_message()} {_repeat_hint(error)}See --help."
            _fail(error.ctx or ctx, told, 2)
        except OSError as error:
            known = (error.filename, error.strerror)
            _fail(ctx, ": ".join(str(part) for part in known if part) or str(error), 1)
        except MemoryError:
            _fail(ctx, _NO_MEMORY, 1)
        except RuntimeError as error:
            if not _tells_of_memory(error):
                raise
            _fail(ctx, _NO_MEMORY, 1)
        except KeyboardInterrupt:
            resumes = any(option.name == "resume" for option in self._invoked(ctx).params)
            _fail(ctx, "interrupted" + ("; --resume goes on" if resumes else ""), 130)

    def _invoked(self, _: click.Context) -> click.Command:
        return self


class SentenceGroup(SentenceCommand, click.Group):
    """Commands whose failures end in one sentence each."""

    def _invoked(self, ctx: click.Context) -> click.Command:
        return self.commands[ctx.invoked_subcommand or ""]


def from_settings(model: type[AnySettings], section: str) -> Callable[[Command], Command]:
    """Give a command one flag per field of its settings, plus --config, and pass it the result."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(config: str | None, **flags: object) -> Any:
            given = {key: value for key, value in flags.items() if value not in (None, ())}
            return command(resolve(model, section, config, given))

        wrapped: Command = run
        for name, field in reversed(model.model_fields.items()):
            if get_origin(field.annotation) is dict:
                continue  # a table has no flag: it stands in the TOML file alone
            wrapped = _option(name, field)(wrapped)
        recipes = ", ".join(recipe_names())
        text = f"TOML file, or a recipe that comes with the package ({recipes}); flags win over it."
        return click.option("--config", metavar="FILE|NAME", help=text)(wrapped)

    return decorate


def _tells_of_memory(error: RuntimeError) -> bool:
    """Tell torch's and joblib's ways to say that the memory is full; datagen knows no torch."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "TerminatedWorkerError"}) or (
        "can't allocate memory" in str(error)
    )


def _repeat_hint(error: click.UsageError) -> str:
    """Where several values may have been given to an option that takes one at a time: which do."""
    if error.ctx is None or "unexpected extra argument" not in error.message:
        return ""
    many = [option.opts[0] for option in error.ctx.command.params if option.multiple]
    return f"{', '.join(many)}: give the name before each value. " if many else ""


@functools.cache
def _collect_seldom() -> None:
    """Collect garbage less often, and not at the end: a fifth of a prediction's time."""
    gc.set_threshold(_COLLECT_AFTER)
    atexit.register(gc.freeze)


def say(sentence: str) -> None:
    """Print the closing line of a command."""
    click.echo(sentence)


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    flag, text = "--" + name.replace("_", "-"), field.description or ""
    is_shown = field.default is not False and field.default not in (None, ())
    if not field.is_required() and is_shown:
        text += f"  [default: {_shown(field.default)}]"
    annotation = _without_none(field.annotation)
    if annotation is bool:
        shown = f"{flag}/--no-{name.replace('_', '-')}"
        return click.option(shown, name, is_flag=True, default=None, help=text)
    if get_origin(annotation) is tuple:
        kind, many = _click_type(get_args(annotation)[0]), True
    else:
        kind, many = _click_type(annotation), False
    return click.option(flag, name, type=kind, multiple=many, default=None, help=text)


def _click_type(annotation: Any) -> click.ParamType:
    if get_origin(annotation) is Literal:
        return click.Choice([str(choice) for choice in get_args(annotation)])
    if annotation is Path:
        return click.Path(path_type=Path)
    if annotation is int:
        return click.INT
    return click.FLOAT if annotation is float else click.STRING


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _shown(default: object) -> str:
    return " ".join(str(part) for part in default) if isinstance(default, tuple) else str(default)


def _fail(ctx: click.Context, sentence: str, code: int) -> None:
    click.echo(f"{ctx.command_path}: {sentence}", err=True)
    ctx.exit(code)
