import math

import keras
from keras import ops

from mml.layers.random_layer import _RandomWarp, factor_range, neighbors


@keras.saving.register_keras_serializable(package="mml")
class RandomRotation(_RandomWarp):
    """Layer that rotates each image about its center by a random angle, like `keras.layers.RandomRotation`.

    The angles in a batch are independent and uniformly distributed. The same seed gives the same images as Keras's
    layer, within rounding. The differences:

    - Keras's layer prevents the whole model from being compiled. This one can be compiled.
    - It is off except in training.
    - Its random state is saved with the weights.
    - It takes only images, of known height and width, and only one fill mode and one interpolation.

    Args:
        factor: A number for angles in the range `[-|factor|, |factor|]`, or the two ends of the range, as fractions
            of a full turn from -1 to 1. A positive angle turns an image counterclockwise.
        fill_mode: Only `"reflect"`: the image is mirrored beyond its edges, `d c b a | a b c d | d c b a`.
        interpolation: Only `"bilinear"`.
        seed: Integer seed of the random state. By default, Keras draws one.
        fill_value: Not used with `fill_mode="reflect"`.
        data_format: Only `"channels_last"`. Defaults to `keras.config.image_data_format()`.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`, or one image `[height, width, channels]`.
        training: Whether to rotate. Off by default.

    Returns:
        Image tensor of the same shape.

    Raises:
        ValueError: If `factor` is not one or two numbers in the range `[-1, 1]`, or if `fill_mode`, `interpolation`,
            or `data_format` is not supported.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RandomRotation
    >>> RandomRotation(0.02)(np.ones((2, 8, 8, 3), "float32"), training=True).shape
    (2, 8, 8, 3)
    """

    def __init__(
        self,
        factor,
        fill_mode="reflect",
        interpolation="bilinear",
        seed=None,
        fill_value=0.0,
        data_format=None,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        # === Config ===
        self.factor = factor_range("factor", factor)

    def _warp(self, images):
        _, height, width, channels = images.shape
        count = ops.shape(images)[0]
        lower, upper = self.factor
        # Draw degrees, as Keras does, so that the same seed gives the same angles.
        degrees = keras.random.uniform((count,), 360 * lower, 360 * upper, dtype="float32", seed=self.seed_generator)
        radians = math.pi / 180 * degrees
        cos, sin = ops.cos(radians)[:, None, None], ops.sin(radians)[:, None, None]  # [B, 1, 1]
        x, y = ops.arange(width, dtype="float32"), ops.arange(height, dtype="float32")[:, None]
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        columns = neighbors(cos * x - sin * y + (middle_x - middle_x * cos + middle_y * sin), width)  # [B, H, W] each
        rows = neighbors(sin * x + cos * y + (middle_y - middle_x * sin - middle_y * cos), height)
        # Look up whole pixels. Keras looks up each channel separately.
        pixels = ops.reshape(images, (-1, channels))
        first = ops.arange(count)[:, None, None] * (height * width)  # the first pixel of each image
        return sum(
            ops.take(pixels, first + row * width + column, axis=0) * (row_share * column_share)[..., None]
            for row, row_share in rows
            for column, column_share in columns
        )

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
