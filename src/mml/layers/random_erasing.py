import keras

from mml.layers.random_layer import _RandomLayer


@keras.saving.register_keras_serializable(package="mml")
class RandomErasing(_RandomLayer, keras.layers.RandomErasing):
    """Keras's `RandomErasing` (cutout), off except in training, with a random state that is saved with the weights.

    The erased patch lies within the image. With `scale=(s, s)`, it covers the fraction `s` of the image and has the
    image's proportions. With a 16-bit compute dtype, it may be a pixel smaller. As in Keras's layer, no patch begins
    in the first row or column.

    Args:
        factor: Range from which each image draws the probability that it is erased. As in Keras's layer, a number
            `p` stands for `(0, p)`. Pass `(1, 1)` to erase a patch of each image.
        scale: Range of the fraction of the image that is erased.
        fill_value: Value of the erased pixels; None for noise.
        value_range: Range of the pixel values. `fill_value` is clipped to it, and noise is scaled by its upper end.
        seed: Integer seed of the random state. By default, Keras draws one.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to `keras.config.image_data_format()`.

    Call arguments:
        inputs: Image tensor `[batch, height, width, channels]`, or one image `[height, width, channels]`.
        training: Whether to erase. Off by default.

    Returns:
        Image tensor of the same shape.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RandomErasing
    >>> erase = RandomErasing(factor=(1, 1), scale=(1 / 16, 1 / 16), fill_value=0)
    >>> print(float(np.mean(erase(np.ones((2, 8, 8, 3), "float32"), training=True))))
    0.9375

    Reference:
        DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017,
        arXiv:1708.04552, section 3; Zhong et al., "Random Erasing Data Augmentation", 2017, arXiv:1708.04896.
    """

    def get_config(self):
        return {**super().get_config(), "value_range": tuple(self.value_range)}
