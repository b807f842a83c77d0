"""Stateless functions built on `keras.ops`: quantization, normalization, the linear recurrence, and patches.

Except for `patch_grid`, the functions take and return tensors of the active Keras backend.
"""

from mml.ops.normalization import rms_normalize
from mml.ops.patches import patch_grid, patchify, unpatchify
from mml.ops.quantization import absmax_quantize, absmean_ternarize, bit_linear, straight_through, ternary_linear
from mml.ops.recurrence import linear_recurrence

__all__ = [
    "absmax_quantize",
    "absmean_ternarize",
    "bit_linear",
    "linear_recurrence",
    "patch_grid",
    "patchify",
    "rms_normalize",
    "straight_through",
    "ternary_linear",
    "unpatchify",
]
