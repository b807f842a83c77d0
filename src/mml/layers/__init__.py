"""Keras layers made of ternary products (MML, "matmul-less"), and the other layers that the models need.

Each ternary layer declares its quantization state: `"float"`, `"ternary"` (the default), or `"packed"`. It passes the
state on to the layers inside it and stores it in its configuration. See `DenseMML` and `mml.packing.pack`.
"""

# Saved models may use an activation and an initializer of this package, so they have to be registered.
import mml.activations
import mml.initializers  # noqa: F401
from mml.layers.attention_mml import AttentionMML
from mml.layers.dense_mml import DenseMML
from mml.layers.dropout import Dropout
from mml.layers.glu_mml import GLUMML
from mml.layers.glu_variants import BilinearMML, GeGLUMML, ReGLUMML, SeGLUMML, SwiGLUMML
from mml.layers.grid_scan_mml import GridScanMML
from mml.layers.gru_mml import GRUMML
from mml.layers.patch_embedding import PatchEmbedding
from mml.layers.patches import Patches
from mml.layers.random_erasing import RandomErasing
from mml.layers.random_flip import RandomFlip
from mml.layers.random_rotation import RandomRotation
from mml.layers.random_translation import RandomTranslation
from mml.layers.random_zoom import RandomZoom
from mml.layers.rms_norm import RMSNorm
from mml.layers.token_shift import TokenShift
from mml.layers.transformer_block_mml import TransformerBlockMML
from mml.layers.vision_block_mml import VisionBlockMML

__all__ = [
    "AttentionMML",
    "BilinearMML",
    "DenseMML",
    "Dropout",
    "GLUMML",
    "GRUMML",
    "GeGLUMML",
    "GridScanMML",
    "PatchEmbedding",
    "Patches",
    "RMSNorm",
    "RandomErasing",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReGLUMML",
    "SeGLUMML",
    "SwiGLUMML",
    "TokenShift",
    "TransformerBlockMML",
    "VisionBlockMML",
]
