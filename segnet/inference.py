"""From a case to a probability map, and from that to a mask of new lesions."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import cc3d
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from monai.inferers import sliding_window_inference
from nibabel.affines import apply_affine
from torch import Tensor

from datagen.lesions import find_lesions, label_lesions
from datagen.scans import Scans
from datagen.volumes import Grid
from metricnet.config import Precision
from metricnet.devices import resolve_precision


class Detection(NamedTuple):
    """One new lesion: its volume, centroid in scanner millimetres (RAS+) and confidence.

    Of several models, `confidence` is the mean of the peaks that each has inside the lesion, and
    `agreement` the share of those whose peak is at or above the threshold, both in [0, 1]; of one
    model, its peak, and 1.
    """

    id: int
    volume_mm3: float
    x_mm: float
    y_mm: float
    z_mm: float
    peak_probability: float
    mean_probability: float
    confidence: float
    agreement: float


def predict_probabilities(
    network: Callable[[Tensor], Tensor],
    scans: Scans,
    patch: int,
    overlap: float,
    flips: bool = False,
    precision: Precision = "32",
) -> Float32[np.ndarray, "class x y z"]:
    """Probability of each foreground class on the case's working grid, 0 outside the brain.

    Windows of `patch`³ overlap by the given share and are blended by a Gaussian. The network runs
    where its parameters are; one logit is that of the only foreground class. With `flips` each
    window is the mean over its eight mirror images. In bf16 a probability moves by less than 0.01.
    """
    probability_of = _mean_over_mirrors if flips else _unmirrored
    device = next(network.parameters()).device if isinstance(network, torch.nn.Module) else None
    visits = torch.from_numpy(np.stack([scans.time1, scans.time2]))[None].to(device)
    is_half = resolve_precision(precision, visits.device.type) == "bf16"
    in_half = torch.autocast(visits.device.type, torch.bfloat16, enabled=is_half)
    with torch.inference_mode(), in_half:
        probability: Tensor = sliding_window_inference(
            visits,
            roi_size=(patch, patch, patch),
            sw_batch_size=4,
            predictor=lambda windows: probability_of(network, windows),
            overlap=overlap,
            mode="gaussian",
            padding_mode="constant",
            cval=float(visits.min()),
        )
    inside: np.ndarray = probability[0].cpu().numpy() * scans.brain
    return inside


def foreground_probability(
    logits: Float[Tensor, "batch channel d h w"],
) -> Float[Tensor, "batch class d h w"]:
    """Sigmoid of a single logit; the softmax of several without the first, the background."""
    logits = logits.float()
    return torch.sigmoid(logits) if logits.shape[1] == 1 else logits.softmax(1)[:, 1:]


def _unmirrored(network: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    return foreground_probability(network(windows))


def _mean_over_mirrors(network: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    axes = (-3, -2, -1)
    mirrors = [subset for count in range(4) for subset in itertools.combinations(axes, count)]
    total = torch.zeros(())
    for mirror in mirrors:
        found = _unmirrored(network, windows.flip(mirror)).flip(mirror)
        total = total.to(found.device) + found
    return total / len(mirrors)


def label_volume(
    probabilities: Float[np.ndarray, "class x y z"], threshold: float
) -> UInt8[np.ndarray, "x y z"]:
    """Label each voxel by its most probable class where all classes together reach the threshold.

    With one class: 1 where its probability is at or above the threshold.
    """
    if len(probabilities) == 1:
        is_lesion: np.ndarray = probabilities[0] >= threshold
        return is_lesion.astype(np.uint8)
    is_object = probabilities.sum(axis=0) >= threshold
    labels: np.ndarray = (probabilities.argmax(axis=0) + 1) * is_object
    return labels.astype(np.uint8)


def lesion_mask(
    probability: Float[np.ndarray, "x y z"], threshold: float, min_volume_mm3: float, grid: Grid
) -> Bool[np.ndarray, "x y z"]:
    """Mask of the lesions: probability at or above the threshold, larger than the volume."""
    found = find_lesions(probability >= threshold)
    mask: np.ndarray = found.above(min_volume_mm3, grid.voxel_volume_mm3).labels > 0
    return mask


def list_lesions(
    mask: Bool[np.ndarray, "x y z"],
    probability: Float[np.ndarray, "x y z"],
    grid: Grid,
    of_models: Float[np.ndarray, "model x y z"] | None = None,
    threshold: float = 0.5,
) -> list[Detection]:
    """Describe each lesion of a mask, the most confident first; empty for an empty mask.

    `of_models` are the maps whose mean the probability is, where there are several.
    """
    labels, count = label_lesions(mask)
    statistics: dict[str, Any] = cc3d.statistics(labels)
    found = []
    for lesion in range(1, count + 1):
        box = statistics["bounding_boxes"][lesion]
        is_inside = labels[box] == lesion
        inside = probability[box][is_inside]
        maps = probability[None] if of_models is None else of_models
        peaks = np.array([of_model[box][is_inside].max() for of_model in maps])
        # a lesion is there: a single model agrees with itself, whatever was done to its mask
        agreement = 1.0 if len(peaks) == 1 else float((peaks >= threshold).mean())
        centre = apply_affine(grid.affine, statistics["centroids"][lesion])
        x_mm, y_mm, z_mm = (round(float(axis), 2) for axis in centre)
        found.append(
            Detection(
                id=0,
                volume_mm3=inside.size * grid.voxel_volume_mm3,
                x_mm=x_mm,
                y_mm=y_mm,
                z_mm=z_mm,
                peak_probability=float(inside.max()),
                mean_probability=float(inside.mean()),
                confidence=float(peaks.mean()),
                agreement=agreement,
            )
        )
    found.sort(key=lambda row: (-row.confidence, -row.peak_probability))
    return [row._replace(id=index + 1) for index, row in enumerate(found)]
