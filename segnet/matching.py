"""Intensities of one visit brought to those of the other."""

import numpy as np
from jaxtyping import Float

from datagen.scans import Scans

_MATCHED = 0.95  # share of the brain's voxels, from the darkest on: lesions are the brightest
_NODES = 201


def match_visits(scans: Scans) -> Scans:
    """Map visit 1's intensities onto visit 2's, as if one scanner had taken both.

    The quantiles of the brain's voxels are matched up to the 95th percentile; what is brighter is
    shifted by as much as that, so that a large new lesion is not taken for another contrast. Beyond
    the brain visit 1 stays.
    """
    brain = scans.brain
    first, second = scans.time1[brain], scans.time2[brain]
    if not first.size:
        return scans
    shares = np.linspace(0, _MATCHED, _NODES)
    nodes, wanted = np.quantile(first, shares), np.quantile(second, shares)
    matched: Float[np.ndarray, "x y z"] = scans.time1.copy()
    brightest = first - nodes[-1] + wanted[-1]
    inside = np.where(first > nodes[-1], brightest, np.interp(first, nodes, wanted))
    matched[brain] = inside.astype(matched.dtype)
    return scans._replace(time1=matched)
