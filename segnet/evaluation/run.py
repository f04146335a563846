"""Every method on every case, in parallel, and the tables that come of it."""

import contextlib
import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from joblib import Parallel, delayed

from datagen.config import CONFIG, require_free, require_own
from datagen.files import require_writable
from datagen.progress import track
from segnet.evaluation.case import Choices, Outcome, attempt_case
from segnet.evaluation.lesion_rows import LesionRow
from segnet.evaluation.pairs import Job, list_jobs, unscored
from segnet.evaluation.settings import EvaluateSettings
from segnet.evaluation.surfaces import TOLERANCES_VOXELS
from segnet.evaluation.tabulation import (
    SECTION,
    TABLES,
    Evaluation,
    Failure,
    as_rows,
    tabulate,
    write_tables,
)
from segnet.tables import Sheet, aggregate_sheets, patient_sheet

# scores that the terminal leaves to the files
_TOO_WIDE = (
    "volume_difference_mm3",
    *(f"boundary_dice_{tolerance}" for tolerance in TOLERANCES_VOXELS),
)


def evaluate(settings: EvaluateSettings) -> Evaluation:
    """Score every prediction, write the tables below `out`, and return them.

    A case that cannot be scored is listed among the failures, and the others go on. Raises
    InputError where the inputs do not fit each other, no case at all can be scored, or `out` holds
    another command's run or somebody's tables, or cannot be written.
    """
    jobs = list_jobs(
        settings.truth,
        settings.split,
        list(dict.fromkeys(settings.prediction)),
        settings.probability,
    )
    require_own(settings.out, SECTION)
    require_free(settings.out, TABLES)
    # a thousand cases have a million lesions: their rows pass through a file, not the memory
    with (
        _folder_for(settings.out / CONFIG),
        tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as lesions,
    ):
        return _evaluate(jobs, settings, lesions)


@contextlib.contextmanager
def _folder_for(path: Path) -> Iterator[None]:
    """Make the folder of a file to write; where nothing comes of it, remove it again."""
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        require_writable(path)
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _evaluate(jobs: Sequence[Job], settings: EvaluateSettings, lesions: TextIO) -> Evaluation:
    estimator = _checked_estimator(settings.estimator)
    outcomes = _run(jobs, _choices(settings, estimator), settings.workers, lesions)
    results = [outcome.result for outcome in outcomes if outcome.result]
    failures = [
        Failure(outcome.job.case.name, outcome.job.method, str(outcome.error))
        for outcome in outcomes
        if outcome.error
    ]
    if not results and outcomes[0].error:
        raise outcomes[0].error
    evaluation = tabulate(results, failures, unscored(jobs, settings.split), settings)
    lesions.seek(0)
    write_tables(evaluation, lesions, settings)
    return evaluation


def closing_sheets(evaluation: Evaluation) -> list[Sheet]:
    """Tables to show at the end: means by rule, and patients without new lesions, if any."""
    means = aggregate_sheets(as_rows(evaluation.aggregate), _TOO_WIDE)
    if not any(row.clean_called_clean or row.clean_called_active for row in evaluation.patients):
        return means
    return [*means, patient_sheet(as_rows(evaluation.patients))]


def _choices(settings: EvaluateSettings, estimator: Path | None) -> Choices:
    return Choices(
        tuple(dict.fromkeys(settings.rule)),
        settings.threshold,
        settings.min_size_mm3,
        settings.sweep_min_volume_mm3,
        settings.volume_hd95,
        estimator,
        settings.size_edge_mm3,
    )


def _checked_estimator(path: Path | None) -> Path | None:
    """Refuse an estimator that cannot be read before any case is scored."""
    if path:
        from metricnet.checkpoint import load_estimator

        load_estimator(path)
    return path


def _run(jobs: Sequence[Job], choices: Choices, workers: int, lesions: TextIO) -> list[Outcome]:
    """Score every job; rows of lesions go to the stream, all else is returned."""
    # each worker holds one case at a time, and hands back its rows alone
    pool = Parallel(n_jobs=min(workers, len(jobs)), return_as="generator", max_nbytes=None)
    done: Iterator[Outcome] = pool(delayed(attempt_case)(job, choices) for job in jobs)
    writer = csv.writer(lesions)
    writer.writerow(LesionRow._fields)
    outcomes = []
    for outcome in track(done, "cases scored", len(jobs)):
        if outcome.result:
            writer.writerows(outcome.result.lesions)
            outcome = outcome._replace(result=outcome.result._replace(lesions=[]))
        outcomes.append(outcome)
    return outcomes
