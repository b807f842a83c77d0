import keras
from keras import initializers

from mml.layers.glu_variants import SwiGLUMML
from mml.layers.grid_scan_mml import DIRECTIONS, GridScanMML
from mml.layers.ternary_layer import TernaryLayer
from mml.layers.token_shift import TokenShift
from mml.validation import grid_of_tokens, one_of, positive_integer


@keras.saving.register_keras_serializable(package="mml")
class VisionBlockMML(TernaryLayer):
    """Block of a matmul-free vision model: it scans the image, then mixes features.

    The block computes `x = x + mixer(shift(x))`, then `x = x + ffn(shift(x))`. Here, `mixer` is a `GridScanMML`,
    `ffn` is a `SwiGLUMML`, and `shift` is a `TokenShift`. There are no norms around them, because each ternary layer
    normalizes its own input. So the block is pre-norm, and the sum passes through unchanged.

    Args:
        embedding_dim: Size of a token in the input and the output.
        ffn_dim: Number of hidden features in the feed-forward network.
        grid: Rows and columns of tokens in an image. Tokens are in raster order.
        direction: Direction of the scan (see `GridScanMML`).
        forget_bias_initializer: Initial values of the forget gates' biases (see `GRUMML`).
        quantization: State of the ternary products (see `DenseMML`).

    Call arguments:
        inputs: Float tensor `[batch, rows * columns, embedding_dim]`.
        mask: Boolean tensor `[batch, rows * columns]`. False marks tokens that hold nothing: the scan skips them,
            and their neighbors see zeros.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: If a size is not a positive integer, if `grid` is not a pair of positive integers, if
            `direction` is not one of the four, or if the inputs or `mask` have the wrong shape.

    Example:

    >>> import numpy as np
    >>> from mml.layers import VisionBlockMML
    >>> block = VisionBlockMML(embedding_dim=8, ffn_dim=16, grid=(2, 3), direction="down")
    >>> block(np.ones((1, 6, 8), "float32")).shape
    (1, 6, 8)

    Reference:
        Duan et al., "Vision-RWKV", 2024, arXiv:2403.02308, section 3.1; Xiong et al., "On Layer Normalization in the
        Transformer Architecture", 2020, arXiv:2002.04745, section 3, on pre-norm and post-norm.
    """

    def __init__(
        self,
        embedding_dim,
        ffn_dim,
        grid,
        direction="right",
        forget_bias_initializer=None,
        quantization="ternary",
        **kwargs,
    ):
        super().__init__(quantization, **kwargs)
        # === Config ===
        self.embedding_dim = positive_integer("embedding_dim", embedding_dim)
        self.ffn_dim = positive_integer("ffn_dim", ffn_dim)
        self.grid = grid_of_tokens("grid", grid)
        self.direction = one_of("direction", direction, DIRECTIONS)
        self.forget_bias_initializer = initializers.get(forget_bias_initializer)
        rows, columns = self.grid
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={1: rows * columns, -1: self.embedding_dim})

    def build(self, input_shape):
        self.shift = TokenShift(self.grid, dtype=self.dtype_policy, name="shift")
        self.mixer = GridScanMML(
            self.embedding_dim,
            self.grid,
            self.direction,
            self.forget_bias_initializer,
            quantization=self.quantization,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name="mixer",
        )
        self.ffn = SwiGLUMML(
            self.embedding_dim,
            intermediate_size=self.ffn_dim,
            per_feature_gain=True,
            quantization=self.quantization,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name="ffn",
        )
        for layer in (self.shift, self.mixer, self.ffn):
            layer.build(input_shape)

    def call(self, inputs, mask=None):
        x = inputs + self.mixer(self.shift(inputs, mask=mask), mask=mask)
        return x + self.ffn(self.shift(x, mask=mask))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "ffn_dim": self.ffn_dim,
            "grid": self.grid,
            "direction": self.direction,
            "forget_bias_initializer": initializers.serialize(self.forget_bias_initializer),
        }
