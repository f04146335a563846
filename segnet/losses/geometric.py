"""Geometric losses (Zhang et al. 2021): errors weighted by the shape of the lesions.

None of them stands alone: an all-zero and an all-one probability are alike to a derivative. The
paper adds them to the Dice loss with coefficient 1.0.
"""

from jaxtyping import Float
from torch import Tensor

from segnet.choices import Difference, Plane, Sign
from segnet.losses.derivative import derivative, laplacian
from segnet.losses.precision import widen


def geometric_loss(
    theta: Float[Tensor, "batch class d h w"],
    psi: Float[Tensor, "batch class d h w"] | float = 1.0,
    gamma: Float[Tensor, "batch class d h w"] | float = 1.0,
) -> Float[Tensor, ""]:
    """General form `Σ Θ Ψ / Σ Γ` (Zhang et al. 2021, eq. 1), the sums over all voxels.

    Θ measures the error of a voxel, Ψ the geometry around it, Γ normalises. A number stands for the
    same value in every voxel, so the default is the mean of Θ. With `Θ = s + g − 2sg`,
    `Γ = s + g` it is the Dice loss, with `Θ = s`, `Ψ = D` the boundary loss, with `Θ = (s − g)²`,
    `Ψ = D²` the one-sided Hausdorff loss.
    """
    weighted = theta * psi
    total = gamma * weighted.numel() if isinstance(gamma, float) else gamma.sum()
    return weighted.sum() / total


def fog_loss(
    probability: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    plane: Plane = "all",
    difference: Difference = "forward",
) -> Float[Tensor, ""]:
    """First-order gradient loss `1/|Ω| Σ ‖∇s − ∇g‖²` (Zhang et al. 2021, eq. 2); ≥ 0.

    The squared differences along the three axes are summed, then averaged over voxels. "sagittal"
    takes the derivative from left to right alone (the paper's S), "coronal" from back to front (C),
    "axial" from below (A). The paper states no operator: the forward difference is the default,
    since the central one is 0 at a lesion of one voxel and on a checkerboard; on one test case the
    losses are 0.020 (forward), 0.0078 (central) and 3.2 (Sobel, unnormalised), so a weight belongs
    to its operator. Derivatives are per voxel. On an empty truth, the roughness of the
    probability.
    """
    error = widen(probability) - widen(truth)  # the derivative is linear
    match plane:
        case "all":
            axes: tuple[int, ...] = (0, 1, 2)
        case "sagittal":
            axes = (0,)
        case "coronal":
            axes = (1,)
        case "axial":
            axes = (2,)
    squares = [derivative(error, axis, difference).square() for axis in axes]
    return geometric_loss(sum(squares[1:], squares[0]))


def sog_loss(
    probability: Float[Tensor, "batch class d h w"],
    truth: Float[Tensor, "batch class d h w"],
    is_two_sided: bool = False,
    sign: Sign = "absolute",
) -> Float[Tensor, ""]:
    """Second-order gradient loss `1/|Ω| Σ |s − g| φ(g)` (Zhang et al. 2021, eq. 3).

    φ is the Laplacian of six neighbours, per voxel. Two-sided, `φ(g) + φ(s)` takes its place. As
    printed, φ keeps its sign, is negative inside a lesion, and rewards a probability that is empty
    there (below 0, against 0 for the truth itself); the default takes |φ|, and the loss is ≥ 0.
    "printed" keeps the sign. On an empty truth the one-sided form is 0 for every probability.
    """
    probability, truth = widen(probability), widen(truth)
    weights = [laplacian(truth)] + ([laplacian(probability)] if is_two_sided else [])
    if sign == "absolute":
        weights = [weight.abs() for weight in weights]
    return geometric_loss((probability - truth).abs(), sum(weights[1:], weights[0]))
