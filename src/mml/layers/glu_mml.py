import math

import keras
from keras import activations, ops

from mml.layers.dense_mml import DenseMML
from mml.layers.rms_norm import gain_shape
from mml.layers.ternary_layer import TernaryLayer
from mml.validation import positive_integer


@keras.saving.register_keras_serializable(package="mml")
class GLUMML(TernaryLayer):
    """Gated linear unit made of ternary products, the feed-forward network of a block.

    `y = down(activation(gate(x)) * up(x))`, where gate and up share one product. `SwiGLUMML`, `GeGLUMML`,
    `ReGLUMML`, `SeGLUMML`, and `BilinearMML` provide the usual choices of activation.

    Args:
        units: Size of the output's last axis.
        hidden_ratio: Sets the number of hidden features if `intermediate_size` is None. The number is then the
            smallest positive multiple of 256 that is at least `2 * hidden_ratio * features // 3`.
        intermediate_size: Number of hidden features, between the two products.
        activation: Name or function applied to the gate.
        per_feature_gain: Whether the first norm's gain has one value per feature (see `RMSNorm`). The gain of the
            second norm, between the products, always does.
        quantization: State of the ternary products (see `DenseMML`).

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: If a size is not a positive integer.

    Example:

    >>> import numpy as np
    >>> from mml.layers import GLUMML
    >>> layer = GLUMML(8, intermediate_size=16)
    >>> layer(np.ones((2, 5, 8), "float32")).shape
    (2, 5, 8)

    Reference:
        Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202, equations 5 and 6; Zhu et al.,
        "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.3.2.
    """

    def __init__(
        self,
        units,
        hidden_ratio=4,
        intermediate_size=None,
        activation="sigmoid",
        per_feature_gain=False,
        quantization="ternary",
        **kwargs,
    ):
        super().__init__(quantization, **kwargs)
        # === Config ===
        self.units = positive_integer("units", units)
        self.hidden_ratio = positive_integer("hidden_ratio", hidden_ratio)
        self.intermediate_size = intermediate_size
        if intermediate_size is not None:
            self.intermediate_size = positive_integer("intermediate_size", intermediate_size)
        self.activation = activations.get(activation)
        self.per_feature_gain = per_feature_gain
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape):
        gain_shape(input_shape, self.per_feature_gain)
        two_thirds = input_shape[-1] * self.hidden_ratio * 2 // 3
        width = self.intermediate_size or 256 * max(1, math.ceil(two_thirds / 256))
        shared = {"quantization": self.quantization, "dtype": self.dtype_policy, "trainable": self.trainable}
        self.gate_and_up = DenseMML(2 * width, per_feature_gain=self.per_feature_gain, name="gate_and_up", **shared)
        self.gate_and_up.build(input_shape)
        # This norm always has one gain per feature, as in keras-matmulless, whose weights therefore fit here.
        self.down = DenseMML(self.units, per_feature_gain=True, name="down", **shared)
        self.down.build((*input_shape[:-1], width))

    def call(self, inputs):
        gate, up = ops.split(self.gate_and_up(inputs), 2, axis=-1)  # [..., width] each
        return self.down(self.activation(gate) * up)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "hidden_ratio": self.hidden_ratio,
            "intermediate_size": self.intermediate_size,
            "activation": activations.serialize(self.activation),
            "per_feature_gain": self.per_feature_gain,
        }
