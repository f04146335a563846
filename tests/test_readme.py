"""What the README tells people to type exists, and its Python examples run."""

import re
import shlex
from pathlib import Path
from typing import get_args

import click
import pytest

from datagen.cli import main as datagen
from metricnet.cli import main as metricnet
from segnet import losses
from segnet.choices import Loss
from segnet.cli import main as segnet

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
MAKEFILE = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
PROGRAMS = {"datagen": datagen, "metricnet": metricnet, "segnet": segnet}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.split()[0] in PROGRAMS]


@pytest.mark.parametrize("line", commands())
def test_commands_have_the_flags_that_are_shown(line):
    program, name, *arguments = shlex.split(line)
    command = PROGRAMS[program].commands[name]
    context = click.Context(command)
    assert command.make_parser(context).parse_args(list(arguments))


def test_the_worked_example_is_what_make_demo_runs():
    demo = MAKEFILE.replace("$(BIN)/", "").replace("$(DEMO)", "runs/demo")
    run_by_make = [line.strip() for line in demo.splitlines() if line.startswith("\t")]
    shown = [line for line in commands() if "--config demo" in line]
    assert shown
    assert all(line in run_by_make for line in shown)


def test_the_table_names_every_command():
    named = set(re.findall(r"^\| `(\w+ \w+)` \|", README, re.MULTILINE))
    offered = {
        f"{program} {name}" for program, group in PROGRAMS.items() for name in group.commands
    }
    assert named == offered


def test_the_table_of_losses_names_every_loss_and_every_function():
    section = README.split("## Every loss")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    assert set(get_args(Loss)) <= named
    functions = {name for name in losses.__all__ if name.endswith("_loss")}
    assert functions - {"geometric_loss"} <= named


def test_python_examples_run(tiny_estimator):
    examples = blocks("python")
    assert len(examples) >= 2
    for example in examples:
        code = example.replace("runs/demo/estimator", str(tiny_estimator)).replace("64,", "32,")
        exec(compile(code.replace("64)", "32)"), "README.md", "exec"), {})


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_shows_defaults(program, run):
    for name in PROGRAMS[program].commands:
        assert "Usage" in run(program, name, "--help")
    assert "[default: 0.2]" in run("segnet", "train", "--help")
