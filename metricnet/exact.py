"""The exact score of a batch, beside which every estimate is held."""

import torch
from jaxtyping import Float
from torch import Tensor

from datagen.lesions import Rule, score_lesions
from metricnet.estimator import THRESHOLD


def exact_f1(
    probability: Float[Tensor, "batch 1 d h w"],
    truth: Float[Tensor, "batch 1 d h w"],
    rule: Rule,
    spacing_mm: tuple[float, float, float],
) -> Float[Tensor, " batch"]:
    """Exact L-F1 of each sample's thresholded map; where the rule gives none, 1 if it is empty."""
    predicted = (probability[:, 0].detach() >= THRESHOLD).cpu().numpy()
    scores = [
        score_lesions(wanted, found, rule, spacing_mm)
        for wanted, found in zip((truth[:, 0] > 0).cpu().numpy(), predicted, strict=True)
    ]
    f1 = [float(s.predicted_lesions == 0) if s.f1 is None else s.f1 for s in scores]
    return torch.tensor(f1, device=probability.device)
