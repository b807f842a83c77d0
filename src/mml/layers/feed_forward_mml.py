import keras
from keras import activations

from mml.activations import squared_relu
from mml.layers.dense_mml import DenseMML
from mml.layers.ternary_layer import TernaryLayer
from mml.validation import positive_integer


@keras.saving.register_keras_serializable(package="mml")
class FeedForwardMML(TernaryLayer):
    """Feed-forward network of a block from two ternary products: `y = down(activation(up(x)))`.

    Args:
        units: Size of the output's last axis.
        intermediate_size: Width between the products.
        activation: Name or function applied between them. By default, `mml.activations.squared_relu`.
        quantization: State of the ternary products, see `DenseMML`.

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: If a size is not a positive integer.

    Example:

    >>> import numpy as np
    >>> from mml.layers import FeedForwardMML
    >>> FeedForwardMML(8, intermediate_size=16)(np.ones((2, 5, 8), "float32")).shape
    (2, 5, 8)

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 3.3; So et al., "Primer:
        Searching for Efficient Transformers for Language Modeling", 2021, arXiv:2109.08668, section 3.
    """

    def __init__(self, units, intermediate_size, activation=squared_relu, quantization="ternary", **kwargs):
        super().__init__(quantization, **kwargs)
        # === Config ===
        self.units = positive_integer("units", units)
        self.intermediate_size = positive_integer("intermediate_size", intermediate_size)
        self.activation = activations.get(activation)

    def build(self, input_shape):
        shared = {"per_feature_gain": True, "quantization": self.quantization, "dtype": self.dtype_policy}
        self.up = DenseMML(self.intermediate_size, activation=self.activation, name="up", **shared)
        self.up.build(input_shape)
        self.down = DenseMML(self.units, name="down", **shared)
        self.down.build((*input_shape[:-1], self.intermediate_size))

    def call(self, inputs):
        return self.down(self.up(inputs))  # [..., intermediate_size], then [..., units]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "intermediate_size": self.intermediate_size,
            "activation": activations.serialize(self.activation),
        }
