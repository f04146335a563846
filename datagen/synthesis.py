"""Two visits with new lesions, made from one scan and the lesions of others."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int16
from scipy import ndimage

from datagen.decomposition import Parts, Patch, Placed
from datagen.growth import draw_core, drop_crumbs
from datagen.phantom import acquire, draw_scanner, misregister
from datagen.phantom_lesions import draw_new_lesion_count, draw_volumes_mm3

_GAP_VOXELS = 2
_PLACES_TRIED = 30
_LARGEST_NEW_MM3 = 1500.0
_MOST_VANISHED, _MOST_STABLE = 4, 10
_STRENGTH = (0.7, 1.3)  # of a lesion, as a share of what it was where it was found
# where growth counts: growing lesions, and as many that shrink; lesions of change are fainter
_MOST_GROWING = 12
_STRENGTH_COUNTED = (0.25, 1.2)
_CLEAR_RISE_Z = 0.35  # what becomes brighter by more counts where growth does
# standard deviations of the logarithm of a lesion's brightening: as a rule, and of every third
_STEADY, _BRIGHTENING, _BRIGHTENING_COUNTED = 0.05, 0.3, 0.5
# white matter is 1.0 in a scanner's units; fluid, five deviations darker, comes out at 0.15
_SIGNAL_PER_DEVIATION = 0.17
_FLUID_Z = -2.0


class SyntheticCase(NamedTuple):
    """Two visits in scanner units; `truth` is new, `vanished` lay at visit 1 only.

    Where growth counts, what a lesion gained is new, and what it lost has vanished: tissue, or
    clearly of its brightness.
    """

    time1: Int16[np.ndarray, "x y z"]
    time2: Int16[np.ndarray, "x y z"]
    truth: Bool[np.ndarray, "x y z"]
    vanished: Bool[np.ndarray, "x y z"]
    lesions_time1: Bool[np.ndarray, "x y z"]
    lesions_time2: Bool[np.ndarray, "x y z"]


class Course(NamedTuple):
    """A lesion's place, and what each visit shows of it: an empty mask where it is absent."""

    window: tuple[slice, ...]
    visit1: Patch
    visit2: Patch

    def gained(self, counts_growth: bool) -> Bool[np.ndarray, "a b c"]:
        """What visit 2 alone shows, or, where growth counts, shows clearly brighter."""
        return _gain(self.visit1, self.visit2, counts_growth)

    def lost(self, counts_growth: bool) -> Bool[np.ndarray, "a b c"]:
        """What visit 1 alone shows, or, where growth counts, shows clearly brighter."""
        return _gain(self.visit2, self.visit1, counts_growth)


class Manner(NamedTuple):
    """How lesions of a case change: strengths drawn from, spread of clear changes, which way."""

    strengths: tuple[float, float]
    brightening: float
    only_fading: bool


def synthesise_case(
    scan: Parts,
    donors: list[Patch],
    rng: np.random.Generator,
    *,
    is_clean: bool,
    counts_growth: bool = False,
) -> SyntheticCase:
    """Make two visits of one scan; each lesion's course is drawn, and so the truth is exact.

    A lesion of the scan is kept in both visits, or erased in the first (then it is new) or in the
    second (vanished). Lesions of donors are laid into white matter, at both visits or one; a new
    lesion touches no other. Visit 1 is rotated by up to 1 degree and shifted by up to 0.7 mm, and
    each visit gets its own blur, contrast, bias field and noise; some cases have slices of 2 to 4
    voxels. `is_clean` leaves out the new lesions and nothing else. With `counts_growth` lesions
    grow and shrink, brighten and fade, too, and what they gain and lose is new and vanished; pieces
    of it of less than 3 mm³ are not counted. New lesions are more, then, and fainter. Same rng
    state, same case.
    """
    spacing_mm = scan.grid.spacing_mm[0]
    courses = _draw_courses(scan, donors, rng, is_clean, counts_growth)
    seed, slices = int(rng.integers(2**63)), int(rng.choice((1, 1, 2, 3, 3, 4)))
    visits, masks = [], []
    for visit in (1, 2):
        shown = [(c.window, c.visit1 if visit == 1 else c.visit2) for c in courses]
        signal = 1 + _SIGNAL_PER_DEVIATION * _painted(scan, shown)
        mask = _mask(scan, ((window, patch.mask) for window, patch in shown))
        if visit == 1:
            signal = _moved(signal, seed, spacing_mm)
            mask = _moved(mask.astype(np.float32), seed, spacing_mm) >= 0.5
        signal = thicken_slices(np.maximum(signal, 0.05).astype(np.float32), slices)
        visits.append(acquire(signal, scan.brain, draw_scanner(rng), rng, spacing_mm))
        masks.append(mask & scan.brain)
    gained = _mask(scan, ((course.window, course.gained(counts_growth)) for course in courses))
    lost = _mask(scan, ((course.window, course.lost(counts_growth)) for course in courses))
    if counts_growth:
        gained, lost = (drop_crumbs(mask, scan.grid.spacing_mm) for mask in (gained, lost))
    vanished = _moved(lost.astype(np.float32), seed, spacing_mm) >= 0.5
    return SyntheticCase(visits[0], visits[1], gained, vanished & scan.brain, masks[0], masks[1])


def thicken_slices(
    volume: Float32[np.ndarray, "x y z"], slices: int
) -> Float32[np.ndarray, "x y z"]:
    """Average over axial slabs of so many voxels, interpolated linearly between their centres."""
    if slices == 1:
        return volume
    averages = ndimage.uniform_filter1d(volume, slices, axis=2)[..., slices // 2 :: slices]
    # a slab of an even number of voxels has its centre between two of them
    place = (np.arange(volume.shape[2]) - (slices - 1) / 2) / slices
    place = np.clip(place, 0, averages.shape[2] - 1)
    low = np.minimum(place.astype(int), averages.shape[2] - 2)
    weight = (place - low).astype(np.float32)
    thick: np.ndarray = averages[..., low] * (1 - weight) + averages[..., low + 1] * weight
    return thick


def _draw_courses(
    scan: Parts,
    donors: list[Patch],
    rng: np.random.Generator,
    is_clean: bool,
    counts_growth: bool,
) -> list[Course]:
    """Courses of the scan's own lesions and of added ones; new and vanished ones stand apart."""
    new = 0 if is_clean else draw_new_lesion_count(rng, counts_growth=counts_growth)
    vanished, stable = (int(rng.integers(most + 1)) for most in (_MOST_VANISHED, _MOST_STABLE))
    small = [
        number
        for number, lesion in enumerate(scan.lesions)
        if _volume_mm3(lesion.patch, scan) <= _LARGEST_NEW_MM3
    ]
    # half of the changes are lesions of the scan itself, as far as they go
    chosen = rng.permutation(small).tolist()[: -(-(new + vanished) // 2)]
    fates = rng.permutation(["new"] * new + ["vanished"] * vanished).tolist()
    own = dict(zip(chosen, fates, strict=False))
    if counts_growth:
        growing, shrinking = (int(rng.integers(_MOST_GROWING + 1)) for _ in range(2))
        changing = ["growing"] * (0 if is_clean else growing) + ["shrinking"] * shrinking
        others = [number for number in range(len(scan.lesions)) if number not in own]
        own |= dict(zip(rng.permutation(others).tolist(), changing, strict=False))
    manner = Manner(_STRENGTH, _BRIGHTENING, only_fading=False)
    if counts_growth:
        manner = Manner(_STRENGTH_COUNTED, _BRIGHTENING_COUNTED, only_fading=is_clean)
    free = np.ones(scan.brain.shape, bool)
    courses = []
    for number, lesion in enumerate(scan.lesions):
        courses.append(_course(lesion, own.get(number, "stable"), manner, rng))
        _block(free, lesion)
    for fate in fates[len(chosen) :] + ["stable"] * stable:
        added = _place(donors, scan, free, rng)
        if added is not None:
            courses.append(_course(added, fate, manner, rng))
            _block(free, added)
    return courses


def _course(lesion: Placed, fate: str, manner: Manner, rng: np.random.Generator) -> Course:
    strength = float(rng.uniform(*manner.strengths))
    whole = _shown(lesion.patch, strength)
    absent = Patch(0 * whole.excess, np.zeros_like(whole.mask))
    match fate:
        case "new":
            return Course(lesion.window, absent, whole)
        case "vanished":
            return Course(lesion.window, whole, absent)
        case "growing":
            return Course(lesion.window, draw_core(whole, rng), whole)
        case "shrinking":
            return Course(lesion.window, whole, draw_core(whole, rng))
    # every third lesion is clearly brighter or darker at visit 2: a change, but no new lesion,
    # unless growth counts
    spread = manner.brightening if rng.uniform() < 0.33 else _STEADY
    change = spread * rng.standard_normal()
    strength2 = float(strength * np.exp(-abs(change) if manner.only_fading else change))
    return Course(lesion.window, whole, _shown(lesion.patch, strength2))


def _gain(before: Patch, after: Patch, counts_growth: bool) -> Bool[np.ndarray, "a b c"]:
    appeared = ~before.mask
    if counts_growth:
        # a lesion's own texture is not to cut what it gains into pieces
        rise = np.pad(after.excess - before.excess, 3)
        rise = ndimage.gaussian_filter(rise, 0.7)[3:-3, 3:-3, 3:-3]
        appeared |= rise > _CLEAR_RISE_Z
    gained: np.ndarray = after.mask & appeared
    return gained


def _shown(patch: Patch, strength: float) -> Patch:
    return Patch(np.float32(strength) * patch.excess, patch.mask)


def _place(
    donors: list[Patch], scan: Parts, free: Bool[np.ndarray, "x y z"], rng: np.random.Generator
) -> Placed | None:
    """Lay a lesion of a donor into white matter; None where there is no donor, or no room."""
    if not donors:
        return None
    patch = _turned(_resized(_pick(donors, scan, rng), scan, rng), rng)
    half = np.array(patch.mask.shape) // 2
    for _ in range(_PLACES_TRIED):
        centre = np.unravel_index(int(rng.choice(scan.sites)), free.shape)
        corner = np.array(centre) - half
        if (corner < 0).any() or (corner + patch.mask.shape > free.shape).any():
            continue
        placed = Placed(patch, (int(corner[0]), int(corner[1]), int(corner[2])))
        room = free[placed.window] & scan.brain[placed.window]
        # a lesion grows in tissue alone: it takes no fluid
        solid = room & (scan.healthy[placed.window] > _FLUID_Z)
        if solid[patch.mask].all():
            return placed._replace(patch=Patch(patch.excess * solid, patch.mask))
    return None


def _pick(donors: list[Patch], scan: Parts, rng: np.random.Generator) -> Patch:
    """Take the donor nearest to a volume drawn as real new lesions have it, of four looked at."""
    wanted_mm3 = float(draw_volumes_mm3(1, rng)[0])
    looked_at = [donors[int(rng.integers(len(donors)))] for _ in range(4)]
    return min(looked_at, key=lambda patch: abs(np.log(_volume_mm3(patch, scan) / wanted_mm3)))


def _resized(patch: Patch, scan: Parts, rng: np.random.Generator) -> Patch:
    """Change a lesion's size a little, and that of one too large to be new down to the largest."""
    most = (_LARGEST_NEW_MM3 / _volume_mm3(patch, scan)) ** (1 / 3)
    zoom = min(float(rng.uniform(0.75, 1.25)), most)
    mask = ndimage.zoom(patch.mask.astype(np.float32), zoom, order=1) >= 0.5
    if not mask.any():
        return patch
    excess = ndimage.zoom(patch.excess, zoom, order=1)
    return Patch(excess.astype(np.float32), mask)


def _turned(patch: Patch, rng: np.random.Generator) -> Patch:
    axes = tuple(int(axis) for axis in rng.permutation(3))
    mirror = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in range(3))
    excess, mask = (np.transpose(part, axes)[mirror] for part in patch)
    return Patch(np.ascontiguousarray(excess), np.ascontiguousarray(mask))


def _block(free: Bool[np.ndarray, "x y z"], lesion: Placed) -> None:
    around = tuple(
        slice(max(side.start - _GAP_VOXELS, 0), side.stop + _GAP_VOXELS) for side in lesion.window
    )
    present = np.zeros(free[around].shape, bool)
    inner = tuple(
        slice(side.start - out.start, side.stop - out.start)
        for side, out in zip(lesion.window, around, strict=True)
    )
    present[inner] = lesion.patch.mask
    cube = np.ones((2 * _GAP_VOXELS + 1,) * 3, bool)
    free[around] &= ~ndimage.binary_dilation(present, cube)


def _painted(
    scan: Parts, shown: Iterable[tuple[tuple[slice, ...], Patch]]
) -> Float32[np.ndarray, "x y z"]:
    painted = scan.healthy.copy()
    for window, patch in shown:
        painted[window] += patch.excess
    return painted


def _mask(
    scan: Parts, masks: Iterable[tuple[tuple[slice, ...], np.ndarray]]
) -> Bool[np.ndarray, "x y z"]:
    mask = np.zeros(scan.brain.shape, bool)
    for window, own in masks:
        mask[window] |= own
    return mask


def _moved(
    volume: Float32[np.ndarray, "x y z"], seed: int, spacing_mm: float
) -> Float32[np.ndarray, "x y z"]:
    return misregister(volume, np.random.default_rng(seed), spacing_mm)


def _volume_mm3(patch: Patch, scan: Parts) -> float:
    return max(int(patch.mask.sum()), 1) * scan.grid.voxel_volume_mm3
