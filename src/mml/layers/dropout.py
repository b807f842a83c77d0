import math

import keras
from keras import ops

from mml.layers.random_layer import _RandomLayer


@keras.saving.register_keras_serializable(package="mml")
class Dropout(_RandomLayer, keras.layers.Dropout):
    """Keras's `Dropout`, with a random state that is saved with the weights.

    Args:
        rate: Fraction of the values that are set to zero in training, from 0 to 1. The others are scaled by
            `1 / (1 - rate)`.
        noise_shape: Shape of the mask, as for `keras.layers.Dropout`. Defaults to the shape of the input.
        seed: Integer seed of the random state. By default, Keras draws one.

    Call arguments:
        inputs: Float tensor of any shape.
        training: Whether to drop values. Off by default.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: If `rate` is not from 0 to 1, or if `noise_shape` is not a list of positive integers and `None`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import Dropout
    >>> print(np.asarray(Dropout(0.5)(np.ones(3, "float32"))))
    [1. 1. 1.]

    Reference:
        Srivastava et al., "Dropout", 2014, Journal of Machine Learning Research 15, section 4.
    """

    def call(self, inputs, training=False):
        if self.noise_shape is not None or not all(inputs.shape[1:]):  # unknown or 0
            return super().call(inputs, training=training)
        if not training or self.rate == 0:
            return inputs
        # Flattening does not change which values are dropped. For two axes, XLA generates a sixth of the code.
        flat = ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))
        # Without `noise_shape`, Keras on torch would not use the layer's own random state.
        flat = keras.random.dropout(flat, self.rate, noise_shape=(None, flat.shape[1]), seed=self.seed_generator)
        return ops.reshape(flat, ops.shape(inputs))
