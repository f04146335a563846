"""How much more often lesions are met in patches than in the patients whom these are drawn from."""

from collections.abc import Sequence

from datagen.lesions import label_lesions
from datagen.volumes import cut_patch
from segnet.data import LabelledScans, MixedDataset

_DRAWS = 1000


def excess_of_lesions(
    dataset: MixedDataset,
    drawn_from: Sequence[LabelledScans],
    patients: Sequence[LabelledScans],
    patch: int,
) -> float:
    """Lesions per voxel of the brain in patches, as a multiple of those in whole patients.

    Patches are drawn around lesions, so a network meets more of them for the same tissue than where
    it will be used; and it is tissue that gives false lesions. Counted in the first 1,000 draws,
    before anything is changed in them, to the nearest half, as draws of another seed differ by a
    tenth or two; at least 1.
    """
    lesions = voxels = 0
    for item in range(_DRAWS):
        number, centre = dataset.place(item)
        case = drawn_from[number]
        lesions += label_lesions(cut_patch(case.labels, centre, patch) > 0)[1]
        voxels += int(cut_patch(case.scans.brain, centre, patch).sum())
    whole_lesions = sum(label_lesions(case.labels > 0)[1] for case in patients)
    whole_voxels = sum(int(case.scans.brain.sum()) for case in patients)
    excess = (lesions / max(voxels, 1)) / (whole_lesions / max(whole_voxels, 1))
    return max(round(2 * excess) / 2, 1.0)
