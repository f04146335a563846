"""Speed, size, balance and reproducibility of the pair builder."""

import hashlib
import time
from pathlib import Path

import click
import numpy as np
from machine import describe

from datagen.build import BuildSettings, build
from datagen.store import PairFile


@click.command()
@click.option("--masks", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--pairs", type=int, default=2000)
@click.option("--seed", type=int, default=7)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/benchmark_pairs"))
def main(masks: tuple[Path, ...], pairs: int, seed: int, out: Path) -> None:
    """Build the same file with one and with two workers."""
    print(describe())
    digests = {}
    for workers in (1, 2):
        path = out / f"workers{workers}.h5"
        start = time.perf_counter()
        build(BuildSettings(masks=masks, pairs=pairs, seed=seed, out=path, workers=workers))
        taken = time.perf_counter() - start
        digests[workers] = hashlib.sha256(path.read_bytes()).hexdigest()
        size = path.stat().st_size / pairs
        print(
            f"{workers} workers: {taken:.1f} s, masks read, {pairs / taken:.0f} pairs/s, "
            f"{size / 1000:.1f} kB a pair, sha256 {digests[workers][:16]}"
        )
    print("same bytes" if digests[1] == digests[2] else "THE BYTES DIFFER")
    with PairFile(out / "workers1.h5") as file:
        scores = file.column("f1")
    bins = np.histogram(scores, bins=10, range=(0, 1))[0]
    print(f"pairs by tenth of the score: {bins.tolist()}")
    print(f"exactly 0: {np.mean(scores == 0):.1%}, exactly 1: {np.mean(scores == 1):.1%}")


if __name__ == "__main__":
    main()
