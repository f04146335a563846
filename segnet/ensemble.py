"""Several networks as one, and how sure each of them is of a lesion."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32

from datagen.errors import InputError
from datagen.scans import Scans

Maps = Callable[[Scans], Float32[np.ndarray, "class x y z"]]
AllMaps = Callable[[Scans], Float32[np.ndarray, "model class x y z"]]


def side_by_side(models: Sequence[Maps]) -> AllMaps:
    """Return a function that gives the map of each model of a case; their mean is the ensemble's.

    Its result has one map per class and model: `ensemble(scans).mean(axis=0)` has one per class.
    """

    def maps(scans: Scans) -> Float32[np.ndarray, "model class x y z"]:
        found: np.ndarray = np.stack([model(scans) for model in models])
        return found

    return maps


def require_alike(names: Sequence[str], grids: Sequence[tuple[float, int]]) -> None:
    """Raise InputError where models differ in their spacing (mm) or their number of classes."""
    for name, grid in zip(names, grids, strict=True):
        if grid != grids[0]:
            raise InputError(
                f"--model {name} works at {grid[0]} mm with {grid[1]} classes, but {names[0]} at "
                f"{grids[0][0]} mm with {grids[0][1]}; average models that are alike"
            )
