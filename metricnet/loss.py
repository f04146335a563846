"""The learned loss: 1 − F̂, with F̂ frozen in every sense."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from datagen.lesions import Rule
from metricnet.checkpoint import load_pretrained
from metricnet.estimator import MULTIPLE, THRESHOLD, LesionEstimator
from metricnet.exact import CutMaps
from metricnet.guidance import GuidedEstimate

_GOLDEN_RATIO = (5**0.5 - 1) / 2
_ROUNDING = 1e-3  # of a softmax in half precision


class LesionWiseLoss(nn.Module):
    """1 − F̂(probability, truth), averaged over the batch (Kamraoui et al. 2021, eq. 2).

    The estimator stays in evaluation mode under `.train()`, its weights take no gradient, and the
    truth takes none either; the gradient reaches the probability alone.

    With `guided` it is that of `metricnet.guidance`: lesion by lesion over the whole batch, and
    never away from the truth. Wherever a gradient is taken, the maps are then cut at `thresholds`
    that wander evenly over a range instead of at one half: a lesion of 0.4 is on its way, one of
    0.6 not yet safe. The loss counts the samples for that; a training that is resumed begins to
    count anew. To the gradient, not to the value, each false lesion counts `false_weight` times:
    as many as lesions are more frequent in the patches than in the patients they are drawn from.
    Without `guided` the gradient is the network's own, voxel by voxel, as published. Raises
    ValueError for thresholds that are none, and for a weight that is not above 0.
    """

    def __init__(
        self,
        estimator: LesionEstimator,
        guided: bool = True,
        thresholds: tuple[float, float] = (0.3, 0.7),
        false_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not (len(thresholds) == 2 and 0 < thresholds[0] <= thresholds[1] < 1):
            raise ValueError(f"thresholds from low to high within 0 to 1 are needed: {thresholds}")
        if not 0 < false_weight < math.inf:
            raise ValueError(f"a weight of false lesions above 0 is needed: {false_weight}")
        self.estimator = estimator.eval().requires_grad_(False)
        self.guided, is_counted = guided, guided and estimator.form == "structured"
        self.false_weight = false_weight if is_counted else 1.0
        # the published form sees a map as it is, and counts no lesions
        self._range = thresholds if is_counted else (THRESHOLD,) * 2
        self._taken, self._is_checked = 0, False

    @classmethod
    def pretrained(
        cls,
        rule: Rule = "overlap",
        guided: bool = True,
        thresholds: tuple[float, float] = (0.3, 0.7),
        false_weight: float = 1.0,
    ) -> "LesionWiseLoss":
        """Return the loss of the estimator that comes with the package: nothing is downloaded.

        It was trained on patches of 64³ voxels of 1 mm, on scores under `rule`. Raises InputError
        where the package holds none for that rule.
        """
        return cls(load_pretrained(rule).estimator, guided, thresholds, false_weight)

    # it counts, and cuts maps in numpy: a compiled step runs it as it is
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self,
        probability: Float[Tensor, "batch class d h w"],
        truth: Float[Tensor, "batch class d h w"],
    ) -> Float[Tensor, ""]:
        """Return the scalar loss in [0, 1]; probability in [0, 1], truth 0 or 1.

        Several classes count alike: F̂ of each, then the mean. Without a lesion in the truth, F̂ is
        near 1 where none is predicted, and near 0 where false ones of up to about 1,000 voxels are;
        larger ones it underrates. Raises ValueError for other shapes, for a patch that the
        estimator cannot take, and, at first, for logits, NaN and other values out of range.
        """
        self.require_maps(probability, truth)
        probability = self.at_thresholds(probability)
        return 1 - self.estimated_f1(probability, truth).mean()

    def require_maps(
        self,
        probability: Float[Tensor, "batch class d h w"],
        truth: Float[Tensor, "batch class d h w"],
    ) -> None:
        """Raise ValueError for other shapes, for logits, or a truth of other values than 0 and 1.

        Once the values are right nobody looks any more: a GPU would have to be waited for.
        """
        require_shapes(tuple(probability.shape), tuple(truth.shape))
        if self._is_checked:
            return
        low, high = (float(end) for end in probability.detach().aminmax())
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN is neither
            raise ValueError(
                f"probabilities in [0, 1] are needed, found {low:g} to {high:g}; logits need a "
                "sigmoid, or a softmax, first"
            )
        if ((truth != 0) & (truth != 1)).any():
            raise ValueError(
                "a truth of 0 and 1 is needed, in a channel for each class, after the probability"
            )
        self._is_checked = True

    def at_thresholds(
        self, probability: Float[Tensor, "batch class d h w"], first: int | None = None
    ) -> Float[Tensor, "batch class d h w"]:
        """Lower or raise each map so that its cut at one half is one at another threshold.

        The samples are numbers `first`, `first` + 1, ... of a sequence that covers the range evenly
        however long it is: multiples of the golden ratio. Without `first` the loss counts the
        samples itself, and leaves them as they are where no gradient is taken.
        """
        if first is None:
            if not (torch.is_grad_enabled() and probability.requires_grad):
                return probability
            first, self._taken = self._taken, self._taken + len(probability)
        low, high = self._range
        number = torch.arange(first, first + len(probability), dtype=torch.float64)
        threshold = low + (high - low) * (_GOLDEN_RATIO * (number + 1) % 1)
        return probability + (THRESHOLD - threshold).to(probability).view(-1, 1, 1, 1, 1)

    def estimated_f1(
        self,
        probability: Float[Tensor, "batch class d h w"],
        truth: Float[Tensor, "batch class d h w"],
        maps: CutMaps | None = None,
    ) -> Float[Tensor, " batch"]:
        """Return F̂ of each sample cut at one half, in [0, 1], the mean over its classes.

        Patches whose edges are no multiples of 8 are filled up with background. The published form
        takes none but its own size: ValueError. `maps` are those of the samples, class by class,
        where they are cut already.
        """
        own, wanted = (self._as_patches(volume) for volume in (probability, truth.detach()))
        f1: Tensor
        if self.guided and torch.is_grad_enabled() and probability.requires_grad:
            classes = probability.shape[1]
            f1 = GuidedEstimate.apply(  # type: ignore[no-untyped-call]
                own, wanted, self.estimator, classes, self.false_weight, maps
            )
        else:
            f1 = self.estimator(own, wanted)
        return f1.view(probability.shape[:2]).mean(dim=1)

    def _as_patches(
        self, volume: Float[Tensor, "batch class d h w"]
    ) -> Float[Tensor, "patch 1 i j k"]:
        """One patch per sample and class, with edges that the network can halve."""
        # what a MetaTensor of MONAI becomes is refused to be sliced, for its metadata
        volume = volume.as_subclass(Tensor).float()
        sides, patch = tuple(volume.shape[2:]), self.estimator.patch
        if self.estimator.form == "published" and sides != (patch,) * 3:
            raise ValueError(
                f"the estimator was trained on patches of {patch}³, got {_shown(sides)}"
            )
        missing = [size for side in reversed(sides) for size in (0, -side % MULTIPLE)]
        return functional.pad(volume.flatten(0, 1)[:, None], missing)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LesionWiseLoss":
        """Move the estimator with the module around it, but leave its weights in their own type."""

        def moved(tensor: Tensor) -> Tensor:
            probe = fn(tensor.new_empty(0))
            return fn(tensor) if probe.dtype == tensor.dtype else tensor.to(probe.device)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> "LesionWiseLoss":
        """Keep the estimator in evaluation mode whatever the mode of the network around it."""
        super().train(mode)
        self.estimator.eval()
        return self


def require_shapes(probability: tuple[int, ...], truth: tuple[int, ...]) -> None:
    """Raise ValueError where two volumes are not both of batch × class × three sides."""
    if len(probability) != 5 or probability != truth:
        raise ValueError(
            "probability and truth of one shape are needed, batch x class x depth x height x "
            f"width; got {_shown(probability)} and {_shown(truth)}"
        )


def _shown(sides: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in sides) or "a number"
