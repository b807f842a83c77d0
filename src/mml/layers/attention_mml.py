import keras

from mml.layers.gru_mml import GRUMML
from mml.layers.ternary_layer import TernaryLayer
from mml.validation import divides, positive_integer


@keras.saving.register_keras_serializable(package="mml")
class AttentionMML(TernaryLayer):
    """Token mixer that replaces self-attention: a `GRUMML` that returns the whole sequence.

    No token is compared with any other, so time and memory are proportional to the number of tokens instead of
    its square. Each token sees itself and the tokens before it.

    Args:
        num_heads: Number of groups that the state is divided into. It does not change the result (see `GRUMML`).
        out_dim: Size of the output's last axis.
        fully_mml: Whether every projection is ternary.
        quantization: State of the ternary products (see `DenseMML`).

    Call arguments:
        inputs: Float tensor `[batch, tokens, features]`.
        mask: Boolean tensor `[batch, tokens]`. False marks the tokens to skip (see `GRUMML`).

    Returns:
        Float tensor `[batch, tokens, out_dim]`.

    Raises:
        ValueError: If `num_heads` or `out_dim` is not a positive integer, or if `num_heads` does not divide
            `out_dim`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import AttentionMML
    >>> AttentionMML(num_heads=2, out_dim=8)(np.ones((3, 5, 8), "float32")).shape
    (3, 5, 8)

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.3.1.
    """

    def __init__(self, num_heads, out_dim, fully_mml=True, quantization="ternary", **kwargs):
        super().__init__(quantization, **kwargs)
        # === Config ===
        self.num_heads = positive_integer("num_heads", num_heads)
        self.out_dim = positive_integer("out_dim", out_dim)
        divides("num_heads", self.num_heads, "out_dim", self.out_dim)
        self.fully_mml = fully_mml
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, input_shape):
        self.recurrence = GRUMML(
            self.out_dim,
            self.fully_mml,
            self.num_heads,
            return_sequences=True,
            quantization=self.quantization,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name="recurrence",
        )
        self.recurrence.build(input_shape)

    def call(self, inputs, mask=None):
        return self.recurrence(inputs, mask=mask)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.out_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "out_dim": self.out_dim,
            "fully_mml": self.fully_mml,
        }
