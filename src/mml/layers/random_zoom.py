import keras
from keras import ops

from mml.layers.random_layer import _RandomWarp, factor_range, neighbours


@keras.saving.register_keras_serializable(package="mml")
class RandomZoom(_RandomWarp):
    """Zoom each image about its middle by a random factor, as `keras.layers.RandomZoom` does.

    The factors of a batch are independent and uniformly distributed. The same seed gives the same images as Keras's
    layer, within rounding. Three things differ:

    - Keras's layer keeps the whole model from being compiled. This one can be compiled.
    - It is off unless training.
    - Its random state is saved with the weights.

    Args:
        height_factor: A number for a range `[-|height_factor|, |height_factor|]`, or the two ends of the range, above
            -1 and at most 1. It is the change of the height that is visible, as a share of it. A positive value shows
            more.
        width_factor: The same for the width. By default, the width changes as the height does.
        fill_mode: `"reflect"`: beyond its edge the image is mirrored, `d c b a | a b c d | d c b a`.
        interpolation: `"bilinear"`.
        seed: Integer seed of the random state. By default, Keras draws one.
        fill_value: Not used by `fill_mode="reflect"`.
        data_format: `"channels_last"`. By default, `keras.config.image_data_format()`.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`, or one image `[height, width, channels]`.
        training: Whether to zoom. Off by default.

    Raises:
        ValueError: If `height_factor` or `width_factor` is not a number or two in the range `(-1, 1]`, or if
            `fill_mode`, `interpolation` or `data_format` is another one.

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
        # A zoom treats rows and columns apart. So it is two small matrix products.
        rows, columns = _line_weights(height_zoom, height), _line_weights(width_zoom, width)
        return ops.einsum("byi,bijc,bxj->byxc", rows, images, columns)

    def _draw(self, factors, count):
        lower, upper = factors
        return keras.random.uniform((count, 1), 1 + lower, 1 + upper, dtype="float32", seed=self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor}


def _line_weights(zoom, size):
    """Return what each pixel of a line gives to each pixel of the zoomed line, `[B, size, size]`."""
    coordinates = zoom * ops.arange(size, dtype="float32") + (size - 1) / 2 * (1 - zoom)  # [B, size]
    return sum(
        ops.one_hot(pixel, size, dtype="float32") * share[..., None] for pixel, share in neighbours(coordinates, size)
    )
