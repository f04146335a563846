"""The command line of datagen."""

from pathlib import Path

import click

# heavy imports stay inside the commands, so that --help answers at once
from datagen.build import BuildSettings
from datagen.errors import InputError
from datagen.shell import SentenceGroup, from_settings, say
from datagen.simulation import PhantomSettings
from datagen.synthetic_cohort import SynthesisSettings
from datagen.wording import counted


@click.group(cls=SentenceGroup, context_settings={"show_default": True, "max_content_width": 100})
@click.version_option(package_name="lesionwise")
def main() -> None:
    """Simulated cohorts, and pairs of masks with exact lesion-wise scores."""


@main.command()
@from_settings(PhantomSettings, "datagen.phantom")
def phantom(settings: PhantomSettings) -> None:
    """Simulate a two-visit FLAIR cohort with known new lesions."""
    from datagen.simulation import simulate_cohort

    cases = simulate_cohort(settings)
    say(
        f"wrote {counted(len(cases), 'patient')} to {settings.out}, "
        f"listed in {settings.out / 'cohort.csv'}"
    )


@main.command()
@from_settings(SynthesisSettings, "datagen.synthesise")
def synthesise(settings: SynthesisSettings) -> None:
    """Make two-visit cases with new lesions from single visits and their lesion masks."""
    from datagen.synthetic_cohort import synthesise_cohort

    cases = synthesise_cohort(settings)
    say(
        f"wrote {counted(len(cases), 'case')} to {settings.out}, "
        f"listed in {settings.out / 'cohort.csv'}"
    )


@main.command()
@from_settings(BuildSettings, "datagen.build")
def build(settings: BuildSettings) -> None:
    """Build balanced (truth, prediction, exact score) pairs from lesion masks."""
    from datagen.build import build as build_pairs

    say(f"wrote {build_pairs(settings)} pairs to {settings.out}")


@main.command()
@click.argument("pairs", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("figures"), help="Folder.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the pairs in the montage.")
def inspect(pairs: Path, out: Path, seed: int) -> None:
    """Show the balance of a pair file and a montage of its pairs."""
    from datagen.inspection import inspect as draw

    say("wrote " + ", ".join(str(path) for path in draw(pairs, out, seed)))


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("cohort.csv"), help="CSV.")
@click.option(
    "--both-orders",
    is_flag=True,
    help="Add each case a second time with its visits swapped, where vanished_lesions.nii.gz lies "
    "beside them to be the truth.",
)
@click.option(
    "--single-visits",
    is_flag=True,
    help="List each scan with the mask of all its lesions, to learn these first: the scan stands "
    "for both visits.",
)
def cohort(source: Path, out: Path, both_orders: bool, single_visits: bool) -> None:
    """List the cases that a folder holds, as a cohort.csv to look at and to edit.

    A folder with a cohort.csv of its own is read from that.
    """
    from datagen import cohort as cohorts
    from datagen import visits

    if both_orders and single_visits:
        raise click.UsageError("give --both-orders or --single-visits: a single visit has no order")
    cohorts.require_new(out)
    if single_visits:
        found = visits.as_cases(visits.list_visits(source))
    else:
        found = cohorts.read_cohort(source)
    own = cohorts.own_list(source)
    if own and not (single_visits and visits.scans_below(source)):
        click.echo(f"the cases are those of {own}; other folders beside it are not read", err=True)
    cases = cohorts.with_reversed_visits(found) if both_orders else found
    if both_orders and len(cases) == len(found):
        click.echo(
            f"no case could be swapped: {cohorts.VANISHED} lies beside none, or both orders are "
            "listed",
            err=True,
        )
    cohorts.write_cohort(cases, out)
    counts = f"{counted(len(cases), 'case')} of "
    counts += counted(len({case.patient for case in cases}), "patient")
    say(f"wrote {counts} to {out}: {cohorts.describe(cases)}")


@main.command()
@click.argument("raw", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("cohort"), help="Folder.")
@click.option(
    "--spacing-mm",
    type=click.FloatRange(0, min_open=True),
    help="Edge of the voxels to write; default: the voxel sizes of visit 2.",
)
@click.option("--bias/--no-bias", default=True, help="Correct the bias field of either visit (N4).")
@click.option(
    "--register/--no-register",
    default=True,
    help="Register the visits; without, they must lie on one grid.",
)
@click.option(
    "--strip/--no-strip",
    default=True,
    help="Find the brain where a case has no brain mask; without, it is where visit 2 is above 0.",
)
@click.option("--workers", type=click.IntRange(1), default=1, help="Cases at a time.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted cohort.")
def preprocess(
    raw: tuple[Path, ...],
    out: Path,
    spacing_mm: float | None,
    bias: bool,
    register: bool,
    strip: bool,
    workers: int,
    resume: bool,
) -> None:
    """Bring raw FLAIR visits to one grid: bias corrected, registered halfway, without the skull.

    RAW is a folder in MSSEG-2 or BIDS layout, a cohort.csv, or the two scans of one patient. A
    brain mask and a truth, where there are any, lie on the grid of visit 2. Ends with exit code 3
    where some cases could not be used.
    """
    try:
        from datagen.preprocess import list_raw, preprocess_cohort
        from datagen.raw_visits import Options
    except ModuleNotFoundError as error:
        if error.name != "SimpleITK":
            raise
        raise InputError("SimpleITK is needed: pip install 'lesionwise[preprocess]'") from error
    cases = list_raw(raw)
    options = Options(bias, register, strip, spacing_mm)
    outcomes, failures = preprocess_cohort(cases, out, options, workers, resume)
    for outcome in outcomes:
        if not outcome.is_plausible:
            click.echo(
                f"{outcome.case}: a brain of {outcome.brain_litres} litres; look at "
                f"{out / outcome.case / 'overview.png'}",
                err=True,
            )
    for failure in failures:
        click.echo(failure, err=True)
    failed = f", {len(failures)} failed" if failures else ""
    say(f"wrote {counted(len(outcomes), 'case')} to {out}, listed in {out / 'cohort.csv'}{failed}")
    if failures:
        click.get_current_context().exit(3)


@main.command()
@click.argument("found", type=click.Path(path_type=Path))
@click.option(
    "--case",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the case, as 'datagen preprocess' wrote it.",
)
@click.option("--visit", type=click.IntRange(1, 2), default=2, help="Visit to go back to.")
@click.option("--scan", type=click.Path(path_type=Path), help="The raw visit, where it was moved.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="NIfTI or CSV to write."
)
def restore(found: Path, folder: Path, visit: int, scan: Path | None, out: Path) -> None:
    """Bring a mask, a map or a table of lesions of prepared visits back onto the raw scan.

    FOUND is what 'segnet predict' wrote: a NIfTI on the grid of the prepared visits, or a CSV
    with the places of lesions, x_mm, y_mm and z_mm, which then are those in the raw scan.
    """
    from datagen import restoring

    if found.suffix == ".csv":
        if scan:
            raise click.UsageError(
                "--scan is for masks and maps: places need no scan; leave it out"
            )
        restoring.restore_places(found, folder, visit, out)
        say(f"wrote {out}, with places in raw visit {visit}")
        return
    scan = restoring.restore(found, folder, visit, scan, out)
    say(f"wrote {out}, on the grid of {scan}")
