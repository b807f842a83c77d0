import keras
from keras import ops

from mml.layers.random_layer import _RandomWarp, factor_range


@keras.saving.register_keras_serializable(package="mml")
class RandomTranslation(_RandomWarp):
    """Layer that shifts each image by a random number of whole pixels and mirrors it beyond its edges.

    It corresponds to `keras.layers.RandomTranslation` with `interpolation="nearest"`. The differences:

    - Keras's layer prevents the whole model from being compiled. This one can be compiled.
    - It is off except in training.
    - Its random state is saved with the weights.
    - It takes only images, of known height and width, and only one fill mode and one interpolation.

    Args:
        height_factor: A number for the range `[-|height_factor|, |height_factor|]`, or the two ends of the range, as
            fractions of the height from -1 to 1. A positive value shifts down. The ends are rounded to whole pixels.
            They and all whole numbers between them are equally likely.
        width_factor: The same for the width. A positive value shifts to the right.
        fill_mode: Only `"reflect"`: the image is mirrored beyond its edges, `d c b a | a b c d | d c b a`.
        interpolation: Only `"nearest"`.
        seed: Integer seed of the random state. By default, Keras draws one.
        fill_value: Not used with `fill_mode="reflect"`.
        data_format: Only `"channels_last"`. Defaults to `keras.config.image_data_format()`.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`, or one image `[height, width, channels]`.
        training: Whether to shift. Off by default.

    Returns:
        Image tensor of the same shape.

    Raises:
        ValueError: If a factor is not one or two numbers in the range `[-1, 1]`, or if `fill_mode`, `interpolation`,
            or `data_format` is not supported.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RandomTranslation
    >>> RandomTranslation(1 / 8, 1 / 8)(np.ones((2, 8, 8, 3), "float32"), training=True).shape
    (2, 8, 8, 3)
    """

    supported_interpolation = "nearest"

    def __init__(
        self,
        height_factor,
        width_factor,
        fill_mode="reflect",
        interpolation="nearest",
        seed=None,
        fill_value=0.0,
        data_format=None,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        # === Config ===
        self.height_factor = factor_range("height_factor", height_factor)
        self.width_factor = factor_range("width_factor", width_factor)

    def _warp(self, images):
        _, height, width, _ = images.shape
        count = ops.shape(images)[0]
        # Rows and columns are shifted separately, by a product with a matrix that holds a single 1 in each row.
        rows = self._lines(self.height_factor, count, height)  # [B, H, H]
        columns = self._lines(self.width_factor, count, width)  # [B, W, W]
        return ops.einsum("bxj,byjc->byxc", columns, ops.einsum("byi,bijc->byjc", rows, images))

    def _lines(self, factors, count, size):
        lowest, highest = (round(factor * size) for factor in factors)
        shifts = keras.random.randint((count, 1), lowest, highest + 1, dtype="int32", seed=self.seed_generator)
        pixels = (ops.arange(size) - shifts) % (2 * size)  # of the image and its mirror image
        return ops.one_hot(ops.minimum(pixels, 2 * size - 1 - pixels), size, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor}
