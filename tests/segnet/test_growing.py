import numpy as np
import pytest

from datagen.cohort import read_cohort, write_cohort
from datagen.files import read_table
from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.evaluation import dice_coefficient
from segnet.growing import DEFAULT_KAPPA, fit_kappa, grey_matter, grown_lesions


@pytest.fixture
def scans(rng) -> Scans:
    """Fluid, white and grey matter, a new lesion with a faint rim, and an old lesion."""
    shape = (36, 36, 36)
    brain, truth = np.zeros((2, *shape), bool)
    brain[2:-2, 2:-2, 2:-2] = True
    tissue = np.full(shape, -4.0)
    tissue[8:22] = -0.5
    tissue[22:] = 0.5
    truth[10:15, 10:15, 10:15] = True
    core = np.zeros(shape)
    core[truth], core[11:14, 11:14, 11:14] = 2.5, 4.5
    old = np.zeros(shape)
    old[10:15, 24:29, 24:29] = 4.5
    noise = rng.normal(0, 0.5, (2, *shape))
    time1, time2 = tissue + old + noise[0], tissue + old + core + noise[1]
    return Scans(
        time1.astype(np.float32),
        time2.astype(np.float32),
        brain,
        truth,
        Grid(shape, np.eye(4)),
    )


def test_a_new_lesion_is_grown_and_an_old_one_is_not(scans):
    found = grown_lesions(scans, 3.0) >= 0.5
    assert dice_coefficient(scans.truth, found) > 0.6
    assert not found[10:15, 24:29, 24:29].any()


def test_growth_reaches_beyond_its_seeds(scans):
    few, many = (grown_lesions(scans, kappa) >= 0.5 for kappa in (12.0, 3.0))
    assert few.sum() > 0
    assert (few & many).sum() > 0.5 * many.sum()


def test_without_a_seed_nothing_grows(scans):
    assert not grown_lesions(scans._replace(time2=scans.time1), 3.0).any()


def test_grey_matter_is_the_brightest_of_three_tissues(rng):
    parts = [rng.normal(-5, 1, 5000), rng.normal(-0.7, 0.3, 20000), rng.normal(1, 0.3, 20000)]
    mean, deviation = grey_matter(np.concatenate([*parts, rng.normal(6, 1, 300)]))
    assert mean == pytest.approx(1, abs=0.1)
    assert deviation == pytest.approx(0.3, abs=0.1)


def test_the_fitted_threshold_is_one_that_finds_the_lesion(scans):
    found = grown_lesions(scans, fit_kappa([scans], 3.0)) >= 0.5
    assert dice_coefficient(scans.truth, found) > 0.6


def test_the_command_fits_the_seeds_on_the_splits_that_it_does_not_predict(
    tiny_cohort, run, tmp_path
):
    splits = ("train", "train", "test", "test")
    cases = zip(read_cohort(tiny_cohort), splits, strict=True)
    listed = tmp_path / "cohort.csv"
    write_cohort([case._replace(split=split) for case, split in cases], listed)
    words = ["--baseline", "growing", "--cohort", listed, "--split", "test", "--out", tmp_path]
    said = run("segnet", "predict", *words)
    assert "growth from seeds above" in said
    assert f"above {DEFAULT_KAPPA:g} deviations" not in said
    rows = [len(read_table(tmp_path / case / "lesions.csv")) for case in ("case2", "case3")]
    assert rows[0] > rows[1]  # the last one is clean


def test_a_threshold_without_lesions_to_fit_it_is_the_default(scans):
    clean = scans._replace(truth=np.zeros_like(scans.truth))
    assert fit_kappa([clean], 3.0) == DEFAULT_KAPPA


def test_growth_ends_where_noise_begins(scans):
    """Lesions are rare: tissue that noise brightens a little is no part of one."""
    for kappa in (2.5, 3.0):
        assert 100 < (grown_lesions(scans, kappa) >= 0.5).sum() < 2 * scans.truth.sum()
