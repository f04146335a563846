"""How the weight a(t) of the region term falls: `a(t) · region + (1 − a(t)) · boundary`.

Celaya et al. 2023, eq. 14–16, as printed and as their code has it; `epoch` counts from 0, and
`epochs` is T. Weights are in [0, 1]. The code reaches 0 in the last epoch; of the printed forms
the linear one ends at 1/T, the cosine one above 0, and the step one at 0 unless h divides T.
"""

import math

from segnet.choices import Form, RegionSchedule

_PAUSE_EPOCHS = 5  # of the linear schedule in the authors' code


def region_weight(
    schedule: RegionSchedule,
    epoch: int,
    epochs: int,
    *,
    step_epochs: int = 5,
    constant: float = 0.5,
    floor: float = 0.0,
    form: Form = "printed",
) -> float:
    """Weight a(t) of the region term in an epoch, never below `floor`.

    Why a floor: 74 to 100 % of the voxels of MS lesions lie on their boundary, where the distance
    is 0, so the distance losses hardly see a missed lesion (an empty prediction scores ≤ 2e-6 of
    the surface loss). Without a region term a network unlearns to find lesions. Raises ValueError
    for an epoch outside [0, T).
    """
    if not 0 <= epoch < epochs:
        raise ValueError(f"epoch {epoch} is not one of {epochs} epochs")
    is_printed = form == "printed"
    match schedule:
        case "constant":
            weight = constant
        case "linear":
            weight = linear(epoch, epochs) if is_printed else linear_as_coded(epoch, epochs)
        case "step":
            fall = step if is_printed else step_as_coded
            weight = fall(epoch, epochs, step_epochs)
        case "cosine":
            weight = cosine(epoch, epochs) if is_printed else cosine_as_coded(epoch, epochs)
    return max(weight, floor)


def linear(epoch: int, epochs: int) -> float:
    """Printed eq. 14: `1 − t/T`."""
    return 1 - epoch / epochs


def step(epoch: int, epochs: int, step_epochs: int) -> float:
    """Printed eq. 15: `1 − ⌊t/h⌋ / ⌊T/h⌋`; 1 throughout where h is longer than the training."""
    return 1 - (epoch // step_epochs) / max(epochs // step_epochs, 1)


def cosine(epoch: int, epochs: int) -> float:
    """Printed eq. 16: `(1 + cos(π t / T)) / 2`."""
    return (1 + math.cos(math.pi * epoch / epochs)) / 2


def linear_as_coded(epoch: int, epochs: int, pause_epochs: int = _PAUSE_EPOCHS) -> float:
    """Authors' code: 1 up to and including epoch `pause_epochs`, then a line to 0 at T − 1.

    1 throughout where the training is not longer than the pause; their code refuses that.
    """
    if epoch <= pause_epochs:
        return 1.0
    return 1 - (epoch - pause_epochs) / (epochs - 1 - pause_epochs)


def step_as_coded(epoch: int, epochs: int, step_epochs: int) -> float:
    """Authors' code: divides by `⌊(T − h)/h⌋`, and is 0 in the last h epochs.

    Where that number is 0, the steps are longer than half of the training, the weight is 1 before
    the last h epochs; their code divides by 0 there.
    """
    if epoch >= epochs - step_epochs:
        return 0.0
    steps = max((epochs - step_epochs) // step_epochs, 1)
    return max(0.0, 1 - (epoch // step_epochs) / steps)


def cosine_as_coded(epoch: int, epochs: int) -> float:
    """Authors' code: eq. 16 with T − 1, which ends at exactly 0; 1 in a training of one epoch."""
    return (1 + math.cos(math.pi * epoch / max(epochs - 1, 1))) / 2
