"""Cases that a network learnt from or was chosen by: its scores on them flatter it."""

from collections.abc import Sequence
from pathlib import Path

from datagen.files import read_table
from datagen.layouts import Case
from datagen.wording import counted

LIST = "cohort.csv"  # in the run folder: every case with its split in that training


def say_of_seen(run: Path, cases: Sequence[Case]) -> str | None:
    """Return a sentence on the cases whose scans a run trained on or validated on, if any.

    A file of 'segnet export' does not list its cases: None.
    """
    listed = run / LIST
    if not listed.is_file():
        return None
    # the scans themselves may be gone by now, so they are not looked for
    known = {
        (run / (row.get(visit) or "")).resolve()
        for row in read_table(listed)
        if row.get("split") in ("train", "validation")
        for visit in ("time1", "time2")
    }
    seen = [case for case in cases if {case.time1.resolve(), case.time2.resolve()} & known]
    if not seen:
        return None
    return (
        f"{run} was trained on or chosen by {len(seen)} of {counted(len(cases), 'case')} here, "
        f"{seen[0].name} first: their scores say little; --split test leaves them out where the "
        "cohort has splits"
    )
