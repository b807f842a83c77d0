"""Keras's random layers, made to compile, to stay quiet outside training and to remember where they were.

Three things keep Keras's own layers from a training run that is fast and can be resumed exactly:

- `RandomRotation` and `RandomZoom` declare that they cannot be compiled, and one such layer makes Keras run the
  whole model operation by operation. On JAX they compile.
- The augmentation layers are on unless told `training=False`, so a model called directly answers differently
  each time.
- The state of the random generator is not saved with the weights, so a run that is resumed draws other numbers.
"""

import keras


class _RandomLayer:
    """Mixin for a random layer of Keras that has no weights."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if keras.backend.backend() == "jax":
            self.supports_jit = True

    def call(self, inputs, training=False):
        return super().call(inputs, training=training)

    def save_own_variables(self, store):
        for index, state in enumerate(self.variables):
            store[f"random_state_{index}"] = state

    def load_own_variables(self, store):
        # Weights saved from a layer of Keras hold no state; then the generator stays where it is.
        for index, state in enumerate(self.variables):
            if f"random_state_{index}" in store.keys():
                state.assign(store[f"random_state_{index}"])


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
class RandomRotation(_RandomLayer, keras.layers.RandomRotation):
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


@keras.saving.register_keras_serializable(package="mml")
class RandomZoom(_RandomLayer, keras.layers.RandomZoom):
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
