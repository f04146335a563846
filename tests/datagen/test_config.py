from importlib import metadata
from typing import Literal

import pytest
from pydantic import Field, ValidationError

from datagen.build import BuildSettings
from datagen.config import (
    SECTIONS,
    Settings,
    format_recipe,
    not_recorded,
    read_recipe,
    recipe_names,
    resolve,
)
from datagen.errors import InputError
from datagen.simulation import PhantomSettings


class Tiny(Settings):
    cases: int = Field(16, ge=3)
    rate: float = 0.5
    names: tuple[str, ...] = ("a",)
    rule: Literal["overlap", "geo"] = "overlap"
    label: str | None = None
    workers: int = not_recorded(2, "Worker processes.", ge=1)


class Needy(Settings):
    masks: str


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe and return its path as a string."""

    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(recipe):
    config = recipe("[datagen.phantom]\ncases = 5\nrate = 0.25\n")
    found = resolve(Tiny, "datagen.phantom", config, {"cases": 7})
    assert (found.cases, found.rate, found.rule) == (7, 0.25, "overlap")


def test_without_a_file_and_flags_the_defaults_stand():
    assert resolve(Tiny, "datagen.phantom", None, {}) == Tiny()


def test_a_recipe_of_another_command_is_refused(recipe):
    config = recipe("[segnet.train]\ncases = 5\n")
    with pytest.raises(InputError, match=r"no section \[datagen.phantom\], but segnet.train"):
        resolve(Tiny, "datagen.phantom", config, {})


def test_an_empty_file_holds_no_section(recipe):
    assert read_recipe(recipe("")) == {}


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Tiny().cases = 4


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        ("cases = 2", {}, r"'cases' in section \[datagen.phantom\] .* got 2"),
        (
            "case = 20",
            {},
            r"'case' in section \[datagen.phantom\] .*; did you mean 'cases'\? 'datagen phantom --",
        ),
        ("voxels = 20", {}, r"unknown key 'voxels' in section .*; 'datagen phantom --help' lists"),
        ("", {"cases": 1}, r"^--cases: .* greater than or equal to 3, got 1"),
        ("cases = true", {}, r"section \[datagen.phantom\] .*'cases' needs a number, got True"),
        ("rate = '0.5'", {}, r"'rate' needs a number, got '0.5'"),
        ("rate = nan", {}, r"'rate' in section .* finite number"),
        ("rule = 'dice'", {}, r"'rule' in section .* 'overlap' or 'geo', got 'dice'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(recipe, text, flags, words):
    with pytest.raises(InputError, match=words) as caught:
        resolve(Tiny, "datagen.phantom", recipe(f"[datagen.phantom]\n{text}\n"), flags)
    assert "\n" not in str(caught.value)


def test_a_missing_setting_is_named_as_a_flag_and_as_a_key():
    with pytest.raises(InputError, match=r"--masks is missing.*'masks' in section \[datagen.build"):
        resolve(Needy, "datagen.build", None, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[datagen.biuld]\n", "unknown key 'datagen.biuld'"),
        ("[datagen]\nbuild = 3\n", "unknown key 'datagen.build'"),
        ("cases = 3\n", "unknown key 'cases'"),
        ("[datagen\n", "is not a TOML file"),
    ],
)
def test_a_broken_recipe_is_refused(recipe, text, words):
    with pytest.raises(InputError, match=words):
        read_recipe(recipe(text))


def test_a_recipe_that_an_editor_marked_as_unicode_is_read(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xef\xbb\xbf[datagen.phantom]\ncases = 5\n")
    assert resolve(Tiny, "datagen.phantom", str(path), {}).cases == 5


def test_a_recipe_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not a TOML file"):
        read_recipe(str(path))


def test_an_unknown_recipe_is_refused_with_the_known_names():
    with pytest.raises(InputError, match=r"--config nowhere: no such file.*kamraoui2021"):
        read_recipe("nowhere")


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_of_the_package_hold_valid_sections(name, tmp_path):
    sections = read_recipe(name)
    assert sections
    assert set(sections) <= set(SECTIONS)
    if "datagen.phantom" in sections:
        resolve(PhantomSettings, "datagen.phantom", name, {})
    if "datagen.build" in sections:
        resolve(BuildSettings, "datagen.build", name, {"masks": (tmp_path,)})


@pytest.mark.parametrize(
    "tiny",
    [
        Tiny(),
        Tiny(cases=3, rate=1e-5, names=("a", "b"), rule="geo"),
        Tiny(names=(), rate=1e20),
        Tiny(label='quote " and \\ back\tslash\nline'),
        Tiny(label="Übung 日本"),
        Tiny(label="scan 😀"),
        Tiny(label="delete \x7f"),
    ],
    ids=repr,
)
def test_a_written_recipe_is_read_back_to_the_same_settings(recipe, tiny):
    written = format_recipe("datagen.phantom", tiny)
    assert written.startswith(f"# lesionwise {metadata.version('lesionwise')}, torch ")
    config = recipe(written)
    assert resolve(Tiny, "datagen.phantom", config, {}) == tiny


def test_what_changes_only_the_running_is_not_recorded():
    assert Tiny(workers=8).recorded() == Tiny(workers=1).recorded()
    assert "workers" not in Tiny().recorded()
