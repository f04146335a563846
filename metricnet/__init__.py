"""A network that estimates the lesion-wise F1 of a prediction, and the loss it becomes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metricnet.estimator import LesionEstimator
    from metricnet.loss import LesionWiseLoss
    from metricnet.trust import TrustedLoss

__all__ = ["LesionEstimator", "LesionWiseLoss", "TrustedLoss"]

_HOME = {
    "LesionEstimator": "metricnet.estimator",
    "LesionWiseLoss": "metricnet.loss",
    "TrustedLoss": "metricnet.trust",
}


def __getattr__(name: str) -> Any:
    """Load a class when it is first asked for: a command's help needs no torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'metricnet' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
