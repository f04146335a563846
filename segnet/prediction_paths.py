"""Where the files of a predicted case lie."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from datagen.files import nifti_stem, visible_below
from datagen.layouts import Case

_MASK = "new_lesions.nii.gz"
# not "desc-new": beside the data set, that would be read as its truth
_BIDS_LABEL = "space-orig_label-lesion_desc-predicted"
_BIDS_SCAN = re.compile(r"(sub-[^_]+)_(ses-[^_]+)_.*FLAIR\.nii(\.gz)?$")


class PredictionPaths(NamedTuple):
    """Where the three files of one predicted case lie."""

    mask: Path
    probability: Path
    lesions: Path


def masks_below(folder: Path) -> Iterator[Path]:
    """Masks of a folder of predictions, whatever cohort they are of."""
    for path in visible_below(folder):
        if path.name == _MASK or path.name.endswith(f"_{_BIDS_LABEL}_mask.nii.gz"):
            yield path


def cohort_paths(folder: Path, case: Case) -> PredictionPaths:
    """Paths below a folder of predictions: a BIDS derivative's names for a BIDS scan."""
    bids = _BIDS_SCAN.search(case.time2.name)
    if not bids:
        names = (_MASK, "probability.nii.gz", "lesions.csv")
        return PredictionPaths(*(folder / case.name / name for name in names))
    subject, session = bids[1], bids[2]
    stem = f"{subject}_{session}_{_BIDS_LABEL}"
    names = (f"{stem}_mask.nii.gz", f"{stem}_probseg.nii.gz", f"{stem}_lesions.csv")
    return PredictionPaths(*(folder / subject / session / "anat" / name for name in names))


def paths_beside(mask: Path) -> PredictionPaths:
    """Paths for one case: the map and the table lie beside the mask, under its name."""
    stem = nifti_stem(mask.name)
    probability = mask.with_name(f"{stem}_probability.nii.gz")
    return PredictionPaths(mask, probability, mask.with_name(f"{stem}_lesions.csv"))
