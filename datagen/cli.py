"""The command line of datagen."""

from pathlib import Path

import click

# heavy imports stay inside the commands, so that --help answers at once
from datagen.build import BuildSettings
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
    """List the cases that a folder holds, as a cohort.csv to look at and to edit."""
    from datagen import cohort as cohorts
    from datagen import visits

    if both_orders and single_visits:
        raise click.UsageError("give --both-orders or --single-visits: a single visit has no order")
    if single_visits:
        cases = visits.as_cases(visits.list_visits(source))
    else:
        cases = cohorts.read_cohort(source)
    if both_orders:
        cases = cohorts.with_reversed_visits(cases)
    cohorts.write_cohort(cases, out)
    patients = len({case.patient for case in cases})
    say(f"wrote {counted(len(cases), 'case')} of {counted(patients, 'patient')} to {out}")
