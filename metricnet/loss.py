"""The learned loss: 1 − F̂, with F̂ frozen in every sense."""

from jaxtyping import Float
from torch import Tensor, nn

from metricnet.estimator import LesionEstimator


class LesionWiseLoss(nn.Module):
    """1 − F̂(probability, truth), averaged over the batch (Kamraoui et al. 2021, eq. 2).

    The estimator stays in evaluation mode under `.train()`, its weights take no gradient, and the
    truth takes none either; the gradient reaches the probability alone. The module holds the
    estimator outside its own parameters' reach of an optimiser: `parameters()` is empty of
    anything trainable.
    """

    def __init__(self, estimator: LesionEstimator) -> None:
        super().__init__()
        self.estimator = estimator.eval().requires_grad_(False)

    def forward(
        self, probability: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
    ) -> Float[Tensor, ""]:
        """Return the scalar loss; probability and truth in [0, 1], of the estimator's patch size.

        Raises ValueError for a patch of another size.
        """
        return 1 - self.estimated_f1(probability, truth).mean()

    def estimated_f1(
        self, probability: Float[Tensor, "batch 1 d h w"], truth: Float[Tensor, "batch 1 d h w"]
    ) -> Float[Tensor, " batch"]:
        """Return F̂ of each sample, in [0, 1]; ValueError for a patch of another size."""
        patch = self.estimator.patch
        if probability.shape[2:] != (patch, patch, patch):
            found = " x ".join(str(side) for side in probability.shape[2:])
            raise ValueError(f"the estimator was trained on patches of {patch}³, got {found}")
        f1: Tensor = self.estimator(probability, truth.detach())
        return f1

    def train(self, mode: bool = True) -> "LesionWiseLoss":
        """Keep the estimator in evaluation mode whatever the mode of the network around it."""
        super().train(mode)
        self.estimator.eval()
        return self
