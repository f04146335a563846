"""Simulated pairs of FLAIR visits with known new lesions, on the anatomy of the MNI152 template."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int16
from scipy import ndimage

from datagen.anatomy import Anatomy, deform, rotation_matrix, smooth_noise
from datagen.growth import drop_crumbs
from datagen.phantom_distractors import add_distractors
from datagen.phantom_lesions import Lesion, draw_lesions, find_sites

_LARGEST_INTENSITY = 4000.0
_CLEAR_RISE = 0.06  # of white matter: what becomes brighter by more counts where growth does


class PhantomCase(NamedTuple):
    """Two FLAIR visits of a simulated patient on one 1 mm grid; masks lie in visit 2's geometry.

    `truth` holds the new lesions only: lesions of visit 2 that have no voxel at visit 1. Where
    growth counts, rims of growing lesions are in it, and what became clearly brighter. `vanished`
    is the same for the visits in the other order.
    Intensities are scanner units (0 to 4000), at least 1 inside the brain mask and 0 outside.
    """

    time1: Int16[np.ndarray, "x y z"]
    time2: Int16[np.ndarray, "x y z"]
    truth: Bool[np.ndarray, "x y z"]
    vanished: Bool[np.ndarray, "x y z"]
    lesions_time1: Bool[np.ndarray, "x y z"]
    lesions_time2: Bool[np.ndarray, "x y z"]
    brain_mask: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]


class Scanner(NamedTuple):
    """How a visit was scanned; intensities are relative to white matter (1.0)."""

    grey: float
    csf: float
    gamma: float
    gain: float  # scanner units of white matter
    noise: float  # standard deviation of the noise, of white matter
    bias: float  # standard deviation of the logarithm of the bias field
    blur_mm: tuple[float, float, float]  # standard deviation of the point spread function


def simulate_case(
    anatomy: Anatomy, rng: np.random.Generator, *, is_clean: bool, counts_growth: bool = False
) -> PhantomCase:
    """One simulated patient: a deformed brain, its lesions, and two visits on different scanners.

    Visit 1 is rotated by up to 1 degree and shifted by up to 0.7 mm against visit 2, as after an
    imperfect registration. Changes that are no new lesions are everywhere: growing, shrinking,
    vanishing and brightening lesions, pulsation in the CSF, bright cortex, vessels, bias, dirty
    white matter. `is_clean` leaves out the new lesions and nothing else. With `counts_growth` more
    lesions grow and shrink, brighten and fade (in clean patients they only shrink and fade), and
    what they gain and lose is new and vanished. Same rng state, same case.
    """
    patient = deform(anatomy, rng)
    sites = find_sites(patient)
    lesions = draw_lesions(sites, rng, is_clean=is_clean, counts_growth=counts_growth)
    texture = _texture(patient, sites.ventricle_mm, rng)
    visits = []
    for visit in (1, 2):
        scanner = draw_scanner(rng)
        flair = (scanner.csf * patient.csf + scanner.grey * patient.grey + patient.white) * texture
        add_distractors(flair, patient, sites.ventricle_mm, rng)
        _paint_lesions(flair, patient.csf, texture, lesions, visit)
        if visit == 1:
            flair = misregister(flair, rng)
        visits.append(acquire(flair, patient.brain_mask, scanner, rng))
    return PhantomCase(
        time1=visits[0],
        time2=visits[1],
        truth=_changed(lesions, 1, 2, texture.shape, counts_growth),
        vanished=_changed(lesions, 2, 1, texture.shape, counts_growth),
        lesions_time1=_mask(lesions, 1, texture.shape),
        lesions_time2=_mask(lesions, 2, texture.shape),
        brain_mask=patient.brain_mask,
        affine=patient.affine,
    )


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """A random scanner: on all of them CSF is dark and grey matter slightly above white matter."""
    in_plane, through_plane = rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.9)
    blur_mm = [in_plane, in_plane, in_plane]
    # axial or sagittal slices
    blur_mm[int(rng.choice([0, 2]))] = through_plane
    return Scanner(
        grey=rng.uniform(1.10, 1.19),
        csf=rng.uniform(0.12, 0.3),
        gamma=rng.uniform(0.85, 1.15),
        gain=rng.uniform(350.0, 850.0),
        noise=rng.uniform(0.02, 0.045),
        bias=rng.uniform(0.03, 0.07),
        blur_mm=(blur_mm[0], blur_mm[1], blur_mm[2]),
    )


def _texture(
    patient: Anatomy, ventricle_mm: Float32[np.ndarray, "x y z"], rng: np.random.Generator
) -> Float32[np.ndarray, "x y z"]:
    # what belongs to the patient is the same at both visits, in contrast to bias and noise
    shape = patient.grey.shape
    broad, fine = smooth_noise(shape, 14.0, rng), smooth_noise(shape, 3.0, rng)
    cortex = smooth_noise(shape, 10.0, rng) * patient.grey
    # the thin bright line around the ventricles that every FLAIR shows
    rim = rng.uniform(0.03, 0.15) * np.exp(-ventricle_mm / 1.5) * (1.0 - patient.csf)
    texture = 1.0 + 0.025 * broad + 0.02 * fine + 0.03 * cortex + rim
    return np.asarray(texture, dtype=np.float32)


def _paint_lesions(
    flair: Float32[np.ndarray, "x y z"],
    csf: Float32[np.ndarray, "x y z"],
    texture: Float32[np.ndarray, "x y z"],
    lesions: list[Lesion],
    visit: int,
) -> None:
    for lesion in lesions:
        course, window = lesion.course, lesion.window
        contrast = course.contrast1 if visit == 1 else course.contrast2
        # lesions are less even inside than healthy tissue
        brightness = 1.0 + contrast * (4.0 * texture[window] - 3.0)
        # a lesion replaces tissue, never the CSF that shares its voxel
        weight = lesion.fraction(visit) * (1.0 - csf[window])
        flair[window] += weight * np.maximum(brightness - flair[window], 0.0)


def misregister(
    flair: Float32[np.ndarray, "x y z"], rng: np.random.Generator, spacing_mm: float = 1.0
) -> Float32[np.ndarray, "x y z"]:
    """Rotate by up to 1 degree and shift by up to 0.7 mm, as an imperfect registration does."""
    # about three axes: at most 1 degree in all
    matrix = rotation_matrix(np.deg2rad(rng.uniform(-0.57, 0.57, size=3)))
    direction = rng.standard_normal(3)
    shift = direction / np.linalg.norm(direction) * rng.uniform(0.1, 0.7) / spacing_mm
    centre = (np.array(flair.shape) - 1) / 2.0
    offset = centre - matrix @ centre + shift
    return np.asarray(ndimage.affine_transform(flair, matrix, offset, order=1, prefilter=False))


def acquire(
    flair: Float32[np.ndarray, "x y z"],
    brain_mask: Bool[np.ndarray, "x y z"],
    scanner: Scanner,
    rng: np.random.Generator,
    spacing_mm: float = 1.0,
) -> Int16[np.ndarray, "x y z"]:
    """Point spread, contrast, bias field, Rician noise and gain; 0 outside the brain."""
    blurred = ndimage.gaussian_filter(flair, np.array(scanner.blur_mm) / spacing_mm, truncate=3.0)
    bias = np.exp(scanner.bias * smooth_noise(flair.shape, 60.0 / spacing_mm, rng)[brain_mask])
    signal = np.maximum(blurred[brain_mask], 0.0) ** scanner.gamma * bias
    real, imaginary = scanner.noise * rng.standard_normal((2, signal.size), dtype=np.float32)
    magnitude = np.hypot(signal + real, imaginary) * scanner.gain
    image = np.zeros(flair.shape, dtype=np.int16)
    image[brain_mask] = np.rint(np.clip(magnitude, 1.0, _LARGEST_INTENSITY))
    return image


def _changed(
    lesions: list[Lesion], before: int, after: int, shape: tuple[int, ...], counts_growth: bool
) -> Bool[np.ndarray, "x y z"]:
    """Lesions that one visit shows and the other does not; or, of all lesions, what was gained."""
    if not counts_growth:
        return _mask([one for one in lesions if not one.course.volumes[before - 1]], after, shape)
    gained, brighter = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for one in lesions:
        now, then = one.fraction(after), one.fraction(before)
        contrasts = one.course.contrasts
        rise = now * contrasts[after - 1] - then * contrasts[before - 1]
        gained[one.window] |= (now >= 0.5) & (then < 0.5)
        brighter[one.window] |= (now >= 0.5) & (rise > _CLEAR_RISE)
    # lesions may merge: what one gains may have been another's
    gained &= ~_mask(lesions, before, shape)
    return drop_crumbs(gained | brighter, (1.0, 1.0, 1.0))


def _mask(lesions: list[Lesion], visit: int, shape: tuple[int, ...]) -> Bool[np.ndarray, "x y z"]:
    mask = np.zeros(shape, dtype=bool)
    for lesion in lesions:
        mask[lesion.window] |= lesion.fraction(visit) >= 0.5
    return mask
