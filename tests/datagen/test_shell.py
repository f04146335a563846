import subprocess
import sys
from pathlib import Path
from typing import Literal

import click
import pytest
import torch
from click.testing import CliRunner
from joblib.externals.loky.process_executor import TerminatedWorkerError
from pydantic import Field

from datagen.config import Settings
from datagen.errors import InputError
from datagen.shell import SentenceCommand, SentenceGroup, from_settings, say

NO_MEMORY = "the memory does not suffice; work on smaller volumes or patches, or fewer at a time"


class Tiny(Settings):
    """Settings of 'tiny count'."""

    masks: tuple[Path, ...] = Field(description="Masks; repeatable.")
    cases: int = Field(16, description="Number of cases.", ge=3)
    spacing_mm: float = Field(1.0, description="Edge of a voxel, in mm.")
    rule: Literal["overlap", "geo"] = Field("overlap", description="How lesions match.")
    names: tuple[str, ...] = Field(("a", "b"), description="Names.")
    label: str | None = Field(None, description="A label.")
    resume: bool = Field(False, description="Go on.")
    amp: bool = Field(True, description="Half precision.")


@click.group(cls=SentenceGroup)
def main():
    pass


@main.command()
@from_settings(Tiny, "datagen.build")
def count(settings):
    """Say the settings."""
    say(repr(settings))


@main.command()
@click.argument("how")
def fail(how):
    if how == "input":
        raise InputError("pairs.h5: schema 1 expected, found 3; rebuild it")
    if how == "disk":
        raise OSError(28, "No space left on device", "pairs.h5")
    if how == "key":
        raise KeyboardInterrupt
    if how == "memory":
        raise MemoryError
    if how == "torch":
        torch.empty(2**60)
    if how == "worker":
        raise TerminatedWorkerError("a worker process was killed")
    if how == "else":
        raise RuntimeError("a mistake")
    raise KeyError(how)


@main.command()
@click.option("--resume", is_flag=True)
def go(resume):
    raise KeyboardInterrupt


@click.command(cls=SentenceCommand)
@click.argument("how")
@click.option("--resume", is_flag=True)
def alone(how, resume):
    fail.callback(how)


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="tiny")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[datagen.build]\nmasks = ['file']\ncases = 5\nspacing_mm = 2.0\namp = false\n")
    return path


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(recipe):
    said = run("count", "--config", recipe, "--cases", 7, "--amp").output
    expected = Tiny(masks=(Path("file"),), cases=7, spacing_mm=2.0, amp=True)
    assert said == f"{expected!r}\n"


@pytest.mark.parametrize(("flag", "name"), [("--no-resume", "resume"), ("--no-amp", "amp")])
def test_a_flag_switches_off_what_the_file_switches_on(recipe, flag, name):
    recipe.write_text(f"[datagen.build]\nmasks = ['file']\n{name} = true\n")
    assert f"{name}=True" in run("count", "--config", recipe).output
    assert f"{name}=False" in run("count", "--config", recipe, flag).output


def test_flags_alone_are_enough():
    words = ["--masks", "a", "--masks", "b", "--names", "c"]
    words += ["--rule", "geo", "--label", "x", "--resume", "--no-amp"]
    expected = Tiny(
        masks=(Path("a"), Path("b")), rule="geo", label="x", resume=True, amp=False, names=("c",)
    )
    assert run("count", *words).output == f"{expected!r}\n"


def test_several_values_after_one_name_are_told_how_to_be_given():
    result = run("count", "--masks", "a", "b", "c")
    assert result.exit_code == 2
    assert "(b c) --masks, --names: give the name before each value. See" in result.stderr
    assert "before each value" not in run("go", "b").stderr


def test_zero_is_given_and_not_left_out():
    result = run("count", "--masks", "a", "--cases", 0)
    assert result.exit_code == 2
    assert "--cases: Input should be greater than or equal to 3, got 0" in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("count",), "--masks is missing"),
        (("count", "--masks", "a", "--config", "nowhere"), "--config nowhere: no such file"),
        (("fail", "input"), "pairs.h5: schema 1 expected, found 3; rebuild it"),
    ],
)
def test_a_wrong_input_ends_in_one_sentence_and_code_two(words, sentence):
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"tiny: {sentence}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("fail", "disk"), 1, "pairs.h5: No space left on device"),
        (("fail", "memory"), 1, NO_MEMORY),
        (("fail", "torch"), 1, NO_MEMORY),
        (("fail", "worker"), 1, NO_MEMORY),
        (("fail", "key"), 130, "interrupted"),
        (("go",), 130, "interrupted; --resume goes on"),
    ],
)
def test_what_the_machine_refuses_ends_in_one_sentence_too(words, code, sentence):
    result = run(*words)
    assert result.exit_code == code
    assert result.stderr == f"tiny: {sentence}\n"


@pytest.mark.parametrize(
    ("how", "code", "sentence"),
    [
        ("input", 2, "pairs.h5: schema 1 expected, found 3; rebuild it"),
        ("disk", 1, "pairs.h5: No space left on device"),
        ("key", 130, "interrupted; --resume goes on"),
    ],
)
def test_a_command_without_a_group_ends_in_one_sentence_as_well(how, code, sentence):
    result = CliRunner().invoke(alone, [how], prog_name="tiny")
    assert (result.exit_code, result.stderr) == (code, f"tiny: {sentence}\n")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("count", "--masks", "a", "--rule", "dice"), "'overlap', 'geo'"),
        (("count", "--masks", "a", "--cases", "many"), "'--cases'"),
        (("count", "--massk", "a"), "--massk"),
        (("fail",), "HOW"),
        (("cuont",), "cuont"),
    ],
)
def test_a_command_line_that_cannot_be_read_ends_in_one_sentence_and_code_two(words, named):
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("tiny")
    assert named in result.stderr
    assert result.stderr.endswith(" See --help.\n")
    assert result.stderr.count("\n") == 1


def test_a_mistake_of_ours_keeps_its_traceback():
    assert isinstance(run("fail", "bug").exception, KeyError)


def test_help_shows_defaults_units_and_recipes():
    text = " ".join(run("count", "--help").output.split())
    assert "Edge of a voxel, in mm. [default: 1.0]" in text
    assert "Names. [default: a b]" in text
    assert "[overlap|geo]" in text
    assert "--amp / --no-amp" in text
    assert "demo, detector, estimator, geo2021, gsl2023, kamraoui2021); flags win" in text


@pytest.mark.parametrize("module", ["datagen.cli", "metricnet.cli", "segnet.cli"])
def test_help_waits_for_no_heavy_library(module):
    """A mistyped flag is answered at once: torch and MONAI take seconds to load."""
    code = f"""
import sys
from {module} import main
main(["--help"], standalone_mode=False)
print(sorted({{"torch", "monai", "nilearn"}} & sys.modules.keys()))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("[]\n")


def test_a_mistake_of_the_program_is_no_lack_of_memory():
    assert isinstance(run("fail", "else").exception, RuntimeError)
