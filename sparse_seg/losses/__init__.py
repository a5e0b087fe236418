"""Losses over sparse labels: pure functions, and the modules that a YAML names."""

from sparse_seg.losses.functional import partial_cross_entropy, partial_dice, partial_focal
from sparse_seg.losses.modules import PartialCrossEntropy, PartialDice, PartialFocal, WeightedSum, as_module

__all__ = [
    "PartialCrossEntropy",
    "PartialDice",
    "PartialFocal",
    "WeightedSum",
    "as_module",
    "partial_cross_entropy",
    "partial_dice",
    "partial_focal",
]
