from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from datagen.cohort import read_cohort
from datagen.decomposition import Parts, Patch, take_apart
from datagen.errors import InputError
from datagen.growth import draw_core, drop_crumbs
from datagen.lenders import FILE_NAME, read_lenders
from datagen.lesions import label_lesions
from datagen.phantom import misregister
from datagen.scans import read_scans
from datagen.synthesis import Course, synthesise_case, thicken_slices
from datagen.synthetic_cohort import SynthesisSettings, _clean_numbers
from datagen.visits import Visit
from datagen.volumes import Grid

EDGE = 56
LESIONS = ((16, 16, 16), (30, 20, 36), (36, 36, 20))


def scan_and_lesions(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A brain of even tissue with three lesions of 4³ voxels, in deviations."""
    brain, lesions = np.zeros((2, EDGE, EDGE, EDGE), bool)
    brain[4:-4, 4:-4, 4:-4] = True
    for x, y, z in LESIONS:
        lesions[x : x + 4, y : y + 4, z : z + 4] = True
    scan = rng.normal(0, 0.3, brain.shape) + 4 * lesions
    return np.where(brain, scan, -5).astype(np.float32), lesions, brain


@pytest.fixture
def parts(rng, tmp_path) -> Parts:
    scan, lesions, brain = scan_and_lesions(rng)
    visit = Visit("a", "a", tmp_path, tmp_path)
    return take_apart(visit, scan, lesions, brain, Grid(scan.shape, np.eye(4)), rng)


def test_healthy_tissue_and_every_excess_make_the_scan_again(parts):
    scan = scan_and_lesions(np.random.default_rng(5))[0]
    whole = parts.healthy.copy()
    for lesion in parts.lesions:
        whole[lesion.window] += lesion.patch.excess
    assert np.abs(whole - scan).max() < 1e-4


def test_an_erased_lesion_looks_like_the_tissue_around_it(parts):
    _, lesions, brain = scan_and_lesions(np.random.default_rng(5))
    inside, around = parts.healthy[lesions], parts.healthy[brain & ~lesions]
    assert abs(inside.mean() - around.mean()) < 0.6  # the lesions stood 4 above it
    assert 0.3 < inside.std() / around.std() < 2


def test_each_lesion_is_cut_out_with_its_own_mask(parts):
    assert sorted(lesion.patch.mask.sum() for lesion in parts.lesions) == [64, 64, 64]
    assert not any(parts.brain.ravel()[parts.sites] == 0)


@pytest.mark.parametrize("number", range(4))
def test_new_lesions_are_bright_at_visit_2_alone_and_stand_apart(parts, number):
    rng = np.random.default_rng(number)
    made = synthesise_case(parts, [lesion.patch for lesion in parts.lesions], rng, is_clean=False)
    assert made.truth.any()
    assert not (made.truth & made.lesions_time1).any()
    assert (made.truth <= made.lesions_time2).all()
    labels, count = label_lesions(made.lesions_time2)
    of_truth = np.unique(labels[made.truth])
    assert not np.isin(labels[made.lesions_time2 & ~made.truth], of_truth).any()
    assert count >= len(of_truth)
    for visit, is_bright in ((made.time1, False), (made.time2, True)):
        tissue = visit[parts.brain & ~made.lesions_time1 & ~made.lesions_time2]
        shown = (visit[made.truth].mean() - tissue.mean()) / tissue.std()
        assert (shown > 1.5) == is_bright


def test_vanished_lesions_are_bright_at_visit_1_alone(parts):
    seen = 0
    for number in range(6):
        rng = np.random.default_rng(number)
        made = synthesise_case(parts, [parts.lesions[0].patch], rng, is_clean=True)
        assert not made.truth.any()
        assert (made.vanished <= made.lesions_time1).all()
        assert not (ndimage.binary_erosion(made.vanished) & made.lesions_time2).any()
        if made.vanished.any():
            seen += 1
            tissue = parts.brain & ~made.lesions_time1 & ~made.lesions_time2
            first, second = (
                (visit[made.vanished].mean() - visit[tissue].mean()) / visit[tissue].std()
                for visit in (made.time1, made.time2)
            )
            assert first > second + 1
    assert seen


def test_where_growth_counts_the_gained_part_of_a_lesion_is_new_and_bright(parts):
    donors, brighter = [lesion.patch for lesion in parts.lesions], []
    for number in range(80):
        rng = np.random.default_rng(number)
        made = synthesise_case(parts, donors, rng, is_clean=False, counts_growth=True)
        before = ndimage.binary_dilation(made.lesions_time1, np.ones((3, 3, 3)))
        labels, count = label_lesions(made.truth)
        sizes = np.bincount(labels.ravel())[1:]
        assert sizes.min() >= 3
        grown = [n for n in range(1, count + 1) if (before & (labels == n)).any()]
        for piece in (labels == n for n in grown if sizes[n - 1] > 8):
            deviations = [
                (visit[piece].mean() - visit[parts.brain].mean()) / visit[parts.brain].std()
                for visit in (made.time1, made.time2)
            ]
            brighter.append(deviations[1] - deviations[0])
    assert len(brighter) > 3
    assert np.mean(np.array(brighter) > 0.05) > 0.8  # some are faint
    assert np.median(brighter) > 0.3


def test_a_lesion_that_becomes_clearly_brighter_is_gained_where_growth_counts():
    mask = np.zeros((9, 9, 9), bool)
    mask[2:7, 2:7, 2:7] = True
    before, steady, brighter = (
        Patch(np.float32(excess) * mask, mask) for excess in (2.0, 2.2, 3.0)
    )
    window = (slice(0, 9),) * 3
    course = Course(window, before, brighter)
    assert not course.gained(counts_growth=False).any()
    assert (course.gained(counts_growth=True) <= mask).all()
    assert course.gained(counts_growth=True)[3:6, 3:6, 3:6].all()
    assert not course.lost(counts_growth=True).any()
    fading = Course(window, brighter, before)
    assert (fading.lost(counts_growth=True) == course.gained(counts_growth=True)).all()
    assert not fading.gained(counts_growth=True).any()
    assert not Course(window, before, steady).gained(counts_growth=True).any()


def test_a_clean_case_gains_nothing_where_growth_counts(parts):
    lost = 0
    for number in range(10):
        rng = np.random.default_rng(number)
        made = synthesise_case(parts, [], rng, is_clean=True, counts_growth=True)
        assert not made.truth.any()
        lost += int(made.vanished.sum())
    assert lost


def test_a_lesion_grows_from_a_part_of_it():
    patch = Patch(np.full((9, 9, 9), 2, np.float32), np.zeros((9, 9, 9), bool))
    patch.mask[1:8, 1:8, 1:8] = True
    shares = []
    for seed in range(20):
        core = draw_core(patch, np.random.default_rng(seed))
        assert (core.mask <= patch.mask).all()
        assert (core.excess >= 0).all()
        assert core.excess[core.mask].mean() > core.excess[patch.mask & ~core.mask].mean() + 0.5
        shares.append(core.mask.sum() / patch.mask.sum())
    assert 0.25 < min(shares) < 0.5 < max(shares) < 0.9


def test_a_case_depends_on_its_generator_alone(parts):
    donors = [lesion.patch for lesion in parts.lesions]
    first, second, third = (
        synthesise_case(parts, donors, np.random.default_rng(seed), is_clean=False)
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first.time2, third.time2)


@pytest.mark.parametrize("slices", [1, 2, 3, 4])
def test_thick_slices_stay_in_their_place(slices):
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32), (2, 2, 24))
    assert np.abs(thicken_slices(ramp, slices) - ramp)[..., 4:-6].max() < 1e-4


def test_a_scan_without_lesions_and_donors_makes_clean_cases(rng, tmp_path):
    scan, lesions, brain = scan_and_lesions(rng)
    scan[lesions] = 0
    none = np.zeros_like(lesions)
    visit = Visit("a", "a", tmp_path, tmp_path)
    parts = take_apart(visit, scan, none, brain, Grid(scan.shape, np.eye(4)), rng)
    assert parts.lesions == []
    assert not synthesise_case(parts, [], rng, is_clean=False).truth.any()


@pytest.fixture
def singles(tmp_path):
    for number in range(3):
        scan, lesions, brain = scan_and_lesions(np.random.default_rng(number))
        folder = tmp_path / "singles" / f"p{number}"
        folder.mkdir(parents=True)
        signal = np.where(brain, 500 + 60 * scan, 0).astype(np.int16)
        nib.save(nib.Nifti1Image(signal, np.eye(4)), folder / "flair.nii.gz")
        nib.save(
            nib.Nifti1Image(lesions.astype(np.uint8), np.eye(4)), folder / "ground_truth.nii.gz"
        )
    return tmp_path / "singles"


def test_the_command_writes_a_cohort_that_can_be_trained_on(singles, run, tmp_path):
    cohorts = []
    for name in ("one", "two"):
        out = tmp_path / name
        options = ["--cases", "7", "--workers", "1", "--clean-share", "0.3"]
        run("datagen", "synthesise", "--scans", singles, "--out", out, *options)
        cohorts.append(read_cohort(out))
    first, second = cohorts
    assert {case.patient for case in first} == {"p0", "p1", "p2"}
    assert {case.split for case in first} == {"train", "validation"}
    by_patient = {
        case.patient: {c.split for c in first if c.patient == case.patient} for case in first
    }
    assert all(len(splits) == 1 for splits in by_patient.values())
    clean = [not read_scans(case, 1.0).truth.any() for case in first]
    assert sum(clean) == 2
    for one, other in zip(first, second, strict=True):
        for a, b in ((one.time1, other.time1), (one.time2, other.time2), (one.truth, other.truth)):
            assert np.array_equal(nib.load(a).dataobj, nib.load(b).dataobj)
        assert (one.time2.parent / "vanished_lesions.nii.gz").is_file()


def test_donors_come_from_other_patients_of_the_same_split(singles, run, tmp_path, monkeypatch):
    lent = []

    def look(scan, donors, rng, **options):
        lent.append((scan, donors))
        return synthesise_case(scan, donors, rng, **options)

    monkeypatch.setattr("datagen.synthetic_cohort.synthesise_case", look)
    out = tmp_path / "out"
    run("datagen", "synthesise", "--scans", singles, "--out", out, "--cases", "3", "--workers", "1")
    splits = {case.patient: case.split for case in read_cohort(out)}
    owners = {id(lesion.patch.excess): scan.patient for scan, _ in lent for lesion in scan.lesions}
    named = read_lenders(out)
    for number, (scan, donors) in enumerate(lent, start=1):
        givers = {owners[id(patch.excess)] for patch in donors}
        assert givers == named[f"synthetic{number:03d}"]
        assert all(splits[giver] == splits[scan.patient] for giver in givers)
        if splits[scan.patient] == "train":
            assert scan.patient not in givers


def test_lenders_without_their_column_are_refused(tmp_path):
    assert read_lenders(tmp_path) == {}
    (tmp_path / FILE_NAME).write_text("case,donor\nsynthetic001,a\n")
    with pytest.raises(InputError, match="columns case and patient are needed"):
        read_lenders(tmp_path / "cohort.csv")


@pytest.mark.parametrize("scans", [2, 4, 20])
def test_clean_cases_are_spread_over_the_scans(scans):
    settings = SynthesisSettings(scans=(Path(),), cases=40, clean_share=0.25)
    of_scans = np.bincount([n % scans for n in _clean_numbers(settings, scans)], minlength=scans)
    assert of_scans.sum() == 10
    assert of_scans.max() <= np.ceil(10 / scans)


def test_a_lesion_of_three_voxels_stays_where_a_spacing_is_rounded():
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 1:4] = True
    assert drop_crumbs(mask, (0.9999999,) * 3).sum() == 3
    assert not drop_crumbs(mask, (0.9,) * 3).any()


def test_a_visit_is_shifted_by_millimetres_not_by_voxels():
    volume = ndimage.gaussian_filter(np.pad(np.ones((1, 1, 1)), 20), 3.0).astype(np.float32)
    shifts = []
    for spacing_mm in (1.0, 0.5):
        moved = misregister(volume, np.random.default_rng(3), spacing_mm)
        shifts.append(np.array(ndimage.center_of_mass(moved)) - 20)
    assert np.allclose(shifts[1], 2 * shifts[0], atol=0.02)
    assert np.linalg.norm(shifts[0]) > 0.1
