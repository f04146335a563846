"""Speed and memory of 'segnet evaluate', beside panoptica and MetricsReloaded where they are."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.machine import describe
from datagen.layouts import Case
from datagen.lesions import Rule
from datagen.shell import SentenceCommand
from segnet.evaluation.case import Choices, evaluate_case, score_rules, score_voxels_and_surfaces
from segnet.evaluation.pairs import Found, Job, read_pair

_RULES: tuple[Rule, ...] = ("overlap", "geo", "msseg2")
_THRESHOLDS = tuple(step / 10 for step in range(1, 10))
_SIZES_MM3 = (0.0, 3.0, 10.0, 30.0, 100.0)


@click.command(cls=SentenceCommand)
@click.option("--truth", type=click.Path(path_type=Path), required=True, help="Mask of a brain.")
@click.option("--prediction", type=click.Path(path_type=Path), required=True, help="Another.")
@click.option("--probability", type=click.Path(path_type=Path), help="Map; else the prediction.")
@click.option("--peers", help="Python that has panoptica or MetricsReloaded, for a comparison.")
@click.option("--cases", type=int, default=200, help="Cases of the run in parallel; 0 for none.")
@click.option("--repeats", type=int, default=5)
def main(
    truth: Path,
    prediction: Path,
    probability: Path | None,
    peers: str | None,
    cases: int,
    repeats: int,
) -> None:
    """Time one pair on one core, then the same beside the peers, then many cases on two cores."""
    print(describe())
    case = Case("case", "case", truth, truth, truth=truth)
    found = Found(prediction, None)
    job, choices = Job(case, "method", prediction, None), Choices(_RULES, volume_hd95=True)
    swept = choices._replace(min_sizes_mm3=_SIZES_MM3)
    with_map = Job(case, "method", prediction, probability or prediction)
    pair = read_pair(case, found, 1.0)

    def measure() -> None:
        measured = read_pair(case, found, 1.0)
        score_rules("case", "method", measured, _RULES)
        score_voxels_and_surfaces("case", "method", measured, True)

    def in_memory() -> None:
        score_rules("case", "method", pair, _RULES)
        score_voxels_and_surfaces("case", "method", pair, True)

    print(f"{truth.name}: median of {repeats}, seconds on one core")
    print(f"  all metrics under three rules, masks in memory: {median(in_memory, repeats):.3f}")
    print(f"  the same, both files read and checked: {median(measure, repeats):.3f}")
    taken = median(lambda: evaluate_case(job, swept), repeats)
    print(f"  with a sweep over 5 minimum sizes: {taken:.3f}")
    swept = swept._replace(thresholds=_THRESHOLDS)
    taken = median(lambda: evaluate_case(with_map, swept), repeats)
    print(f"  with a sweep over 9 thresholds of a map too: {taken:.3f}")
    if peers:
        compare(peers, truth, prediction, repeats)
    if cases:
        run_many(truth, prediction, cases)


def compare(python: str, truth: Path, prediction: Path, repeats: int) -> None:
    """Run both sides in turn, each in a process of its own, on one thread, and print both."""
    script = Path(__file__).with_name("evaluation_peers.py")
    single = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    answers: dict[str, dict[str, Any]] = {}
    for interpreter in (sys.executable, python):
        words = [interpreter, str(script), str(truth), str(prediction), str(repeats)]
        done = subprocess.run(words, env=single, capture_output=True, text=True, check=True)
        answers |= json.loads(done.stdout.splitlines()[-1])
    for name, answer in answers.items():
        ours = answers.get(f"lesionwise, as {name}")
        factor = f", {answer['seconds'] / ours['seconds']:.0f} times ours" if ours else ""
        print(f"  {name}: {answer['seconds']:.3f} s{factor}; {answer['values']}")


def run_many(truth: Path, prediction: Path, cases: int) -> None:
    """Score links to one pair as many cases with two workers, and watch their memory."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, mask in {"truth": truth, "prediction": prediction}.items():
            (root / name).mkdir()
            for number in range(cases):
                (root / name / f"case{number:04}.nii.gz").symlink_to(mask.resolve())
        command = "from segnet.cli import main; main()"
        words = [sys.executable, "-c", command, "evaluate", "--truth", str(root / "truth")]
        words += ["--prediction", str(root / "prediction"), "--workers", "2"]
        words += [word for rule in _RULES for word in ("--rule", rule)]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*words, "--out", str(root / "scores")], stdout=subprocess.PIPE, text=True
        )
        sampled: list[tuple[float, int]] = []
        watcher = threading.Thread(target=watch, args=(process, sampled))
        watcher.start()
        said = process.communicate()[0].splitlines()[-1]
        watcher.join()
    taken = time.perf_counter() - start
    fifths = [
        max(size for at, size in sampled if part <= (at - start) / taken * 5 <= part + 1)
        for part in range(5)
    ]
    print(f"  {cases} cases, 2 workers, sweep over 5 sizes: {taken:.1f} s; {said.split(' to ')[0]}")
    print(f"  memory of all processes in each fifth of the run, MB at most: {fifths}")


def watch(process: subprocess.Popen[str], sampled: list[tuple[float, int]]) -> None:
    """Sample the resident memory of a process and its descendants, in MB, until it ends."""
    while process.poll() is None:
        sampled.append((time.perf_counter(), resident_mb(process.pid)))
        time.sleep(0.2)


def resident_mb(root: int) -> int:
    parents, sizes = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            continue  # it has ended meanwhile
        pid = int(fields["Pid"])
        parents[pid] = int(fields["PPid"])
        sizes[pid] = int(fields.get("VmRSS", "0 kB").split()[0])
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(sizes.get(pid, 0) for pid in family) // 1024


def median(action: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[repeats // 2]


if __name__ == "__main__":
    main()
