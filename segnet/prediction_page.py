"""One self-contained page to look at what was predicted, where there is no truth to score by."""

from collections.abc import Sequence
from pathlib import Path

from datagen.files import read_table
from datagen.layouts import Case
from datagen.progress import track
from segnet.prediction_paths import PredictionPaths
from segnet.report import render_page
from segnet.viewer import pack_case

MOST_CASES = 40
_METHOD = "prediction"  # the only one, and not shown
# what the viewer's rows tell of a scored lesion and nobody knows of these
_UNSCORED = {"rule": "", "side": "predicted", "outcome": "", "partners": ""}


def write_prediction_page(
    out: Path, found_by: str, cases: Sequence[tuple[Case, PredictionPaths]]
) -> None:
    """Write a page with both visits of the first forty cases, and the lesions predicted in them.

    Raises InputError where a volume cannot be read.
    """
    shown = cases[:MOST_CASES]
    packed = [_pack(case, paths) for case, paths in track(shown, "cases drawn", len(shown))]
    render_page(
        out,
        title="New lesions",
        about=f"Marked by {found_by}. No truth is known here: each mark has yet to be looked at.",
        cases=packed,
        shown_cases=[case.name for case, _ in shown],
        left_out=len(cases) - len(shown),
        with_truth=False,
    )


def _pack(case: Case, paths: PredictionPaths) -> str:
    source = {
        "case": case.name,
        "method": _METHOD,
        "time1": str(case.time1),
        "time2": str(case.time2),
        "truth": "",
        "prediction": str(paths.mask),
    }
    rows = read_table(paths.lesions)
    return pack_case([source], [{**row, **_UNSCORED, "method": _METHOD} for row in rows])
