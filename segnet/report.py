"""One self-contained HTML page about a run: curves, tables, and slices of every case."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from datagen.config import format_recipe
from datagen.errors import InputError
from datagen.files import read_table, whole_file
from datagen.progress import track
from metricnet.runs import read_config, read_history
from segnet.config import TrainSettings
from segnet.figures import draw_case, draw_curves, read_case
from segnet.tables import Sheet, active_sheet, case_sheet, clean_sheet

SECTION = "segnet.train"


def write_report(run: Path, scores: Path | None, out: Path) -> Path:
    """Write the page and return its path.

    `run` is a folder of 'segnet train', `scores` one of 'segnet evaluate', by default `scores`
    below the run; where that is missing the page holds the curves alone, and says so. Pictures show
    the first method that was scored. Raises InputError where `run` holds no history yet, the given
    scores are missing, or a scored volume has gone.
    """
    settings = format_recipe(SECTION, read_config(run, SECTION, TrainSettings))
    history = read_history(run)
    is_scored = ((scores or run / "scores") / "sources.csv").is_file()
    if scores and not is_scored:
        raise InputError(f"{scores} holds no sources.csv; score there first with 'segnet evaluate'")
    scores = scores or run / "scores"
    page = _template().render(
        title=str(run),
        version=metadata.version("lesionwise"),
        settings=settings,
        curves=_embed(draw_curves(history)),
        tables=_sheets(scores) if is_scored else [],
        cases=_cases(scores) if is_scored else [],
        scores=scores,
    )
    with whole_file(out) as partial:
        partial.write_text(page, encoding="utf-8")
    return out


def _template() -> jinja2.Template:
    folder = resources.files("segnet") / "templates"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string((folder / "report.html").read_text(encoding="utf-8"))


def _sheets(scores: Path) -> list[Sheet]:
    means, cases = read_table(scores / "aggregate.csv"), read_table(scores / "cases.csv")
    try:
        return [active_sheet(means), clean_sheet(means), case_sheet(cases)]
    except (KeyError, ValueError) as error:
        raise InputError(f"{scores} is damaged ({error}); run 'segnet evaluate' again") from error


def _cases(scores: Path) -> list[dict[str, Any]]:
    sources, rows = read_table(scores / "sources.csv"), read_table(scores / "cases.csv")
    try:
        shown = [row for row in sources if row["method"] == sources[0]["method"]]
        return [_case(row, rows) for row in track(shown, "cases drawn", len(shown))]
    except (KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{scores} is damaged ({error}); score again with 'segnet evaluate'"
        ) from error


def _case(source: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    key = ("case", "method")
    own = [row for row in rows if [row[name] for name in key] == [source[name] for name in key]]
    return {
        "name": source["case"],
        "method": source["method"],
        "scores": list(dict.fromkeys(_line(row) for row in own)),
        "picture": _embed(draw_case(read_case(source))),
    }


def _line(score: Mapping[str, str]) -> str:
    """One sentence on a case under one rule."""
    if score["is_clean"] == "True":
        volume_mm3 = float(score["predicted_volume_mm3"])
        return f"no new lesion; {score['predicted_lesions']} false ({volume_mm3:.0f} mm³)"
    return (
        f"{score['rule']}: Dice {float(score['dice']):.3f}, L-F1 {float(score['f1']):.3f}; "
        f"{score['truth_hits']} of {score['truth_lesions']} new lesions found, "
        f"{int(score['predicted_lesions']) - int(score['predicted_hits'])} false"
    )


def _embed(figure: Figure) -> str:
    """Return a figure as a data address of a PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    return html.escape("data:image/png;base64," + base64.b64encode(stream.getvalue()).decode())
