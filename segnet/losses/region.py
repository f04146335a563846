"""Region losses: overlap of probability and truth."""

from jaxtyping import Float
from monai.losses import DiceLoss
from torch import Tensor

# MONAI's form with squares in the denominator is the printed one
_dice = DiceLoss(squared_pred=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)


def dice_loss(
    probability: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
) -> Float[Tensor, ""]:
    """Dice loss `1 − 2 Σ TP / (Σ T² + Σ P²)` (Celaya et al. 2023, eq. 3; Kamraoui et al., eq. 1).

    The sums run over the whole batch, not per sample: many patches hold no new lesion, and alone
    such a patch would score about 1 with a useless gradient. 0 where truth and probability are
    empty (1e-5 is added above and below the line).
    """
    loss: Tensor = _dice(probability, truth)
    return loss
