"""Evolution of lesions between two visits: new, growing, stable, shrinking, vanished."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from nibabel.affines import apply_affine

from datagen import volumes
from datagen.errors import InputError
from datagen.files import require_writable, write_table
from datagen.lesions import label_lesions
from datagen.scans import difference
from datagen.volumes import Grid
from segnet.config import EvolutionSettings
from segnet.evaluation.pairs import stem

Course = Literal["new", "growing", "stable", "shrinking", "vanished"]
COURSES: tuple[Course, ...] = get_args(Course)  # a course's label in the map is its place, from 1


class Evolution(NamedTuple):
    """What became of one lesion; several that merged, or came of a split, are one.

    `visit1_lesions` and `visit2_lesions` count its components at each visit; the centroid, of all
    of its voxels at either visit, is in scanner millimetres (RAS+).
    """

    id: int
    course: Course
    visit1_mm3: float
    visit2_mm3: float
    change_mm3: float
    visit1_lesions: int
    visit2_lesions: int
    x_mm: float
    y_mm: float
    z_mm: float


def trace_evolution(settings: EvolutionSettings) -> list[Evolution]:
    """Write the map and, beside it, its table; return the table's rows.

    Raises InputError where the masks do not lie on one grid, or neither or both of the second
    visit's lesions and the new ones are given.
    """
    other = _second_mask(settings)
    table = settings.out.with_name(stem(settings.out) + ".csv")
    for path in (settings.out, table):
        require_writable(path)
        if path.resolve() in (settings.visit1.resolve(), other.resolve()):
            raise InputError(f"--out {settings.out} would overwrite {path}; choose another name")
    first, second = volumes.read_mask(settings.visit1), volumes.read_mask(other)
    if not volumes.same_grid(first, second):
        how = difference(second, first, "register them first")
        raise InputError(f"{other} and {settings.visit1} {how}")
    before, after = (np.asanyarray(image.dataobj) > 0 for image in (first, second))
    if settings.new:
        after = before | after  # what was there stays, where nothing else is known
    grid = volumes.grid_of(first)
    courses, rows = map_evolution(before, after, grid, settings.min_change, settings.min_change_mm3)
    write_table(table, [row._asdict() for row in rows], Evolution._fields)
    volumes.save_like(courses, volumes.read_image(other), settings.out)
    return rows


def _second_mask(settings: EvolutionSettings) -> Path:
    given = [path for path in (settings.visit2, settings.new) if path]
    if len(given) != 1:
        raise InputError(
            "give --visit2, all lesions of visit 2, or --new, a prediction of new ones"
        )
    if not settings.out.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"--out {settings.out}: the map's name must end in .nii.gz or .nii")
    return given[0]


def map_evolution(
    before: Bool[np.ndarray, "x y z"],
    after: Bool[np.ndarray, "x y z"],
    grid: Grid,
    min_change: float,
    min_change_mm3: float,
) -> tuple[UInt8[np.ndarray, "x y z"], list[Evolution]]:
    """Follow every lesion from one visit to the next; return the map of courses and a row each.

    A lesion is a 26-connected component of both masks together, so that lesions which touch or
    overlap across the visits are one. It grows, or shrinks, when its volume changes by more than
    the share `min_change` of its earlier volume and by more than `min_change_mm3`. Its voxels at
    either visit carry the course's label: 1 new, 2 growing, 3 stable, 4 shrinking, 5 vanished.
    Nothing is found in two empty masks.
    """
    labels, count = label_lesions(before | after)
    points = np.argwhere(labels)
    of_point = labels[tuple(points.T)] - 1
    volumes_mm3 = [
        np.bincount(of_point, mask[tuple(points.T)], count) * grid.voxel_volume_mm3
        for mask in (before, after)
    ]
    pieces = [_pieces(mask, labels, count) for mask in (before, after)]
    sizes = np.bincount(of_point, minlength=count)
    sums = [np.bincount(of_point, points[:, axis], count) for axis in range(3)]
    centres_mm = apply_affine(grid.affine, np.stack(sums, axis=1) / sizes[:, None])
    rows = []
    for lesion, place_mm in enumerate(centres_mm):
        earlier, later = (float(volume[lesion]) for volume in volumes_mm3)
        course = course_of(earlier, later, min_change, min_change_mm3)
        counts = (int(pieces[0][lesion]), int(pieces[1][lesion]))
        x, y, z = (round(float(place), 3) for place in place_mm)
        rows.append(
            Evolution(lesion + 1, course, earlier, later, later - earlier, *counts, x, y, z)
        )
    codes = np.array([0, *(COURSES.index(row.course) + 1 for row in rows)], np.uint8)
    return codes[labels], rows


def course_of(
    earlier_mm3: float, later_mm3: float, min_change: float, min_change_mm3: float
) -> Course:
    """Name the course of a lesion by its volumes at both visits.

    >>> course_of(0.0, 12.0, 0.25, 3.0), course_of(100.0, 120.0, 0.25, 3.0)
    ('new', 'stable')
    """
    if earlier_mm3 == 0:
        return "new"
    if later_mm3 == 0:
        return "vanished"
    change_mm3 = later_mm3 - earlier_mm3
    if abs(change_mm3) <= max(min_change * earlier_mm3, min_change_mm3) * (1 + 1e-6):
        return "stable"
    return "growing" if change_mm3 > 0 else "shrinking"


def count_courses(rows: Sequence[Evolution]) -> dict[Course, int]:
    """Count the lesions of each course, those that none took too."""
    return {course: sum(row.course == course for row in rows) for course in COURSES}


def _pieces(
    mask: Bool[np.ndarray, "x y z"], labels: Integer[np.ndarray, "x y z"], count: int
) -> Integer[np.ndarray, " lesions"]:
    """Count the components of one visit inside each lesion of both."""
    own, pieces = label_lesions(mask)
    places = np.zeros(pieces + 1, np.int64)
    places[own[mask]] = labels[mask]
    return np.bincount(places[1:], minlength=count + 1)[1:]
