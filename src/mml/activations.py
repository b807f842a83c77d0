"""Activations that Keras does not have."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mml")
def squared_relu(x):
    """Square the positive values and replace the others with zero: `max(x, 0) ** 2`.

    Args:
        x: Float tensor of any shape.

    Returns:
        Tensor of the same shape and dtype.

    Example:

    >>> import numpy as np
    >>> from mml.activations import squared_relu
    >>> print(np.asarray(squared_relu(np.array([-2.0, 0.5, 3.0], "float32"))))
    [0.   0.25 9.  ]

    Reference:
        So et al., "Primer: Searching for Efficient Transformers for Language Modeling", 2021, arXiv:2109.08668,
        section 3.
    """
    return ops.square(ops.relu(x))
