"""Lesion masks, their exact lesion-wise scores, and the pairs that an estimator learns from."""

from datagen.lesions import LesionScore, score_lesions

__all__ = ["LesionScore", "score_lesions"]
