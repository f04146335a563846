"""What README and docs/ tell people to type exists, their Python examples run, their links lead."""

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

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("docs/*.md"))]
PAGES += sorted(ROOT.glob("*/pretrained/README.md"))
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
RUN_ELSEWHERE = "docs/your_loop.md"  # by tests/your_loop
PROGRAMS = {"datagen": datagen, "metricnet": metricnet, "segnet": segnet}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[str]:
    lines = [line for block in blocks(text, "console") for line in block.splitlines()]
    shown = [line.removeprefix("$ ").split(" > ")[0] for line in lines]
    return [line for line in shown if line.split()[0] in PROGRAMS]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the usual viewers of Markdown make them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("line", sorted({c for text in TEXTS.values() for c in commands(text)}))
def test_commands_have_the_flags_that_are_shown(line):
    program, name, *arguments = shlex.split(line)
    command = PROGRAMS[program].commands[name]
    context = click.Context(command)
    assert command.make_parser(context).parse_args(list(arguments))


def test_the_worked_example_is_what_make_demo_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    demo = makefile.replace("$(BIN)/", "").replace("$(DEMO)", "runs/demo")
    run_by_make = [line.strip() for line in demo.splitlines() if line.startswith("\t")]
    shown = [line for line in commands(TEXTS["README.md"]) if "--config demo" in line]
    assert shown
    assert all(line in run_by_make for line in shown)


def test_the_table_names_every_command():
    named = set(re.findall(r"^\| `(\w+ \w+)` \|", TEXTS["README.md"], re.MULTILINE))
    offered = {
        f"{program} {name}" for program, group in PROGRAMS.items() for name in group.commands
    }
    assert named == offered


def test_the_table_of_losses_names_every_loss_and_every_function():
    named = set(re.findall(r"`(\w+)`", TEXTS["docs/losses.md"]))
    assert set(get_args(Loss)) <= named
    functions = {name for name in losses.__all__ if name.endswith("_loss")}
    assert functions - {"geometric_loss"} <= named


@pytest.mark.parametrize("page", [name for name in TEXTS if name != RUN_ELSEWHERE])
def test_python_examples_run(page, tiny_estimator):
    for example in blocks(TEXTS[page], "python"):
        code = example.replace("runs/demo/estimator", str(tiny_estimator)).replace("64,", "32,")
        exec(compile(code.replace("64)", "32)"), page, "exec"), {})


def test_there_are_python_examples():
    assert sum(len(blocks(text, "python")) for text in TEXTS.values()) > 5


@pytest.mark.parametrize("page", PAGES, ids=TEXTS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_shows_defaults(program, run):
    for name in PROGRAMS[program].commands:
        assert "Usage" in run(program, name, "--help")
    assert "[default: 0.2]" in run("segnet", "train", "--help")
