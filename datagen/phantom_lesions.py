"""Lesions of the phantom: how large, how many, where, of what shape, and what becomes of them."""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from datagen.anatomy import Anatomy, coordinates_mm, smooth_noise, ventricle_distance_mm

# percentiles of the change masks of 11 real patients (Lesjak et al. 2016); the two ends are chosen
_VOLUME_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_VOLUMES_MM3 = (5.0, 10.0, 22.0, 44.0, 107.0, 594.0, 1500.0)
# shares of periventricular, juxtacortical, deep and infratentorial lesions
_ZONE_SHARES = (0.42, 0.25, 0.29, 0.04)
_MOST_CHANGING = (5, 4, 3)  # growing, shrinking and vanishing lesions
_CONTRAST = (0.22, 0.75)  # of new lesions above white matter
# where growth counts: growing, and shrinking ones; references of change hold fainter new lesions
_MOST_COUNTED = 15
_CONTRAST_COUNTED = (0.08, 0.7)
# standard deviations of the logarithm of a lesion's brightening: as a rule, and of every third
_STEADY, _BRIGHTENING, _BRIGHTENING_COUNTED = 0.08, 0.35, 0.5
_ATTEMPTS = 25
# voxels between a new lesion and any other lesion; a window has as many free voxels at its faces
_GAP_VOXELS = 2

Window = tuple[slice, slice, slice]


class Sites(NamedTuple):
    """Where lesions of a patient may lie."""

    admissible: Bool[np.ndarray, "x y z"]
    ventricle_mm: Float32[np.ndarray, "x y z"]
    zones: tuple[np.ndarray, ...]  # flat indices of possible centres, one array per zone


class Course(NamedTuple):
    """What becomes of a lesion: volume (mm3, 0: absent) and brightness above white matter (1.0)."""

    volume1_mm3: int
    volume2_mm3: int
    contrast1: float
    contrast2: float

    @property
    def volumes(self) -> tuple[int, int]:
        """Volume at either visit, mm3."""
        return self.volume1_mm3, self.volume2_mm3

    @property
    def contrasts(self) -> tuple[float, float]:
        """Brightness above white matter at either visit."""
        return self.contrast1, self.contrast2


class Lesion(NamedTuple):
    """A lesion in its window of the grid: the voxels of lowest `reach` belong to it."""

    window: Window
    reach: Float32[np.ndarray, "a b c"]  # mm from the centre, deformed; inf where it cannot grow
    course: Course

    def fraction(self, visit: int) -> Float32[np.ndarray, "a b c"]:
        """Part of each voxel that is lesion, in [0, 1]: at least a half in `volume` voxels."""
        course = self.course
        return _fraction(self.reach, course.volumes[visit - 1])


def draw_volumes_mm3(count: int, rng: np.random.Generator) -> Float[np.ndarray, " count"]:
    """Volumes (5 to 1500 mm3) whose percentiles are those of real changed lesions.

    The inverse of the distribution function, linear in the logarithm of the volume between the
    5/25/50/75/95th percentiles 10/22/44/107/594 mm3.
    """
    log_volumes = np.interp(rng.uniform(size=count), _VOLUME_QUANTILES, np.log(_VOLUMES_MM3))
    return np.exp(log_volumes)


def draw_new_lesion_count(rng: np.random.Generator, *, counts_growth: bool = False) -> int:
    """Number of new lesions of a patient who has some: 1 to 12, 5 on average, skewed.

    References of change count more of them: with `counts_growth` 1 to 31, 12 on average.
    """
    most, share = (30, 0.15) if counts_growth else (11, 0.31)
    return 1 + min(most, int(rng.negative_binomial(2, share)))


def find_sites(patient: Anatomy) -> Sites:
    """Possible centres of periventricular, juxtacortical, deep and infratentorial lesions."""
    ventricle_mm = ventricle_distance_mm(patient)
    x_mm, y_mm, z_mm = coordinates_mm(patient)
    cortex = ndimage.gaussian_filter(patient.grey, 2.0, truncate=2.5)
    deep_grey = (np.abs(x_mm) < 38) & (np.abs(y_mm + 5) < 32) & (np.abs(z_mm - 2) < 20)
    above = (z_mm > -20) & ~deep_grey
    white = patient.white > 0.6
    zones = (
        white & (z_mm > -6) & (ventricle_mm > 0.5) & (ventricle_mm < 5) & (cortex < 0.45),
        white & above & (ventricle_mm > 10) & (cortex > 0.15) & (cortex < 0.4),
        white & above & (ventricle_mm > 7) & (cortex < 0.08),
        white & (z_mm < -22) & (cortex < 0.3),
    )
    near_wall = (ventricle_mm > 0) & (ventricle_mm < 2.5) & (patient.csf < 0.35)
    admissible = near_wall | ((patient.csf < 0.35) & (patient.white > 0.3))
    return Sites(admissible, ventricle_mm, tuple(np.flatnonzero(zone) for zone in zones))


def draw_lesions(
    sites: Sites, rng: np.random.Generator, *, is_clean: bool, counts_growth: bool = False
) -> list[Lesion]:
    """All lesions of a patient, new ones last.

    10 to 60 stable lesions, up to 5 growing, 4 shrinking and 3 vanishing ones, and the new ones
    (none when `is_clean`), each a single component (26 neighbours) with at least 2 free voxels to
    any other lesion of either visit. The others may merge. With `counts_growth` up to 15 lesions
    shrink and, but for clean patients, up to 15 grow; brightness changes more, in clean patients
    downwards alone; new lesions are more, and fainter.

    Raises ValueError when no room is found for a single new lesion.
    """
    most = _MOST_CHANGING
    if counts_growth:
        most = (0 if is_clean else _MOST_COUNTED, _MOST_COUNTED, most[2])
    courses = _old_courses(rng, most, counts_growth, only_fading=counts_growth and is_clean)
    placed = (_place(course, sites, sites.admissible, rng) for course in courses)
    lesions = [lesion for lesion in placed if lesion is not None]
    new = [] if is_clean else list(_place_new(lesions, sites, rng, counts_growth))
    if not new and not is_clean:
        raise ValueError("no room for a new lesion: the white matter of this anatomy is too small")
    return lesions + new


def _old_courses(
    rng: np.random.Generator, most: tuple[int, int, int], counts_growth: bool, *, only_fading: bool
) -> Iterator[Course]:
    stable = int(np.clip(rng.lognormal(np.log(22), 0.5), 10, 60))
    growing, shrinking, vanishing = (int(rng.integers(0, number + 1)) for number in most)
    steady = np.ones(stable)
    growth = chain(
        steady,
        rng.uniform(1.5, 3.0, size=growing),
        rng.uniform(0.3, 0.7, size=shrinking),
        repeat(0.0, vanishing),
    )
    volumes = draw_volumes_mm3(stable + growing + shrinking + vanishing, rng)
    for volume, factor in zip(volumes, growth, strict=True):
        contrast = rng.uniform(0.2, 0.75)
        # every third lesion is clearly brighter or darker at visit 2: a change, but no new lesion,
        # unless growth counts
        brightening = _BRIGHTENING_COUNTED if counts_growth else _BRIGHTENING
        spread = brightening if rng.uniform() < 0.33 else _STEADY
        change = spread * rng.standard_normal()
        ends = (0.1, 0.95) if counts_growth else (0.15, 0.9)
        contrast2 = np.clip(contrast * np.exp(-abs(change) if only_fading else change), *ends)
        yield Course(round(volume), round(volume * factor), float(contrast), float(contrast2))


def _place_new(
    old: list[Lesion], sites: Sites, rng: np.random.Generator, counts_growth: bool
) -> Iterator[Lesion]:
    free = sites.admissible.copy()
    for lesion in old:
        _block(free, lesion)
    count = draw_new_lesion_count(rng, counts_growth=counts_growth)
    for volume in draw_volumes_mm3(count, rng):
        contrast = float(rng.uniform(*(_CONTRAST_COUNTED if counts_growth else _CONTRAST)))
        new = _place(Course(0, round(volume), contrast, contrast), sites, free, rng)
        if new is not None:
            _block(free, new)
            yield new


def _block(free: Bool[np.ndarray, "x y z"], lesion: Lesion) -> None:
    present = np.maximum(lesion.fraction(1), lesion.fraction(2)) >= 0.5
    cube = np.ones((2 * _GAP_VOXELS + 1,) * 3, dtype=bool)
    free[lesion.window] &= ~ndimage.binary_dilation(present, cube)


def _place(
    course: Course, sites: Sites, free: Bool[np.ndarray, "x y z"], rng: np.random.Generator
) -> Lesion | None:
    """A lesion of this course somewhere in the free voxels; None when no attempt finds room."""
    volume = max(course.volume1_mm3, course.volume2_mm3)
    for _ in range(_ATTEMPTS):
        zone = int(rng.choice(len(_ZONE_SHARES), p=_ZONE_SHARES))
        if not sites.zones[zone].size:
            continue
        centre = np.unravel_index(rng.choice(sites.zones[zone]), free.shape)
        if not free[centre]:
            continue
        axis = _long_axis(sites.ventricle_mm, centre, rng, is_periventricular=zone == 0)
        window, reach = _grow(free, np.array(centre), axis, volume, rng)
        reach, reached = _keep_component(reach, volume)
        if reached >= 0.85 * volume:
            shrink = reached / volume
            course = course._replace(
                volume1_mm3=round(course.volume1_mm3 * shrink),
                volume2_mm3=round(course.volume2_mm3 * shrink),
            )
            return Lesion(window, reach, course)
    return None


def _long_axis(
    ventricle_mm: Float32[np.ndarray, "x y z"],
    centre: tuple,
    rng: np.random.Generator,
    *,
    is_periventricular: bool,
) -> Float[np.ndarray, " 3"]:
    """Direction of the long axis, its length the elongation: away from the ventricle, or random."""
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    elongation = rng.uniform(1.0, 1.6)
    if is_periventricular:
        # Dawson's fingers: along the veins that leave the ventricle at a right angle
        around = tuple(slice(max(0, int(index) - 2), int(index) + 3) for index in centre)
        away = np.array([slope.mean() for slope in np.gradient(ventricle_mm[around])])
        direction = away / (np.linalg.norm(away) + 1e-6) + 0.25 * direction
        direction /= np.linalg.norm(direction)
        elongation = rng.uniform(1.3, 2.4)
    return direction * elongation


def _grow(
    free: Bool[np.ndarray, "x y z"],
    centre: np.ndarray,
    axis: Float[np.ndarray, " 3"],
    volume_mm3: int,
    rng: np.random.Generator,
) -> tuple[Window, Float32[np.ndarray, "a b c"]]:
    elongation = float(np.linalg.norm(axis))
    radius = float(np.cbrt(3 * volume_mm3 / (4 * np.pi)))
    half = int(np.ceil(1.7 * radius * elongation ** (2 / 3))) + 4
    low = np.maximum(centre - half, 0)
    high = np.minimum(centre + half + 1, free.shape)
    x, y, z = (slice(int(first), int(end)) for first, end in zip(low, high, strict=True))
    # the true centre lies anywhere in its voxel
    start = low - centre + rng.uniform(-0.5, 0.5, size=3)
    offsets = np.indices(high - low, dtype=np.float32) + start.reshape(3, 1, 1, 1)
    along = np.tensordot(axis / elongation, offsets, axes=1)
    across = np.square(offsets).sum(axis=0) - along**2
    # an ellipsoid of the same volume whatever its elongation
    reach = np.sqrt(across * elongation ** (2 / 3) + along**2 * elongation ** (-4 / 3) + 1e-6)
    bumps = 0.24 * smooth_noise(reach.shape, max(2.5, 0.9 * radius), rng)
    bumps += 0.1 * smooth_noise(reach.shape, 2.5, rng)
    reach *= np.exp(np.clip(bumps, -0.6, 0.6))
    room = np.zeros(reach.shape, dtype=bool)
    room[(slice(_GAP_VOXELS, -_GAP_VOXELS),) * 3] = True
    room &= free[x, y, z]
    return (x, y, z), np.where(room, reach, np.inf).astype(np.float32)


def _keep_component(
    reach: Float32[np.ndarray, "a b c"], volume_mm3: int
) -> tuple[Float32[np.ndarray, "a b c"], int]:
    """Only the largest piece (26 neighbours) of the lesion may stay; its number of voxels."""
    present = _fraction(reach, volume_mm3) >= 0.5
    labels, pieces = ndimage.label(present, np.ones((3, 3, 3)))
    if pieces == 0:
        return reach, 0
    sizes = np.bincount(labels.ravel())[1:]
    kept = labels == 1 + int(sizes.argmax())
    return np.where(present & ~kept, np.float32(np.inf), reach), int(sizes.max())


def _fraction(reach: Float32[np.ndarray, "a b c"], volume_mm3: int) -> Float32[np.ndarray, "a b c"]:
    room = int(np.isfinite(reach).sum())
    count = min(volume_mm3, room - 1)
    if count < 1:
        return np.zeros_like(reach)
    nearest = np.partition(reach, [count - 1, count], axis=None)
    border = (nearest[count - 1] + nearest[count]) / 2
    # the border of a large lesion is more diffuse: 0.5 mm at 10 mm3, 1 mm at 600 mm3
    edge_mm = 0.3 + 0.08 * np.cbrt(count)
    depth = np.clip((border - reach) / edge_mm, -30.0, 30.0)
    return np.asarray(1.0 / (1.0 + np.exp(-depth)), dtype=np.float32)
