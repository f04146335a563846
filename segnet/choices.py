"""Names that losses and their settings are chosen by; importing them costs nothing."""

from typing import Literal

# a formula as its paper prints it, or as the authors' code has it
Form = Literal["printed", "code"]
# fall of the region term's weight over the epochs
RegionSchedule = Literal["constant", "linear", "step", "cosine"]
Difference = Literal["forward", "central", "sobel"]
# axes of space on a grid in closest canonical (RAS+) orientation
Plane = Literal["all", "sagittal", "coronal", "axial"]
Sign = Literal["absolute", "printed"]
MapKind = Literal["foreground", "classes", "penalty", "normalised_penalty"]

# losses that stand alone: of overlaps, class by class, and others
Overlap = Literal["dice", "dice_per_sample", "generalised_dice", "tversky"]
Region = Literal[
    Overlap,
    "dice_ce",
    "bce",
    "cross_entropy",
    "focal",
    "confidence_penalty",
    "distance_ce",
]
# losses that are added to a region loss
Added = Literal[
    "fog",
    "fog_sagittal",
    "fog_coronal",
    "fog_axial",
    "sog",
    "sog_two_sided",
    "blob",
    "lesion_f1",
]
# losses on distance maps, between which and a region loss a schedule shifts the weight
Blended = Literal["boundary", "hausdorff", "surface"]
Loss = Literal[Region, Added, Blended]
Augmentation = Literal["none", "light", "full"]
