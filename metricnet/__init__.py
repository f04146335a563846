"""A network that estimates the lesion-wise F1 of a prediction, and the loss it becomes."""

from metricnet.estimator import LesionEstimator
from metricnet.loss import LesionWiseLoss

__all__ = ["LesionEstimator", "LesionWiseLoss"]
