"""A vision transformer and two counterparts for comparison, built from one configuration."""

import dataclasses

import keras
import numpy as np

from mml.layers import DenseMML, Dropout, PatchEmbedding, Patches, TransformerBlockMML
from mml.models.augmentation import Augmentation, adapt, image_shape, random_layers
from mml.ops import patch_grid
from mml.validation import divides, positive_integer, positive_integers, share


@dataclasses.dataclass(frozen=True)
class VisionTransformerConfig:
    """Configuration of a vision transformer. The defaults are those of chapters 1 to 6.

    Args:
        input_shape: Height and width of the input images in pixels, and number of channels.
        num_classes: Size of the output.
        image_size: Height and width in pixels to which images are resized; a multiple of `patch_size`.
        patch_size: Edge length of a patch in pixels.
        projection_dim: Size of a token.
        transformer_layers: Number of blocks.
        num_heads: Number of groups in the token mixer. It must divide `projection_dim`.
        dropout: Dropout rate in the blocks.
        head_units: Sizes of the ternary layers between the last block and the output.
        head_dropout: Dropout rate before those layers.
        per_feature_gain: Whether the norms have one gain per feature, as in the paper, instead of one per position
            and feature.
        augmentation: Augmentation of the images in training.

    Raises:
        ValueError: If a size is not a positive integer, or if two of them do not fit together.

    Example:

    >>> from mml.models import VisionTransformerConfig
    >>> VisionTransformerConfig().num_patches
    144
    """

    input_shape: tuple[int, int, int] = (32, 32, 3)
    num_classes: int = 10
    image_size: int = 72
    patch_size: int = 6
    projection_dim: int = 64
    transformer_layers: int = 8
    num_heads: int = 4
    dropout: float = 0.1
    head_units: tuple[int, ...] = (1024, 256)
    head_dropout: float = 0.5
    per_feature_gain: bool = False
    augmentation: Augmentation = Augmentation(rotation=0.02, zoom=0.2)

    def __post_init__(self):
        sizes = ("num_classes", "image_size", "patch_size", "projection_dim", "transformer_layers", "num_heads")
        checked: dict = {name: positive_integer(name, getattr(self, name)) for name in sizes}
        checked["input_shape"] = image_shape("input_shape", self.input_shape)
        checked["head_units"] = positive_integers("head_units", self.head_units, "a tuple of positive integers")
        if not isinstance(self.augmentation, Augmentation):
            raise ValueError(
                f"`augmentation` must be an `Augmentation`. Received: augmentation={self.augmentation!r}"
            )
        for name in ("dropout", "head_dropout"):
            checked[name] = share(name, getattr(self, name))
        patch_grid(self.image_size, self.image_size, self.patch_size)
        divides("num_heads", self.num_heads, "projection_dim", self.projection_dim)
        for name, value in checked.items():  # equal configurations hold equal Python numbers
            object.__setattr__(self, name, value)

    @property
    def num_patches(self) -> int:
        """Number of patches, and therefore of tokens, in an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def short_name(self) -> str:
        """A name for run folders that states the main sizes."""
        return f"vit-i{self.image_size}-p{self.patch_size}-d{self.projection_dim}-l{self.transformer_layers}"


def data_augmentation(
    config: VisionTransformerConfig = VisionTransformerConfig(), images: np.ndarray | None = None
) -> keras.Sequential:
    """Build the first part of the model, which normalizes and resizes the images and varies them in training.

    Args:
        config: A `VisionTransformerConfig`.
        images: Training images `[batch, height, width, channels]`, 0 to 255. The normalization takes the mean and the
            variance of each channel from them. Without them, both come from the weights that are loaded later.

    Returns:
        A `keras.Sequential` named `data_augmentation`, from `[batch, *input_shape]` to
        `[batch, image_size, image_size, channels]`, with `2 * channels + 1` parameters, none of which are trained.

    Example:

    >>> from mml.models import data_augmentation
    >>> [layer.name for layer in data_augmentation().layers]
    ['normalization', 'resizing', 'random_flip', 'random_rotation', 'random_zoom']
    """
    normalization = keras.layers.Normalization(name="normalization")
    augmentation = keras.Sequential(
        [
            keras.Input(config.input_shape),
            normalization,
            keras.layers.Resizing(config.image_size, config.image_size, data_format="channels_last", name="resizing"),
            *random_layers(config.augmentation),
        ],
        name="data_augmentation",
    )
    if images is not None:
        adapt(normalization, images, config.input_shape[-1])
    return augmentation


def vision_transformer(
    config: VisionTransformerConfig = VisionTransformerConfig(),
    images: np.ndarray | None = None,
    quantization: str = "ternary",
) -> keras.Sequential:
    """Build a vision transformer from ternary layers.

    Args:
        config: A `VisionTransformerConfig`.
        images: Training images for the normalization (see `data_augmentation`).
        quantization: `"ternary"`, or another state of the ternary layers (see `mml.layers.DenseMML`).

    Returns:
        A `keras.Sequential` from images `[batch, *input_shape]`, 0 to 255, to logits `[batch, num_classes]`.
        Augmentation and dropout are on only in training.

    Example:

    >>> from mml.models import vision_transformer
    >>> vision_transformer().count_params()
    10300817

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929, section 3.1; the recipe is
        that of Salama, "Image classification with Vision Transformer", keras.io, 2021.
    """
    return keras.Sequential(
        [
            keras.Input(config.input_shape),
            data_augmentation(config, images),  # [B, S, S, C]
            Patches(config.patch_size),  # [B, N, P*P*C]
            PatchEmbedding(
                config.num_patches,
                config.projection_dim,
                with_positions=True,
                per_feature_gain=config.per_feature_gain,
                quantization=quantization,
            ),  # [B, N, D]
            *(
                TransformerBlockMML(
                    config.projection_dim,
                    2 * config.projection_dim,
                    config.num_heads,
                    rate=config.dropout,
                    per_feature_gain=config.per_feature_gain,
                    quantization=quantization,
                )  # [B, N, D]
                for _ in range(config.transformer_layers)
            ),
            keras.layers.LayerNormalization(epsilon=1e-6),
            keras.layers.Flatten(),  # [B, N*D]
            Dropout(config.head_dropout),
            *(
                DenseMML(units, per_feature_gain=config.per_feature_gain, quantization=quantization)
                for units in config.head_units
            ),
            keras.layers.Dense(config.num_classes),  # [B, classes]
        ],
        name="vision_transformer",
    )


def float_vision_transformer(
    config: VisionTransformerConfig = VisionTransformerConfig(), images: np.ndarray | None = None
) -> keras.Sequential:
    """Build the float twin of `vision_transformer` for comparison: the same model without rounding.

    Norms, gates, recurrence, initial weights, and the order of the weights are the same. Because this is a separate
    function, it can be the `build` of `mml.training.train`.

    Args:
        config: A `VisionTransformerConfig`.
        images: Training images for the normalization (see `data_augmentation`).

    Returns:
        A `keras.Sequential` from images `[batch, *input_shape]`, 0 to 255, to logits `[batch, num_classes]`.

    Example:

    >>> from mml.models import float_vision_transformer
    >>> float_vision_transformer().count_params()
    10300817
    """
    return vision_transformer(config, images, quantization="float")


def attention_vision_transformer(
    config: VisionTransformerConfig = VisionTransformerConfig(), images: np.ndarray | None = None
) -> keras.Model:
    """Build a vision transformer with self-attention and float weights for comparison.

    It has as many tokens, blocks, and heads as `vision_transformer`, and tokens of the same width. Its attention,
    dense layers, and norms are Keras's. As in the example on keras.io, each head has `projection_dim` features, which
    is `num_heads` times as many as usual. Each block normalizes before each of its two parts (pre-norm).

    Args:
        config: A `VisionTransformerConfig`. `per_feature_gain` has no effect here.
        images: Training images for the normalization (see `data_augmentation`).

    Returns:
        A functional `keras.Model` from images `[batch, *input_shape]`, 0 to 255, to logits `[batch, num_classes]`.

    Example:

    >>> from mml.models import attention_vision_transformer
    >>> attention_vision_transformer().count_params()
    10385105

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929, section 3.1; the recipe is
        that of Salama, "Image classification with Vision Transformer", keras.io, 2021.
    """

    def feed_forward(x, sizes, rate):
        for units in sizes:
            x = Dropout(rate)(keras.layers.Dense(units, activation="gelu")(x))
        return x

    width = config.projection_dim
    inputs = keras.Input(config.input_shape)
    x = data_augmentation(config, images)(inputs)  # [B, S, S, C]
    x = Patches(config.patch_size)(x)  # [B, N, P*P*C]
    x = PatchEmbedding(config.num_patches, width, use_mml=False, with_positions=True)(x)  # [B, N, D]
    for _ in range(config.transformer_layers):
        y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + keras.layers.MultiHeadAttention(config.num_heads, key_dim=width, dropout=config.dropout)(y, y)
        y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + feed_forward(y, (2 * width, width), config.dropout)  # [B, N, D]
    x = keras.layers.Flatten()(keras.layers.LayerNormalization(epsilon=1e-6)(x))  # [B, N*D]
    x = feed_forward(Dropout(config.head_dropout)(x), config.head_units, config.head_dropout)
    return keras.Model(inputs, keras.layers.Dense(config.num_classes)(x), name="attention_vision_transformer")
