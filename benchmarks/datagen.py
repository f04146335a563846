"""Speed, size, balance, exactness and reproducibility of the pair builder."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.machine import describe
from benchmarks.scoring import compare_times
from datagen.balance import SCORE_BINS
from datagen.lesions import score_lesions
from datagen.shell import SentenceCommand
from datagen.store import PairFile
from metricnet.data import DrawSampler, PairDataset

_PATH = click.Path(path_type=Path)
_CLUSTER = (
    "import sys, time, distributed\n"
    "if __name__ == '__main__':\n"
    "    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, "
    "dashboard_address=None)\n"
    "    print(cluster.scheduler_address, flush=True)\n"
    "    time.sleep(3600)\n"
)
# from a small process: the memory of this one would count as a child's while it starts it
_PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


@click.command(cls=SentenceCommand)
@click.option("--masks", type=_PATH, multiple=True, required=True, help="As for 'datagen build'.")
@click.option("--whole", type=_PATH, multiple=True, help="Whole masks to time scores on.")
@click.option("--pairs", type=int, default=20000)
@click.option("--big", type=int, default=0, help="Pairs of a large build; 0 leaves it out.")
@click.option("--seed", type=int, default=7)
@click.option("--out", type=_PATH, default=Path("runs/benchmark_datagen"))
def main(
    masks: tuple[Path, ...], whole: tuple[Path, ...], pairs: int, big: int, seed: int, out: Path
) -> None:
    """Build pair files in several ways; print what each costs and whether they are the same."""
    torch.set_num_threads(1)
    print(describe())
    options = [word for path in masks for word in ("--masks", str(path))] + ["--seed", str(seed)]
    seconds = {n: _build(out / f"w{n}.h5", pairs, options, "--workers", str(n)) for n in (1, 2)}
    for workers, taken in seconds.items():
        print(f"{pairs} pairs, {workers} workers: {taken:.0f} s, {pairs / taken:.0f} pairs/s")
    print(f"two workers are {seconds[1] / seconds[2]:.2f} times as fast as one; masks read in both")
    _print_rate_of_one_core(out, options)
    print(f"{(out / 'w2.h5').stat().st_size / pairs / 1000:.1f} kB a pair")
    _print_reads(out / "w2.h5")
    _print_balance(out / "w2.h5")
    compare_times(out / "w2.h5", whole)
    print(f"same bytes for 1 and 2 workers: {_digest(out / 'w1.h5') == _digest(out / 'w2.h5')}")
    _print_same_bytes(out, options)
    if big:
        _print_big(out, big, options)


def _build(path: Path, pairs: int, options: list[str], *more: str) -> float:
    """Build anew in a process of its own; return the seconds that it took."""
    path.unlink(missing_ok=True)
    start = time.perf_counter()
    subprocess.run(_command(path, pairs, options, *more), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _command(path: Path, pairs: int, options: list[str], *more: str) -> list[str]:
    program = [sys.executable, "-c", "from datagen.cli import main; main()", "build"]
    return [*program, *options, "--pairs", str(pairs), "--out", str(path), *more]


def _print_rate_of_one_core(out: Path, options: list[str]) -> None:
    """Time 3,000 pairs more of one worker: start and reading of the masks cancel out."""
    few, more = (_build(out / "r.h5", n, options, "--workers", "1") for n in (500, 3500))
    print(f"drawn, styled, scored and written by one core: {3000 / (more - few):.0f} pairs/s")


def _print_reads(path: Path) -> None:
    data, draws = PairDataset(path, "train", seed=0), 6000
    for workers in (0, 2):
        loader = DataLoader(data, 32, sampler=DrawSampler(draws), num_workers=workers)
        start = time.perf_counter()
        for _ in loader:
            pass
        taken = time.perf_counter() - start
        print(f"random reads, turned, {workers} loader workers: {draws / taken:.0f} pairs/s")


def _print_balance(path: Path) -> None:
    with PairFile(path) as file:
        scores, styles, lesions = (file.column(n) for n in ("f1", "style", "truth_lesions"))
        edits = file.column("edit")
        wrong = sum(_is_wrong(file, index, scores[index]) for index in range(len(file)))
    bins = np.histogram(scores, SCORE_BINS, (0, 1))[0]
    print(f"pairs by tenth of the score: {bins.tolist()}, {_spread(bins)}")
    for style in np.unique(styles):
        of_style = np.histogram(scores[styles == style], SCORE_BINS, (0, 1))[0]
        print(f"  {style}: {of_style.tolist()}, {_spread(of_style)}")
    print(f"exactly 0: {np.mean(scores == 0):.2%}, exactly 1: {np.mean(scores == 1):.2%}")
    counts = np.bincount(lesions, minlength=31)
    print(f"empty truths {counts[0] / counts.sum():.2%}; pairs by 1 to 30 lesions:")
    print(
        f"  {counts[1:31].tolist()}, correlation with the score "
        f"{np.corrcoef(lesions, scores)[0, 1]:.3f}"
    )
    print(f"edited from the pair before: {np.mean(edits != ''):.1%}")
    print(f"labels that differ from a recomputed one: {wrong} of {scores.size}")


def _spread(bins: np.ndarray) -> str:
    low, high = (bins.min() / bins.mean() - 1, bins.max() / bins.mean() - 1)
    return f"{low:+.1%} to {high:+.1%}"


def _is_wrong(file: PairFile, index: int, f1: np.floating) -> bool:
    truth, probability = file.volumes(index)
    return np.float32(score_lesions(truth > 0, probability >= 128).f1) != f1


def _print_same_bytes(out: Path, options: list[str]) -> None:
    pairs, digests = 2000, {}
    for workers in ("1", "4"):
        _build(out / "s.h5", pairs, options, "--workers", workers)
        digests[f"{workers} workers"] = _digest(out / "s.h5")
    killed = subprocess.Popen(_command(out / "k.h5", pairs, options), start_new_session=True)
    while not list(out.glob("k.h5.parts/0000*.h5")):
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)  # its workers too
    killed.wait()
    _build(out / "k.h5", pairs, options, "--resume")
    digests["killed and resumed"] = _digest(out / "k.h5")
    cluster = subprocess.Popen([sys.executable, "-c", _CLUSTER], stdout=subprocess.PIPE, text=True)
    try:
        address = cluster.stdout.readline().strip() if cluster.stdout else ""
        _build(out / "d.h5", pairs, options, "--cluster", address)
    finally:
        cluster.kill()
    digests["Dask, 2 workers"] = _digest(out / "d.h5")
    print(f"{pairs} pairs: " + ", ".join(f"{way} {digest}" for way, digest in digests.items()))
    print("same bytes" if len(set(digests.values())) == 1 else "THE BYTES DIFFER")


def _print_big(out: Path, pairs: int, options: list[str]) -> None:
    start = time.perf_counter()
    command = [sys.executable, "-c", _PEAK, *_command(out / "big.h5", pairs, options)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    taken = time.perf_counter() - start
    size = (out / "big.h5").stat().st_size
    peak = int(printed.split()[-1]) / 1e6
    print(
        f"{pairs} pairs: {taken:.0f} s, {pairs / taken:.0f} pairs/s on 2 workers, "
        f"{size / 1e9:.2f} GB; largest process {peak:.2f} GB resident"
    )
    factor = 1e6 / pairs
    print(
        f"so 1,000,000 pairs: {taken * factor / 3600:.1f} h on 2 cores, {size * factor / 1e9:.0f} "
        f"GB (twice while they are merged), {peak:.2f} GB a process"
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
