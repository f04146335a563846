"""Losses of the seed papers, one function per printed formula."""

from segnet.losses.region import dice_loss

__all__ = ["dice_loss"]
