"""A matmul-free model made for images, and its float twin, built from one configuration."""

import dataclasses

import keras
import numpy as np

from mml.activations import squared_relu
from mml.layers import DenseMML, PatchEmbedding, Patches, RMSNorm, VisionBlockMML
from mml.layers.grid_scan_mml import DIRECTIONS
from mml.models.augmentation import Augmentation, adapt, image_shape, random_layers
from mml.ops import patch_grid
from mml.validation import positive_integer


@dataclasses.dataclass(frozen=True)
class VisionMLGRUConfig:
    """Configuration of a `vision_mlgru`.

    Args:
        input_shape: Height and width of the images in pixels, and number of channels.
        num_classes: Size of the output.
        patch_size: Edge length of a patch in pixels. A patch starts at every second pixel, so patches overlap.
        stem_units: Number of features that the stem computes from a patch.
        merge_size: Edge length, in patches, of the window that is merged into a token. A window starts at every
            second patch.
        embedding_dim: Size of a token.
        ffn_dim: Number of hidden features in the feed-forward networks.
        num_blocks: Number of blocks.
        directions: Directions of the scans. The blocks take them in turn (see `mml.layers.GridScanMML`).
        augmentation: Augmentation of the images in training.

    Raises:
        ValueError: If a size is not a positive integer, or if a direction is not one of the four.

    Example:

    >>> from mml.models import VisionMLGRUConfig
    >>> VisionMLGRUConfig().grid
    (8, 8)
    """

    input_shape: tuple[int, int, int] = (32, 32, 3)
    num_classes: int = 10
    patch_size: int = 6
    stem_units: int = 64
    merge_size: int = 2
    embedding_dim: int = 128
    ffn_dim: int = 192
    num_blocks: int = 4
    directions: tuple[str, ...] = ("right",)
    augmentation: Augmentation = Augmentation(translation=1 / 8, erasing=1 / 16)

    def __post_init__(self):
        sizes = ("num_classes", "patch_size", "stem_units", "merge_size", "embedding_dim", "ffn_dim", "num_blocks")
        checked: dict = {name: positive_integer(name, getattr(self, name)) for name in sizes}
        checked["input_shape"] = image_shape("input_shape", self.input_shape)
        is_tuple = isinstance(self.directions, (tuple, list))
        if not is_tuple or not self.directions or any(each not in DIRECTIONS for each in self.directions):
            raise ValueError(
                "`directions` must be a tuple of one or more of 'right', 'left', 'down', and 'up'. "
                f"Received: directions={self.directions!r}"
            )
        checked["directions"] = tuple(self.directions)
        if not isinstance(self.augmentation, Augmentation):
            raise ValueError(
                f"`augmentation` must be an `Augmentation`. Received: augmentation={self.augmentation!r}"
            )
        for name, value in checked.items():  # equal configurations hold equal Python numbers
            object.__setattr__(self, name, value)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of patches in an image."""
        height, width, _ = self.input_shape
        return patch_grid(height, width, self.patch_size, strides=2, padding="same")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens in an image."""
        return patch_grid(*self.patch_grid, self.merge_size, strides=2, padding="same")

    @property
    def short_name(self) -> str:
        """A name for run folders that states the main sizes."""
        return f"mlgru-p{self.patch_size}-d{self.embedding_dim}-l{self.num_blocks}"


def vision_mlgru(
    config: VisionMLGRUConfig = VisionMLGRUConfig(),
    images: np.ndarray | None = None,
    quantization: str = "ternary",
) -> keras.Sequential:
    """Build a matmul-free model made for images.

    Overlapping patches become tokens in two steps. Each block scans the tokens, row by row by default. The last
    layers classify the mean of the tokens.

    Args:
        config: A `VisionMLGRUConfig`.
        images: Training images `[batch, height, width, channels]`, 0 to 255. The normalization takes the mean and the
            variance of each channel from them. Without them, both come from the weights that are loaded later.
        quantization: `"ternary"`, or another state of the ternary layers (see `mml.layers.DenseMML`).

    Returns:
        A `keras.Sequential` from images `[batch, *input_shape]`, 0 to 255, to logits `[batch, num_classes]`.
        Augmentation is on only in training.

    Example:

    >>> from mml.models import vision_mlgru
    >>> vision_mlgru().output_shape
    (None, 10)

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.3, for the blocks;
        Duan et al., "Vision-RWKV", 2024, arXiv:2403.02308, section 3, for the token shift; Hassani et al., "Escaping
        the Big Data Paradigm with Compact Transformers", 2021, arXiv:2104.05704, section 3, for the stem.
    """
    (patch_rows, patch_columns), (rows, columns) = config.patch_grid, config.grid
    normalization = keras.layers.Normalization(name="normalization")
    model = keras.Sequential(
        [
            keras.Input(config.input_shape),
            normalization,
            *random_layers(config.augmentation),  # [B, H, W, C]
            Patches(config.patch_size, strides=2, padding="same", name="patches"),  # [B, H/2 * W/2, P*P*C]
            DenseMML(
                config.stem_units,
                activation=squared_relu,
                per_feature_gain=True,
                quantization=quantization,
                name="stem",
            ),  # [B, H/2 * W/2, stem_units]
            keras.layers.Reshape((patch_rows, patch_columns, config.stem_units)),
            Patches(config.merge_size, strides=2, padding="same", name="merge"),  # [B, N, M*M*stem_units]
            PatchEmbedding(
                rows * columns,
                config.embedding_dim,
                per_feature_gain=True,
                quantization=quantization,
                name="embedding",
            ),  # [B, N, D]
            *(
                VisionBlockMML(
                    config.embedding_dim,
                    config.ffn_dim,
                    config.grid,
                    config.directions[index % len(config.directions)],
                    quantization=quantization,
                    name=f"block_{index}",
                )  # [B, N, D]
                for index in range(config.num_blocks)
            ),
            RMSNorm(has_learnable_weights=False, name="token_norm"),
            keras.layers.GlobalAveragePooling1D(data_format="channels_last", name="pooling"),  # [B, D]
            RMSNorm(per_feature_gain=True, name="norm"),
            keras.layers.Dense(config.num_classes, name="head"),  # [B, classes]
        ],
        name="vision_mlgru",
    )
    if images is not None:
        adapt(normalization, images, config.input_shape[-1])
    return model


def float_vision_mlgru(
    config: VisionMLGRUConfig = VisionMLGRUConfig(), images: np.ndarray | None = None
) -> keras.Sequential:
    """Build the float twin of `vision_mlgru` for comparison: the same model without rounding.

    Args:
        config: A `VisionMLGRUConfig`.
        images: Training images for the normalization (see `vision_mlgru`).

    Returns:
        A `keras.Sequential` from images `[batch, *input_shape]`, 0 to 255, to logits `[batch, num_classes]`.

    Example:

    >>> from mml.models import float_vision_mlgru, vision_mlgru
    >>> float_vision_mlgru().count_params() == vision_mlgru().count_params()
    True
    """
    return vision_mlgru(config, images, quantization="float")
