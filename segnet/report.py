"""One self-contained HTML page about a run: curves, tables, and slices of every case."""

import base64
import html
import io
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from datagen import volumes
from datagen.errors import InputError
from datagen.files import read_table, whole_file
from datagen.progress import track
from metricnet.runs import CONFIG, HISTORY, read_history
from segnet.figures import CaseVolumes, canonical, draw_case, draw_curves

_TABLES = {
    "aggregate.csv": "Mean scores",
    "cases.csv": "Cases",
    "clean_cases.csv": "Patients without new lesions",
}


def write_report(run: Path, scores: Path, out: Path) -> Path:
    """Write the page and return its path.

    `run` is a folder of 'segnet train', `scores` one of 'segnet evaluate'; without the latter the
    page holds the curves alone, and says so. Pictures show the first method that was scored.
    Raises InputError where `run` holds no history yet, or a scored volume has gone.
    """
    if not (run / HISTORY).is_file():
        raise InputError(f"{run} holds no {HISTORY}; train there first with 'segnet train'")
    is_scored = (scores / "sources.csv").is_file()
    page = _template().render(
        title=run.resolve().name,
        version=metadata.version("lesionwise"),
        settings=(run / CONFIG).read_text(),
        curves=_embed(draw_curves(read_history(run))),
        tables=[_table(scores / name, title) for name, title in _TABLES.items()]
        if is_scored
        else [],
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


def _table(path: Path, title: str) -> dict[str, Any]:
    rows = read_table(path)
    columns = list(rows[0]) if rows else []
    cells = [[_shown(row[column]) for column in columns] for row in rows]
    heads = [column.replace("_", " ").replace("f1", "L-F1") for column in columns]
    return {"title": title, "heads": heads, "rows": cells}


def _shown(value: str) -> str:
    """Round what is a fraction; leave names and whole numbers, and mark what is empty."""
    if not value:
        return "–"
    try:
        return f"{float(value):.3f}" if "." in value else value
    except ValueError:
        return value


def _cases(scores: Path) -> list[dict[str, Any]]:
    sources = read_table(scores / "sources.csv")
    of_case: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in read_table(scores / "cases.csv"):
        of_case.setdefault((row["case"], row["method"]), []).append(row)
    shown = [row for row in sources if row["method"] == sources[0]["method"]]
    return [
        {
            "name": row["case"],
            "method": row["method"],
            "scores": [_line(score) for score in of_case[row["case"], row["method"]]],
            "picture": _embed(draw_case(_read_case(row))),
        }
        for row in track(shown, "cases drawn", len(shown))
    ]


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


def _read_case(row: Mapping[str, str]) -> CaseVolumes:
    time1, time2 = (volumes.read_image(Path(row[key])) for key in ("time1", "time2"))
    truth, prediction = (volumes.read_mask(Path(row[key])) for key in ("truth", "prediction"))
    return CaseVolumes(
        canonical(time1).astype(np.float32),
        canonical(time2).astype(np.float32),
        canonical(truth) > 0,
        canonical(prediction) > 0,
        volumes.canonical_grid(time2).spacing_mm,
    )


def _embed(figure: Figure) -> str:
    """Return a figure as a data address of a PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    return html.escape("data:image/png;base64," + base64.b64encode(stream.getvalue()).decode())
