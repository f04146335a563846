"""One self-contained HTML page about scores and a run: tables, curves, and a viewer of cases."""

from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2

from datagen.config import CONFIG
from datagen.errors import InputError
from datagen.files import read_table, write_text
from datagen.inspection import embed_figure
from datagen.progress import track
from metricnet.runs import read_config, read_history
from segnet.config import TrainSettings
from segnet.figures import draw_curves
from segnet.sections import Section, list_sections
from segnet.viewer import pack_case

SECTION = "segnet.train"


def write_report(run: Path | None, scores: Path | None, out: Path, most_cases: int = 40) -> Path:
    """Write the page and return its path.

    `run` is a folder of 'segnet train', `scores` one of 'segnet evaluate', by default `scores`
    below the run; either may be left out. Where scores are missing below a run the page holds its
    curves alone, and says so. The viewer shows the first `most_cases` cases. Raises InputError
    where `run` holds no history yet, the given scores are missing, or a scored volume has gone.
    """
    folder = scores or (run / "scores" if run else None)
    if folder is None:
        raise InputError("give RUN, a folder of 'segnet train', or --scores")
    is_scored = (folder / "sources.csv").is_file()
    if scores and not is_scored:
        raise InputError(f"{scores} holds no sources.csv; score there first with 'segnet evaluate'")
    about_run = _about_run(run) if run else {}
    about_scores = _about_scores(folder, most_cases) if is_scored else {"missing": folder}
    render_page(out, title=str(run or scores), **about_run, **about_scores)
    return out


def render_page(out: Path, *, title: str, **parts: Any) -> None:
    """Write a page with the given parts of the template; without one it is left out."""
    page = _template().render(
        title=title,
        version=metadata.version("lesionwise"),
        style=_text("report.css"),
        script=_text("report.js"),
        **{**_NO_PARTS, **parts, "cases": [_script(case) for case in parts.get("cases", ())]},
    )
    write_text(out, page)


_NO_PARTS: dict[str, Any] = {
    "about": "",
    "missing": None,
    "sections": [],
    "shown_cases": [],
    "rules": [],
    "left_out": 0,
    "with_truth": True,
    "curves": "",
    "settings": "",
}


def _about_run(run: Path) -> dict[str, str]:
    read_config(run, SECTION, TrainSettings)  # refused where they are damaged
    settings = (run / CONFIG).read_text(encoding="utf-8")
    return {"settings": settings, "curves": embed_figure(draw_curves(read_history(run)))}


def _about_scores(folder: Path, most_cases: int) -> dict[str, Any]:
    try:
        sections: list[Section] = list_sections(folder, embed_figure)
        sources = read_table(folder / "sources.csv")
        lesions = read_table(folder / "lesions.csv")
        rules = list(dict.fromkeys(row["rule"] for row in read_table(folder / "cases.csv")))
        names = list(dict.fromkeys(row["case"] for row in sources))
        shown = names[:most_cases]
        cases = [
            pack_case(_of_case(sources, name), _of_case(lesions, name))
            for name in track(shown, "cases drawn", len(shown))
        ]
    except (KeyError, ValueError) as error:
        raise InputError(f"{folder} is damaged ({error}); run 'segnet evaluate' again") from error
    return {
        "sections": sections,
        "cases": cases,
        "shown_cases": shown,
        "rules": rules,
        "left_out": len(names) - len(shown),
    }


def _of_case(rows: Sequence[Mapping[str, str]], name: str) -> list[Mapping[str, str]]:
    return [row for row in rows if row["case"] == name]


def _script(data: str) -> str:
    """Make JSON safe inside a script element, which the first '</' would end."""
    return data.replace("<", "\\u003c")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_text("report.html"))


def _text(name: str) -> str:
    return (resources.files("segnet") / "templates" / name).read_text(encoding="utf-8")
