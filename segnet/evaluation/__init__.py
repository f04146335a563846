"""Evaluation of predicted masks against truths: lesions, voxels, surfaces, patients, methods."""

from segnet.evaluation.voxelwise import dice_coefficient

__all__ = ["dice_coefficient"]
