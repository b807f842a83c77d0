import keras
from keras import ops

from mml.layers.random_layer import _RandomWarp, factor_range, neighbors


@keras.saving.register_keras_serializable(package="mml")
class RandomZoom(_RandomWarp):
    """Layer that zooms each image about its center by a random factor, like `keras.layers.RandomZoom`.

    The factors in a batch are independent and uniformly distributed. The same seed gives the same images as Keras's
    layer, within rounding. The differences:

    - Keras's layer prevents the whole model from being compiled. This one can be compiled.
    - It is off except in training.
    - Its random state is saved with the weights.
    - It takes only images, of known height and width, and only one fill mode and one interpolation.

    Args:
        height_factor: A number for the range `[-|height_factor|, |height_factor|]`, or the two ends of the range,
            above -1 and at most 1. It is the relative change of the visible height. A positive value shows more.
        width_factor: The same for the width. By default, the width changes by the same factor as the
            height.
        fill_mode: Only `"reflect"`: the image is mirrored beyond its edges, `d c b a | a b c d | d c b a`.
        interpolation: Only `"bilinear"`.
        seed: Integer seed of the random state. By default, Keras draws one.
        fill_value: Not used with `fill_mode="reflect"`.
        data_format: Only `"channels_last"`. Defaults to `keras.config.image_data_format()`.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`, or one image `[height, width, channels]`.
        training: Whether to zoom. Off by default.

    Returns:
        Image tensor of the same shape.

    Raises:
        ValueError: If `height_factor` or `width_factor` is not a number between -1 and 1 or two numbers in the range
            `(-1, 1]`, or if `fill_mode`, `interpolation`, or `data_format` is not supported.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RandomZoom
    >>> RandomZoom(0.2, 0.2)(np.ones((2, 8, 8, 3), "float32"), training=True).shape
    (2, 8, 8, 3)
    """

    def __init__(
        self,
        height_factor,
        width_factor=None,
        fill_mode="reflect",
        interpolation="bilinear",
        seed=None,
        fill_value=0.0,
        data_format=None,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        # === Config ===
        self.height_factor = height_factor
        self.width_factor = width_factor
        # === Ranges ===
        self._height_range = factor_range("height_factor", height_factor, lowest_allowed=False)
        self._width_range = None
        if width_factor is not None:
            self._width_range = factor_range("width_factor", width_factor, lowest_allowed=False)

    def _warp(self, images):
        _, height, width, _ = images.shape
        count = ops.shape(images)[0]
        height_zoom = self._draw(self._height_range, count)
        width_zoom = height_zoom if self._width_range is None else self._draw(self._width_range, count)
        # A zoom treats rows and columns separately, so it consists of two small matrix products.
        rows, columns = _line_weights(height_zoom, height), _line_weights(width_zoom, width)
        return ops.einsum("byi,bijc,bxj->byxc", rows, images, columns)

    def _draw(self, factors, count):
        lower, upper = factors
        return keras.random.uniform((count, 1), 1 + lower, 1 + upper, dtype="float32", seed=self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor}


def _line_weights(zoom, size):
    """Return the weight of each pixel of a line in each pixel of the zoomed line, `[B, size, size]`."""
    coordinates = zoom * ops.arange(size, dtype="float32") + (size - 1) / 2 * (1 - zoom)  # [B, size]
    return sum(
        ops.one_hot(pixel, size, dtype="float32") * share[..., None] for pixel, share in neighbors(coordinates, size)
    )
