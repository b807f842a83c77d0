import keras
from keras import initializers, ops

from mml.layers.gru_mml import GRUMML
from mml.layers.ternary_layer import TernaryLayer
from mml.validation import grid_of_tokens, mask_of_steps, one_of, positive_integer

DIRECTIONS = ("right", "left", "down", "up")


@keras.saving.register_keras_serializable(package="mml")
class GridScanMML(TernaryLayer):
    """Token mixer for images: a fully ternary `GRUMML` that visits a grid of tokens in one of four directions.

    Each scan visits all tokens, without a reset at the end of a line. `"right"` goes through the rows from the first
    token to the last, and `"left"` goes the same way back. `"down"` goes through the columns, and `"up"` goes the
    same way back. The outputs are always in raster order. When blocks alternate between opposite directions, such
    as `"right"` and `"left"`, each token sees the whole image.

    Args:
        units: Size of the state and of the output.
        grid: Rows and columns of tokens in an image. Tokens are in raster order.
        direction: `"right"`, `"left"`, `"down"`, or `"up"`.
        forget_bias_initializer: Initial values of the forget gates' biases (see `GRUMML`).
        quantization: State of the ternary products (see `DenseMML`).

    Call arguments:
        inputs: Float tensor `[batch, rows * columns, features]`.
        mask: Boolean tensor `[batch, rows * columns]`. False marks the tokens to skip (see `GRUMML`).

    Returns:
        Float tensor `[batch, rows * columns, units]`.

    Raises:
        ValueError: If `units` is not a positive integer, if `grid` is not a pair of positive integers, if `direction`
            is not one of the four, if the number of tokens does not match `grid`, or if `mask` has the wrong shape.

    Example:

    >>> import numpy as np
    >>> from mml.layers import GridScanMML
    >>> GridScanMML(8, grid=(2, 3), direction="up")(np.ones((1, 6, 4), "float32")).shape
    (1, 6, 8)

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.3.1; for the
        directions, Liu et al., "VMamba", 2024, arXiv:2401.10166, section 4.2.
    """

    def __init__(
        self, units, grid, direction="right", forget_bias_initializer=None, quantization="ternary", **kwargs
    ):
        super().__init__(quantization, **kwargs)
        # === Config ===
        self.units = positive_integer("units", units)
        self.grid = grid_of_tokens("grid", grid)
        self.direction = one_of("direction", direction, DIRECTIONS)
        self.forget_bias_initializer = initializers.get(forget_bias_initializer)
        rows, columns = self.grid
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={1: rows * columns})

    def build(self, input_shape):
        self.recurrence = GRUMML(
            self.units,
            fully_mml=True,
            return_sequences=True,
            go_backwards=self.direction in ("left", "up"),
            forget_bias_initializer=self.forget_bias_initializer,
            quantization=self.quantization,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name="recurrence",
        )
        self.recurrence.build(input_shape)

    def call(self, inputs, mask=None):
        rows, columns = self.grid
        by_columns = self.direction in ("down", "up")
        x = _transposed(inputs, rows, columns) if by_columns else inputs  # [B, N, D], in scan order
        if mask is not None:
            mask_of_steps(mask, *inputs.shape[:2])
            mask = _transposed(mask[..., None], rows, columns)[..., 0] if by_columns else mask
        x = self.recurrence(x, mask=mask)  # [B, N, units]
        if self.recurrence.go_backwards:
            x = ops.flip(x, axis=1)
        return _transposed(x, columns, rows) if by_columns else x

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "grid": self.grid,
            "direction": self.direction,
            "forget_bias_initializer": initializers.serialize(self.forget_bias_initializer),
        }


def _transposed(x, rows, columns):
    """Reorder tokens from row order to column order."""
    x = ops.reshape(x, (-1, rows, columns, x.shape[-1]))  # [B, rows, columns, D]
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, rows * columns, x.shape[-1]))  # [B, N, D]
