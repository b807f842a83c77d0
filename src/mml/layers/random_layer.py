"""What the random layers share: saving their random state, and reading pixels elsewhere in the image."""

import numbers

import keras
from keras import ops


class _RandomLayer(keras.layers.Layer):
    """Base class of layers that save their random state with the weights.

    A resumed run then draws the same numbers as a run without the interruption. Keras does not save this state.
    Layers for images are off except in training, whereas Keras's own are on by default.
    """

    def call(self, inputs, training=False):
        return super().call(inputs, training=training)

    def save_own_variables(self, store):
        for index, state in enumerate(self.variables):
            store[f"random_state_{index}"] = state

    def load_own_variables(self, store):
        # Weights saved from a Keras layer hold no state. The generator then keeps its state.
        for index, state in enumerate(self.variables):
            if f"random_state_{index}" in store:
                state.assign(store[f"random_state_{index}"])


class _RandomWarp(_RandomLayer):
    """Base class of layers that read each pixel at a random place in the image.

    A subclass implements `_warp(images)`, which takes and returns a float32 tensor
    `[batch, height, width, channels]`. It is called only in training.
    """

    supported_interpolation = "bilinear"

    def __init__(self, fill_mode, interpolation, seed, fill_value, data_format, **kwargs):
        super().__init__(**kwargs)
        # === Config ===
        self.fill_mode = fill_mode
        self.interpolation = interpolation
        self.seed = seed
        self.fill_value = fill_value
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        supported = self.supported_interpolation
        if (fill_mode, interpolation, self.data_format) != ("reflect", supported, "channels_last"):
            raise ValueError(
                f"{type(self).__name__} supports only fill_mode='reflect', interpolation={supported!r}, and "
                f"data_format='channels_last'. Received: fill_mode={fill_mode!r}, interpolation={interpolation!r}, "
                f"data_format={self.data_format!r}"
            )
        # === State ===
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.InputSpec(min_ndim=3, max_ndim=4)

    def call(self, inputs, training=False):
        images = ops.cast(inputs, self.compute_dtype)
        if not training:
            return images
        batch = images if len(images.shape) == 4 else images[None]
        # 16 bits are too few for coordinates and interpolation weights.
        warped = ops.cast(self._warp(ops.cast(batch, "float32")), self.compute_dtype)
        return warped if len(images.shape) == 4 else warped[0]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "fill_mode": self.fill_mode,
            "interpolation": self.interpolation,
            "seed": self.seed,
            "fill_value": self.fill_value,
            "data_format": self.data_format,
        }


def factor_range(name, factor, lowest_allowed=True):
    """Return the range from which a random factor is drawn, as Keras reads such an argument.

    Args:
        name: Name of the argument.
        factor: A number for the range `[-|factor|, |factor|]`, or the two ends of the range.
        lowest_allowed: Whether the range may begin at -1.

    Returns:
        Tuple `(lower, upper)` of two `float`.

    Raises:
        ValueError: If `factor` is not one or two numbers in the range `[-1, 1]`, or if the range begins at -1 and
            `lowest_allowed` is False.

    Example:

    >>> from mml.layers.random_layer import factor_range
    >>> factor_range("factor", 0.2)
    (-0.2, 0.2)
    >>> factor_range("factor", (0.1, -0.3))
    (-0.3, 0.1)
    """
    pair = factor if isinstance(factor, (tuple, list)) else (factor, factor)
    allowed = len(pair) == 2 and all(
        not isinstance(end, bool) and isinstance(end, numbers.Real) and -1 <= float(end) <= 1 for end in pair
    )
    if allowed:
        lower, upper = sorted(map(float, pair))
        if pair is not factor:
            lower, upper = -abs(upper), abs(upper)
    if not allowed or (lower == -1 and not lowest_allowed):
        expected = "one or two numbers in the range [-1, 1]"
        if not lowest_allowed:
            expected = "a number between -1 and 1, or two numbers in the range (-1, 1]"
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={factor!r}")
    return lower, upper


def neighbors(coordinates, size):
    """Return the pixels on both sides of each coordinate of a mirrored line, and their bilinear weights.

    Args:
        coordinates: Float tensor of any shape. The first pixel of the line is at 0, the last at `size - 1`.
        size: Number of pixels in the line.

    Returns:
        List of two pairs, each an int32 tensor of indices from 0 to `size - 1` and a tensor of weights. The two
        weights add up to 1.

    Example:

    >>> import numpy as np
    >>> from mml.layers.random_layer import neighbors
    >>> for index, weight in neighbors(np.array([0.25, -0.25, 3.5], "float32"), 4):
    ...     print(np.asarray(index), np.asarray(weight))
    [0 0 3] [0.75 0.25 0.5 ]
    [1 0 3] [0.25 0.75 0.5 ]
    """
    below = ops.floor(coordinates)
    weight = coordinates - below
    pixels = ops.cast(below, "int32") % (2 * size), (ops.cast(below, "int32") + 1) % (2 * size)
    return [
        (ops.minimum(pixel, 2 * size - 1 - pixel), share)
        for pixel, share in zip(pixels, (1 - weight, weight), strict=True)
    ]
