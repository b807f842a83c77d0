import keras

from mml.layers.random_layer import _RandomLayer


@keras.saving.register_keras_serializable(package="mml")
class RandomFlip(_RandomLayer, keras.layers.RandomFlip):
    """Keras's `RandomFlip`, off except in training, with a random state that is saved with the weights.

    Args:
        mode: `"horizontal"`, `"vertical"`, or `"horizontal_and_vertical"`.
        seed: Integer seed of the random state. By default, Keras draws one.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to `keras.config.image_data_format()`.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`, or one image `[height, width, channels]`.
        training: Whether to flip. Off by default.

    Returns:
        Image tensor of the same shape.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RandomFlip
    >>> RandomFlip("horizontal")(np.ones((2, 8, 8, 3), "float32"), training=True).shape
    (2, 8, 8, 3)
    """
