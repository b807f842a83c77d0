"""Keras's random layers, made to compile, to stay quiet outside training and to remember where they were.

Four things keep Keras's own layers from a training run that is fast and can be resumed exactly:

- `RandomRotation` and `RandomZoom` declare that they cannot be compiled, and one such layer makes Keras run the
  whole model operation by operation. By XLA, on JAX and TensorFlow, they are compiled.
- They look up each channel of each pixel on its own. Here a rotation looks up whole pixels, and a zoom, which
  treats rows and columns apart, is two small matrix products. The pictures are the same.
- The augmentation layers are on unless told `training=False`, so a model called directly answers differently
  each time.
- The state of the random generator is not saved with the weights, so a run that is resumed draws other numbers.
"""

import math

import keras
from keras import ops


class _RandomLayer(keras.layers.Layer):
    """Mixin for a random layer of Keras that has no weights."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if keras.backend.backend() != "torch":
            self.supports_jit = True

    def call(self, inputs, training=False):
        return super().call(inputs, training=training)

    def save_own_variables(self, store):
        for index, state in enumerate(self.variables):
            store[f"random_state_{index}"] = state

    def load_own_variables(self, store):
        # Weights saved from a layer of Keras hold no state; then the generator stays where it is.
        for index, state in enumerate(self.variables):
            if f"random_state_{index}" in store:
                state.assign(store[f"random_state_{index}"])


class _Warp(_RandomLayer):
    """Mixin for a random layer that reads its pixels elsewhere, between the pixels that are there."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if (self.fill_mode, self.interpolation, self.data_format) != ("reflect", "bilinear", "channels_last"):
            raise ValueError(
                f"{type(self).__name__} knows fill_mode='reflect', interpolation='bilinear' and "
                f"data_format='channels_last' only. Received: fill_mode={self.fill_mode!r}, "
                f"interpolation={self.interpolation!r}, data_format={self.data_format!r}"
            )

    def transform_images(self, images, transformation, training=True):
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        if len(images.shape) == 3:
            return self.transform_images(images[None], transformation)[0]
        return ops.cast(self._warp(ops.cast(images, "float32"), transformation), self.compute_dtype)


def _neighbours(coordinate, size):
    """The two pixels about a coordinate and their weights; beyond its edge an image is mirrored."""
    below = ops.floor(coordinate)
    weight = coordinate - below
    pixels = ops.cast(below, "int32") % (2 * size), (ops.cast(below, "int32") + 1) % (2 * size)
    return [
        (ops.minimum(pixel, 2 * size - 1 - pixel), share)
        for pixel, share in zip(pixels, (1 - weight, weight), strict=True)
    ]


@keras.saving.register_keras_serializable(package="mml")
class Dropout(_RandomLayer, keras.layers.Dropout):
    """Keras's `Dropout`, whose random state is saved with the weights.

    Args:
        rate: Share of the values that are set to zero in training; the others are scaled up by `1 / (1 - rate)`.

    Call arguments:
        inputs: Float tensor of any shape.
        training: Whether to drop values. Off by default.

    Example:

    >>> import numpy as np
    >>> from mml.layers import Dropout
    >>> print(np.asarray(Dropout(0.5)(np.ones(3, "float32"))))
    [1. 1. 1.]

    Reference:
        Srivastava et al., "Dropout", 2014, Journal of Machine Learning Research 15, section 4.
    """

    def call(self, inputs, training=False):
        if self.noise_shape is not None or None in inputs.shape[1:]:
            return super().call(inputs, training=training)
        if not training or self.rate == 0:
            return inputs
        # The same values are dropped whatever the shape; for two axes the compiler makes a sixth of the code.
        flat = ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))
        # Without a shape for the noise, torch would leave the layer's own random state alone.
        flat = keras.random.dropout(flat, self.rate, noise_shape=(None, flat.shape[1]), seed=self.seed_generator)
        return ops.reshape(flat, ops.shape(inputs))


@keras.saving.register_keras_serializable(package="mml")
class RandomFlip(_RandomLayer, keras.layers.RandomFlip):
    """Keras's `RandomFlip`, off unless training, its random state saved with the weights.

    Args:
        mode: `"horizontal"`, `"vertical"` or `"horizontal_and_vertical"`.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`.
        training: Whether to flip. Off by default.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RandomFlip
    >>> RandomFlip("horizontal")(np.ones((2, 8, 8, 3), "float32"), training=True).shape
    (2, 8, 8, 3)
    """


@keras.saving.register_keras_serializable(package="mml")
class RandomRotation(_Warp, keras.layers.RandomRotation):
    """Keras's `RandomRotation`, compiled, off unless training, its random state saved with the weights.

    Args:
        factor: Largest angle to either side, as a share of a full turn.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`.
        training: Whether to rotate. Off by default.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RandomRotation
    >>> RandomRotation(0.02)(np.ones((2, 8, 8, 3), "float32"), training=True).shape
    (2, 8, 8, 3)
    """

    def _warp(self, images, transformation):
        _, height, width, channels = images.shape
        matrix = ops.reshape(transformation["rotation_matrix"], (-1, 8))
        # One entry at a time: of a slice with several, the compiler makes far more code.
        matrix = [matrix[:, entry, None, None] for entry in range(6)]
        x, y = ops.arange(width, dtype="float32"), ops.arange(height, dtype="float32")[:, None]
        columns = _neighbours(matrix[0] * x + matrix[1] * y + matrix[2], width)  # [B, H, W] each
        rows = _neighbours(matrix[3] * x + matrix[4] * y + matrix[5], height)
        pixels = ops.reshape(images, (-1, channels))
        first = ops.arange(ops.shape(images)[0])[:, None, None] * (height * width)  # of each image
        return sum(
            ops.take(pixels, first + row * width + column, axis=0) * (row_share * column_share)[..., None]
            for row, row_share in rows
            for column, column_share in columns
        )


@keras.saving.register_keras_serializable(package="mml")
class RandomZoom(_Warp, keras.layers.RandomZoom):
    """Keras's `RandomZoom`, compiled, off unless training, its random state saved with the weights.

    Args:
        height_factor: Largest change of the visible height, as a share of it; positive shows more.
        width_factor: The same for the width. Equal to the height's by default.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`.
        training: Whether to zoom. Off by default.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RandomZoom
    >>> RandomZoom(0.2, 0.2)(np.ones((2, 8, 8, 3), "float32"), training=True).shape
    (2, 8, 8, 3)
    """

    def _warp(self, images, transformation):
        _, height, width, _ = images.shape
        rows = self._weights(transformation["height_zoom"], height)
        columns = self._weights(transformation["width_zoom"], width)
        return ops.einsum("byi,bijc,bxj->byxc", rows, images, columns)

    def _weights(self, zoom, size):
        """What each pixel of a line gives to each pixel of the zoomed line, `[B, size, size]`."""
        coordinate = zoom * ops.arange(size, dtype="float32") + (size - 1) / 2 * (1 - zoom)  # [B, size]
        return sum(
            ops.one_hot(pixel, size, dtype="float32") * share[..., None]
            for pixel, share in _neighbours(coordinate, size)
        )
