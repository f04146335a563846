import cc3d
import numpy as np
import pytest
from scipy import ndimage

from datagen.anatomy import Anatomy, deform, load_anatomy, smooth_noise, ventricle_mask
from datagen.phantom import draw_scanner, simulate_case
from datagen.phantom_lesions import (
    Course,
    Lesion,
    draw_lesions,
    draw_new_lesion_count,
    draw_volumes_mm3,
    find_sites,
)

CUBE = np.ones((3, 3, 3), dtype=bool)


@pytest.fixture(scope="module")
def anatomy():
    return load_anatomy()


@pytest.fixture(scope="module")
def active(anatomy):
    return simulate_case(anatomy, np.random.default_rng(3), is_clean=False)


@pytest.fixture(scope="module")
def clean(anatomy):
    return simulate_case(anatomy, np.random.default_rng(3), is_clean=True)


def test_tissue_fractions_are_fractions(anatomy):
    total = anatomy.grey + anatomy.white + anatomy.csf
    assert min(anatomy.grey.min(), anatomy.white.min(), anatomy.csf.min()) >= 0
    assert total.max() <= 1 + 1e-5
    assert 1.2e6 < anatomy.brain_mask.sum() < 2.0e6  # mm3, an adult brain


def test_cropped_grid_keeps_its_place_in_mni_space(anatomy):
    # (12, 12, 10) mm is in the head of the right caudate nucleus, (26, -20, 30) in white matter
    to_voxel = np.linalg.inv(anatomy.affine)
    caudate = tuple((to_voxel @ (12, 12, 10, 1))[:3].astype(int))
    white = tuple((to_voxel @ (26, -20, 30, 1))[:3].astype(int))
    assert anatomy.grey[caudate] > 0.8
    assert anatomy.white[white] > 0.8


def test_crop_leaves_a_margin_of_six_voxels(anatomy):
    corners = np.argwhere(anatomy.brain_mask)
    assert (corners.min(axis=0) == 6).all()
    assert (np.array(anatomy.grey.shape) - corners.max(axis=0) == 7).all()


def test_two_patients_differ_and_keep_their_brain(anatomy):
    patients = [deform(anatomy, np.random.default_rng(seed)) for seed in (0, 1)]
    first, second = (patient.brain_mask for patient in patients)
    assert (first != second).sum() > 20_000
    for patient in patients:
        assert 0.7 < patient.brain_mask.sum() / anatomy.brain_mask.sum() < 1.15
        assert (patient.grey + patient.white + patient.csf).max() <= 1 + 1e-5


def test_anatomy_without_ventricles_is_refused():
    empty = np.zeros((8, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="no ventricles"):
        ventricle_mask(Anatomy(empty, empty + 1, empty, np.eye(4)))


def test_smooth_noise_is_standardised_and_smooth():
    field = smooth_noise((60, 50, 40), 5.0, np.random.default_rng(0))
    assert abs(field.mean()) < 0.1
    assert field.std() == pytest.approx(1.0, abs=0.1)
    assert np.abs(np.diff(field, axis=0)).mean() < 0.25


def test_same_seed_gives_the_same_case(anatomy, active):
    again = simulate_case(anatomy, np.random.default_rng(3), is_clean=False)
    for first, second in zip(active, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_clean_case_has_lesions_but_no_new_one(clean):
    assert not clean.truth.any()
    assert clean.lesions_time1.any()
    assert clean.lesions_time2.any()


def test_where_growth_counts_what_lesions_gain_and_lose_is_new_and_vanished(anatomy, active):
    rng = np.random.default_rng(3)
    case = simulate_case(anatomy, rng, is_clean=False, counts_growth=True)
    gained, lost = (
        cc3d.dust((one & ~other).astype(np.uint8), threshold=3, connectivity=26) > 0
        for one, other in (
            (case.lesions_time2, case.lesions_time1),
            (case.lesions_time1, case.lesions_time2),
        )
    )
    # what became brighter or darker comes on top
    assert (case.truth >= gained).all()
    assert (case.vanished >= lost).all()
    both = case.lesions_time1 & case.lesions_time2
    assert (case.truth <= gained | both | ndimage.binary_dilation(case.truth & both, CUBE)).all()
    grown = ndimage.binary_dilation(case.lesions_time1, CUBE) & case.truth
    assert grown.any()
    assert not (active.truth & ndimage.binary_dilation(active.lesions_time1, CUBE)).any()


def test_where_growth_counts_lesions_that_become_brighter_or_fade_are_in_the_reference(anatomy):
    brighter, fainter, others = [], [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        case = simulate_case(anatomy, rng, is_clean=False, counts_growth=True)
        tissue = case.brain_mask & ~case.lesions_time1 & ~case.lesions_time2
        both = case.lesions_time1 & case.lesions_time2
        first, second = (
            (visit - visit[tissue].mean()) / visit[tissue].std()
            for visit in (case.time1, case.time2)
        )
        rise = second - first
        brighter.append(rise[both & case.truth].mean())
        fainter.append(rise[both & case.vanished].mean())
        others.append(rise[both & ~case.truth & ~case.vanished].mean())
    assert np.mean(brighter) > np.mean(others) + 0.3
    assert np.mean(fainter) < np.mean(others) - 0.3


def test_a_clean_patient_has_no_growth_that_counts(anatomy):
    rng = np.random.default_rng(3)
    case = simulate_case(anatomy, rng, is_clean=True, counts_growth=True)
    assert not case.truth.any()
    assert case.vanished.any()


def test_vanished_lesions_are_those_of_visit_1_alone(active):
    assert (active.vanished <= active.lesions_time1).all()
    assert not (active.vanished & active.lesions_time2).any()


def test_clean_case_still_changes(clean):
    # growing and vanishing lesions are changes that no truth records
    assert (clean.lesions_time1 & ~clean.lesions_time2).any()
    assert (clean.lesions_time2 & ~clean.lesions_time1).any()


def test_new_lesions_are_present_at_visit_2_only(active):
    assert active.truth.any()
    assert not (active.truth & active.lesions_time1).any()
    assert (active.truth & ~active.lesions_time2).sum() == 0


def test_new_lesions_keep_two_free_voxels_to_any_other_lesion(active):
    lesions = cc3d.connected_components(active.truth, connectivity=26)
    for label in range(1, int(lesions.max()) + 1):
        lesion = lesions == label
        others = (active.lesions_time1 | active.lesions_time2) & ~lesion
        assert not (ndimage.binary_dilation(lesion, CUBE, iterations=2) & others).any()


def test_each_drawn_new_lesion_is_one_component(anatomy):
    sites = find_sites(anatomy)
    for seed in range(4):
        lesions = draw_lesions(sites, np.random.default_rng(seed), is_clean=False)
        new = [lesion for lesion in lesions if not lesion.course.volume1_mm3]
        truth = np.zeros(anatomy.grey.shape, dtype=bool)
        for lesion in new:
            truth[lesion.window] |= lesion.fraction(2) >= 0.5
        assert cc3d.connected_components(truth, connectivity=26).max() == len(new)


def test_new_lesions_appear_in_the_images(active):
    brightness = []
    for image in (active.time1, active.time2):
        around = ndimage.binary_dilation(active.truth, CUBE, iterations=3)
        around &= ~active.lesions_time1 & ~active.lesions_time2 & active.brain_mask
        brightness.append(image[active.truth].mean() / image[around].mean())
    assert brightness[0] < 1.1
    assert brightness[1] > 1.2


def test_intensities_are_positive_in_the_brain_and_zero_outside(active):
    for image in (active.time1, active.time2):
        assert (image[active.brain_mask] > 0).all()
        assert not image[~active.brain_mask].any()
        assert 200 < np.median(image[active.brain_mask]) < 1200


def test_flair_contrast_is_csf_white_grey_lesion(anatomy):
    rng = np.random.default_rng(11)
    # the patient is the first thing that a case draws
    patient = deform(anatomy, np.random.default_rng(11))
    case = simulate_case(anatomy, rng, is_clean=False)
    healthy = ~ndimage.binary_dilation(case.lesions_time1 | case.lesions_time2, CUBE, iterations=3)
    masks = [healthy & (tissue > 0.95) for tissue in (patient.csf, patient.white, patient.grey)]
    for image, lesions in ((case.time1, case.lesions_time1), (case.time2, case.lesions_time2)):
        medians = [float(np.median(image[mask])) for mask in [*masks, lesions]]
        assert medians == sorted(medians)
        csf, white, grey, lesion = medians
        assert csf < 0.6 * white
        assert lesion - white > grey - white > 0.04 * white


def test_lesion_volumes_follow_the_percentiles_of_real_lesions():
    volumes = draw_volumes_mm3(20_000, np.random.default_rng(0))
    percentiles = np.percentile(volumes, [5, 25, 50, 75, 95])
    np.testing.assert_allclose(percentiles, [10, 22, 44, 107, 594], rtol=0.08)
    assert volumes.min() >= 5
    assert volumes.max() <= 1500


def test_active_patients_have_five_new_lesions_on_average():
    rng = np.random.default_rng(0)
    counts = [draw_new_lesion_count(rng) for _ in range(2000)]
    assert 4.5 < np.mean(counts) < 5.5
    assert (min(counts), max(counts)) == (1, 12)
    of_change = [draw_new_lesion_count(rng, counts_growth=True) for _ in range(2000)]
    assert 11.3 < np.mean(of_change) < 12.7
    assert (min(of_change), max(of_change)) == (1, 31)


def test_realised_volumes_stay_near_the_drawn_ones(anatomy):
    lesions = draw_lesions(find_sites(anatomy), np.random.default_rng(0), is_clean=False)
    for lesion in lesions:
        for visit, volume in ((1, lesion.course.volume1_mm3), (2, lesion.course.volume2_mm3)):
            assert (lesion.fraction(visit) >= 0.5).sum() == volume


def test_growing_lesion_contains_its_smaller_self():
    reach = np.random.default_rng(0).uniform(size=(6, 6, 6)).astype(np.float32)
    growing = Lesion((slice(6), slice(6), slice(6)), reach, Course(20, 50, 0.5, 0.5))
    before, after = (growing.fraction(visit) >= 0.5 for visit in (1, 2))
    assert (before.sum(), after.sum()) == (20, 50)
    assert not (before & ~after).any()
    assert growing.course.volumes[0] > 0


def test_no_room_for_a_new_lesion_is_refused(anatomy):
    sites = find_sites(anatomy)
    full = sites._replace(admissible=np.zeros_like(sites.admissible))
    with pytest.raises(ValueError, match="no room for a new lesion"):
        draw_lesions(full, np.random.default_rng(0), is_clean=False)


def test_scanners_differ_but_keep_the_order_of_tissues():
    rng = np.random.default_rng(0)
    scanners = [draw_scanner(rng) for _ in range(50)]
    assert all(scanner.csf < 1 < scanner.grey for scanner in scanners)
    assert np.std([scanner.gain for scanner in scanners]) > 50
