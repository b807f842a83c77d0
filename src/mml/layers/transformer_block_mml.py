import keras

from mml.layers.attention_mml import AttentionMML
from mml.layers.dropout import Dropout
from mml.layers.glu_variants import SwiGLUMML
from mml.layers.rms_norm import RMSNorm, gain_shape
from mml.layers.ternary_layer import TernaryLayer
from mml.validation import divides, positive_integer, share


@keras.saving.register_keras_serializable(package="mml")
class TransformerBlockMML(TernaryLayer):
    """Transformer block without matrix multiplications: it mixes tokens, then features.

    The block computes `x = norm(x + dropout(attention(x)))`, then `x = norm(x + dropout(ffn(x)))`. Here, `attention`
    is an `AttentionMML`, and `ffn` is a `SwiGLUMML`.

    Args:
        embedding_dim: Size of a token in the input and the output.
        ffn_dim: Number of hidden features in the feed-forward network.
        num_heads: Passed to `AttentionMML`. It must divide `embedding_dim`, and does not change the result.
        fully_mml: Whether every projection of the token mixer is ternary.
        rate: Dropout rate in `[0, 1]`.
        per_feature_gain: Whether all norms' gains have one value per feature (see `RMSNorm`). The block then takes
            sequences of any length. By default, the gains of its two outer norms and of the first norm in the
            feed-forward network have one value per position and feature.
        quantization: State of the ternary products (see `DenseMML`).

    Call arguments:
        inputs: Float tensor `[batch, tokens, embedding_dim]`.
        training: Whether dropout is on. Off by default.
        mask: Boolean tensor `[batch, tokens]`. False marks the tokens that the token mixer skips (see `GRUMML`).

    Returns:
        Float tensor `[batch, tokens, embedding_dim]`.

    Raises:
        ValueError: If a size is not a positive integer, if `num_heads` does not divide `embedding_dim`, or if the
            inputs' last axis is not `embedding_dim`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import TransformerBlockMML
    >>> block = TransformerBlockMML(embedding_dim=8, ffn_dim=16, num_heads=2)
    >>> block(np.ones((3, 5, 8), "float32")).shape
    (3, 5, 8)

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.3; Vaswani et
        al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 3.1.
    """

    def __init__(
        self,
        embedding_dim,
        ffn_dim,
        num_heads,
        fully_mml=True,
        rate=0.1,
        per_feature_gain=False,
        quantization="ternary",
        **kwargs,
    ):
        super().__init__(quantization, **kwargs)
        # === Config ===
        self.embedding_dim = positive_integer("embedding_dim", embedding_dim)
        self.ffn_dim = positive_integer("ffn_dim", ffn_dim)
        self.num_heads = positive_integer("num_heads", num_heads)
        divides("num_heads", self.num_heads, "embedding_dim", self.embedding_dim)
        self.fully_mml = fully_mml
        self.rate = share("rate", rate)
        self.per_feature_gain = per_feature_gain
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: self.embedding_dim})

    def build(self, input_shape):
        gain_shape(input_shape, self.per_feature_gain)
        shared = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.attention = AttentionMML(
            self.num_heads,
            self.embedding_dim,
            self.fully_mml,
            quantization=self.quantization,
            name="attention",
            **shared,
        )
        self.attention_dropout = Dropout(self.rate, name="attention_dropout", **shared)
        self.attention_norm = RMSNorm(per_feature_gain=self.per_feature_gain, name="attention_norm", **shared)
        self.ffn = SwiGLUMML(
            self.embedding_dim,
            intermediate_size=self.ffn_dim,
            per_feature_gain=self.per_feature_gain,
            quantization=self.quantization,
            name="ffn",
            **shared,
        )
        self.ffn_dropout = Dropout(self.rate, name="ffn_dropout", **shared)
        self.ffn_norm = RMSNorm(per_feature_gain=self.per_feature_gain, name="ffn_norm", **shared)
        for layer in (self.attention, self.attention_norm, self.ffn, self.ffn_norm):
            layer.build(input_shape)

    def call(self, inputs, training=False, mask=None):
        mixed = self.attention(inputs, mask=mask)
        x = self.attention_norm(inputs + self.attention_dropout(mixed, training=training))
        return self.ffn_norm(x + self.ffn_dropout(self.ffn(x), training=training))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "ffn_dim": self.ffn_dim,
            "num_heads": self.num_heads,
            "fully_mml": self.fully_mml,
            "rate": self.rate,
            "per_feature_gain": self.per_feature_gain,
        }
