"""Initializers that Keras does not have."""

import keras
from keras import ops

from mml.validation import number


@keras.saving.register_keras_serializable(package="mml")
class Linspace(keras.initializers.Initializer):
    """Evenly spaced values along the last axis, from `start` to `stop`.

    As the `forget_bias_initializer` of `mml.layers.GRUMML`, it makes some features of the state forget within a
    token or two and lets others remember for a long time.

    Args:
        start: The first value.
        stop: The last value.

    Call arguments:
        shape: Shape of the tensor.
        dtype: Dtype of the tensor. Defaults to `keras.config.floatx()`.

    Returns:
        Float tensor of that shape.

    Raises:
        ValueError: If `start` or `stop` is not a finite number.

    Example:

    >>> import numpy as np
    >>> from mml.initializers import Linspace
    >>> print(np.asarray(Linspace(0, 3)((4,))))
    [0. 1. 2. 3.]
    """

    def __init__(self, start, stop):
        # === Config ===
        self.start = number("start", start, "a finite number")
        self.stop = number("stop", stop, "a finite number")

    def __call__(self, shape, dtype=None):
        values = ops.linspace(self.start, self.stop, shape[-1], dtype=dtype or keras.config.floatx())
        return ops.broadcast_to(values, shape)

    def get_config(self):
        return {"start": self.start, "stop": self.stop}
