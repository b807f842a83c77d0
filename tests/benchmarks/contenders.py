"""The seed's model and the models it is measured beside.

Only `ours` and its block import `mml`, and only when they are built, so that the other contenders run as published.

- `ours`: the model of this package.
- `peer`: the model of keras-matmulless 0.1.2, as published. Keras's rotation and zoom declare that they cannot be
  compiled, so Keras runs this model operation by operation.
- `peer_jit`: the peer's model, which Keras is made to compile.
- `float_vit`: a vision transformer of equal size with attention and float weights. It is built as in keras.io's
  example, with the head of the other contenders, and is compiled too.

Each is a function that takes a configuration and training images, which the normalization needs, and returns a model
that is not yet compiled. The configuration is an `mml.models.VisionTransformerConfig`; for all but `ours`, any object
with the same attributes will do.
"""

import keras
from keras import layers, ops


def ours(config, images):
    """Build this package's model."""
    from mml.models import vision_transformer

    return vision_transformer(config, images)


def peer(config, images):
    """Build the seed's model from the layers of keras-matmulless."""
    import keras_mml.layers as mml  # here, so that the others can be measured without it

    return keras.Sequential(
        [
            keras.Input(config.input_shape),
            _augmentation(config, images),
            mml.Patches(config.patch_size),
            mml.PatchEmbedding(_num_patches(config), config.projection_dim, with_positions=True),
            *(
                mml.TransformerBlockMML(
                    config.projection_dim, 2 * config.projection_dim, config.num_heads, rate=config.dropout
                )
                for _ in range(config.transformer_layers)
            ),
            layers.LayerNormalization(epsilon=1e-6),
            layers.Flatten(),
            layers.Dropout(config.head_dropout),
            *(mml.DenseMML(units) for units in config.head_units),
            layers.Dense(config.num_classes),
        ]
    )


def peer_jit(config, images):
    """Build the peer's model so that Keras compiles it."""
    return _force_jit(peer(config, images))


class Patches(layers.Layer):
    """Cut images into square patches in raster order, each flattened to a vector.

    By transposition, which takes less time than the convolution in `keras.ops.image.extract_patches`.

    Args:
        patch_size: Edge of a patch in pixels; divides height and width.

    Example:

    >>> import numpy as np
    >>> from contenders import Patches
    >>> Patches(2)(np.arange(16.0).reshape(1, 4, 4, 1)).tolist()[0][1]
    [2.0, 3.0, 6.0, 7.0]
    """

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, images):
        _, height, width, channels = images.shape
        size = self.patch_size
        grid = ops.reshape(images, (-1, height // size, size, width // size, size, channels))
        patches = ops.transpose(grid, (0, 1, 3, 2, 4, 5))
        return ops.reshape(patches, (-1, (height // size) * (width // size), size * size * channels))


class PatchEncoder(layers.Layer):
    """Project each patch and add a learned vector for its position, with float weights.

    Args:
        num_patches: Patches in an image.
        projection_dim: Size of a token.

    Example:

    >>> import numpy as np
    >>> from contenders import PatchEncoder
    >>> PatchEncoder(4, 8)(np.ones((2, 4, 12), "float32")).shape
    (2, 4, 8)
    """

    def __init__(self, num_patches, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.num_patches = num_patches
        self.projection = layers.Dense(projection_dim)
        self.position_embedding = layers.Embedding(num_patches, projection_dim)

    def build(self, input_shape):
        self.projection.build(input_shape)
        self.position_embedding.build((self.num_patches,))

    def call(self, patches):
        return self.projection(patches) + self.position_embedding(ops.arange(self.num_patches))


def float_vit(config, images):
    """Build keras.io's vision transformer, so that Keras compiles it.

    Reference:
        Salama, "Image classification with Vision Transformer", keras.io, 2021.
    """
    inputs = keras.Input(config.input_shape)
    x = Patches(config.patch_size)(_augmentation(config, images)(inputs))
    x = PatchEncoder(_num_patches(config), config.projection_dim)(x)
    for _ in range(config.transformer_layers):
        x = _attention_block(config, x, config.dropout)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(config.head_dropout)(x)
    x = _mlp(x, config.head_units, config.head_dropout)
    return _force_jit(keras.Model(inputs, layers.Dense(config.num_classes)(x)))


BUILDERS = {"ours": ours, "peer": peer, "peer_jit": peer_jit, "float_vit": float_vit}


def compile_contender(name, model, config):
    """Compile a contender's model with the optimizer, loss and metrics of `mml.training.compile_model`.

    Args:
        name: One of `BUILDERS`.
        model: What that built.
        config: An `mml.training.TrainingConfig`, or for all but `ours` any object with the attributes of one.
    """
    if name == "ours":
        from mml.training import compile_model

        return compile_model(model, config)
    return model.compile(
        optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="acc"),
            keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5_acc"),
        ],
    )


def block_of_ours(config, tokens):
    """Build one block of this package, with a gain per feature, so that its size does not depend on the length."""
    from mml.layers import TransformerBlockMML

    return keras.Sequential(
        [
            keras.Input((tokens, config.projection_dim)),
            TransformerBlockMML(
                config.projection_dim, 2 * config.projection_dim, config.num_heads, rate=0.0, per_feature_gain=True
            ),
        ]
    )


def block_of_attention(config, tokens):
    """Build one block of `float_vit`, without its dropout."""
    inputs = keras.Input((tokens, config.projection_dim))
    return keras.Model(inputs, _attention_block(config, inputs, 0.0))


BLOCK_BUILDERS = {"ours": block_of_ours, "attention": block_of_attention}


def _num_patches(config):
    return (config.image_size // config.patch_size) ** 2


def _augmentation(config, images):
    # Keras's own layers, as in the seed.
    normalization = layers.Normalization()
    normalization.adapt(images)
    return keras.Sequential(
        [
            normalization,
            layers.Resizing(config.image_size, config.image_size),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(factor=0.02),
            layers.RandomZoom(height_factor=0.2, width_factor=0.2),
        ],
        name="data_augmentation",
    )


def _attention_block(config, x, dropout):
    size = config.projection_dim
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.MultiHeadAttention(num_heads=config.num_heads, key_dim=size, dropout=dropout)(y, y)
    x = layers.Add()([y, x])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    return layers.Add()([_mlp(y, (2 * size, size), dropout), x])


def _mlp(x, sizes, dropout):
    for units in sizes:
        x = layers.Dropout(dropout)(layers.Dense(units, activation="gelu")(x))
    return x


def _force_jit(model):
    # On JAX, rotation and zoom do compile, although they declare that they don't.
    for layer in model._flatten_layers():
        layer.supports_jit = True
    return model
