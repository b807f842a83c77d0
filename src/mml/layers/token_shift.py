import keras
from keras import ops

from mml.validation import grid_of_tokens, mask_of_steps


@keras.saving.register_keras_serializable(package="mml")
class TokenShift(keras.layers.Layer):
    """Layer that lets each token see its four neighbors in the image, without weights or arithmetic.

    Each of the four neighbors (left, right, above, and below) provides an eighth of the features, rounded down. The
    rest, at least half of them, stay. Beyond the edges of the image there are zeros, and a masked token also gives
    its neighbors zeros.

    Args:
        grid: Rows and columns of tokens in an image. Tokens are in raster order.

    Call arguments:
        inputs: Float tensor `[batch, rows * columns, features]`.
        mask: Boolean tensor `[batch, rows * columns]`. False marks tokens that hold nothing.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: If `grid` is not a pair of positive integers, if the number of tokens does not match `grid`, or if
            `mask` has the wrong shape.

    Example:

    >>> import numpy as np
    >>> from mml.layers import TokenShift
    >>> tokens = np.repeat(np.array([[[1], [2], [3], [4]]], "float32"), 8, axis=-1)  # 1 2 over 3 4
    >>> print(np.asarray(TokenShift((2, 2))(tokens))[0, 0])
    [0. 2. 0. 3. 1. 1. 1. 1.]

    Reference:
        Duan et al., "Vision-RWKV", 2024, arXiv:2403.02308, section 3.2, equation 3 (Q-Shift).
    """

    def __init__(self, grid, **kwargs):
        super().__init__(**kwargs)
        # === Config ===
        self.grid = grid_of_tokens("grid", grid)
        rows, columns = self.grid
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={1: rows * columns})
        self.supports_masking = True

    def call(self, inputs, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floats only
        if mask is not None:
            mask_of_steps(mask, *inputs.shape[:2])
            inputs = ops.where(ops.cast(mask, "bool")[..., None], inputs, ops.zeros_like(inputs))
        features = inputs.shape[-1]
        share = features // 8
        x = ops.reshape(inputs, (-1, *self.grid, features))  # [B, rows, columns, D]
        left, right, above, below, same = ops.split(x, [share, 2 * share, 3 * share, 4 * share], axis=-1)
        nothing = (0, 0)
        x = ops.concatenate(
            [
                ops.pad(left[:, :, :-1], (nothing, nothing, (1, 0), nothing)),
                ops.pad(right[:, :, 1:], (nothing, nothing, (0, 1), nothing)),
                ops.pad(above[:, :-1], (nothing, (1, 0), nothing, nothing)),
                ops.pad(below[:, 1:], (nothing, (0, 1), nothing, nothing)),
                same,
            ],
            axis=-1,
        )
        return ops.reshape(x, (-1, *inputs.shape[1:]))  # [B, N, D]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "grid": self.grid}
