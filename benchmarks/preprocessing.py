"""Preprocess one patient's raw visits, and compare them with how others prepared them."""

import time
from pathlib import Path

import click
import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine

from benchmarks.machine import describe
from datagen import volumes
from datagen.layouts import Case
from datagen.raw_visits import Options, prepare
from datagen.registration import Matrix, find_middle
from datagen.resampling import resample
from datagen.shell import SentenceCommand

_PATH = click.Path(path_type=Path, exists=True)


@click.command(cls=SentenceCommand)
@click.option("--raw", type=_PATH, multiple=True, required=True, help="FLAIR of visit 1, then 2.")
@click.option(
    "--reference",
    type=_PATH,
    required=True,
    help="Folder of the same patient in MSSEG-2 layout: visits on one grid, brain_mask.nii.gz.",
)
def main(raw: tuple[Path, Path], reference: Path) -> None:
    """Print seconds, and how far brain and registration are from those of a reference."""
    print(describe())
    began = time.perf_counter()
    ready = prepare(Case("patient", "patient", *raw), Options())
    print(
        f"{time.perf_counter() - began:.0f} s, visits turned {ready.middle.rotation_degrees:.1f}°"
    )
    visits = [nib.Nifti1Image(scan, ready.grid.affine) for scan in (ready.time1, ready.time2)]
    theirs = [
        volumes.read_image(reference / f"flair_time0{visit}_on_middle_space.nii.gz")
        for visit in (1, 2)
    ]
    to_theirs = [
        _movement(other, own, ready.brain) for other, own in zip(theirs, visits, strict=True)
    ]
    mask = volumes.read_mask(reference / "brain_mask.nii.gz")
    placed = nib.Nifti1Image(np.asanyarray(mask.dataobj), np.linalg.inv(to_theirs[1]) @ mask.affine)
    wanted = resample(placed, ready.grid) >= 0.5
    both = 2 * (wanted & ready.brain).sum() / (wanted.sum() + ready.brain.sum())
    litres = [mask.sum() * ready.grid.voxel_volume_mm3 / 1e6 for mask in (ready.brain, wanted)]
    print(f"brain {litres[0]:.2f} l, theirs {litres[1]:.2f} l: Dice {both:.3f}")
    points = apply_affine(ready.grid.affine, np.argwhere(ready.brain)[::1000])
    ways = [apply_affine(way, points) for way in to_theirs]
    apart = np.linalg.norm(ways[0] - ways[1], axis=1)
    print(
        f"registration: theirs puts visit 1 {apart.mean():.2f} mm from where it is here "
        f"(mean over the brain; at most {apart.max():.2f} mm)"
    )
    for name, pair, brain in (
        ("here", (ready.time1, ready.time2), ready.brain),
        ("theirs", [np.asanyarray(scan.dataobj) for scan in theirs], mask.dataobj > 0),
    ):
        alike = np.corrcoef(pair[0][brain], pair[1][brain])[0, 1]
        print(f"correlation of the visits inside the brain, {name}: {alike:.3f}")


def _movement(moving: nib.Nifti1Image, fixed: nib.Nifti1Image, brain: np.ndarray) -> Matrix:
    """Return the rigid map from the space of `fixed` into that of `moving`."""
    middle = find_middle(moving, fixed, brain)
    whole: Matrix = middle.to_time1 @ np.linalg.inv(middle.to_time2)
    return whole


if __name__ == "__main__":
    main()
