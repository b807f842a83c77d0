import keras
from keras import constraints, initializers, ops, regularizers

from mml.ops import rms_normalize
from mml.ops.hardware import at_least_float32


@keras.saving.register_keras_serializable(package="mml")
class RMSNorm(keras.layers.Layer):
    """Layer that divides each vector by its root mean square and scales it by a learned gain.

    `y = x / ||x|| * sqrt(features) * gain + bias`, over the last axis. The arithmetic uses float32, or float64
    for float64 inputs, and the result is cast to the compute dtype.

    Args:
        has_learnable_weights: Whether there is a gain (and, with `use_bias`, a bias).
        use_bias: Whether to add a learned bias.
        per_feature_gain: Whether the gain and the bias hold one value per feature, as in the paper, so that sequences
            may have any length. By default, they hold one value for each position and feature, and the length is
            fixed.
        gain_initializer, bias_initializer: Initial values.
        gain_regularizer, bias_regularizer: Penalties.
        gain_constraint, bias_constraint: Projections applied after an update.

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: When the layer is built, if the gain and the bias have a value for each position and a dimension
            other than the batch is unknown.

    Example:

    >>> import numpy as np
    >>> from mml.layers import RMSNorm
    >>> print(np.asarray(RMSNorm()(np.array([[3.0, 4.0]], "float32"))).round(3))
    [[0.849 1.131]]

    Reference:
        Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, arXiv:1910.07467, equation 4.
    """

    def __init__(
        self,
        has_learnable_weights=True,
        use_bias=False,
        gain_initializer="ones",
        bias_initializer="zeros",
        gain_regularizer=None,
        bias_regularizer=None,
        gain_constraint=None,
        bias_constraint=None,
        per_feature_gain=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # === Config ===
        self.has_learnable_weights = has_learnable_weights
        self.use_bias = use_bias
        self.gain_initializer = initializers.get(gain_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.gain_regularizer = regularizers.get(gain_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.gain_constraint = constraints.get(gain_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.per_feature_gain = per_feature_gain
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape):
        self.gain = self.bias = None
        features = input_shape[-1]
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: features})
        if self.has_learnable_weights:
            shape = gain_shape(input_shape, self.per_feature_gain)
            if not self.per_feature_gain:
                self.input_spec = keras.layers.InputSpec(shape=(None, *shape))
            self.gain = self.add_weight(
                name="gain",
                shape=shape,
                initializer=self.gain_initializer,
                regularizer=self.gain_regularizer,
                constraint=self.gain_constraint,
                autocast=False,
            )
            if self.use_bias:
                self.bias = self.add_weight(
                    name="bias",
                    shape=shape,
                    initializer=self.bias_initializer,
                    regularizer=self.bias_regularizer,
                    constraint=self.bias_constraint,
                    autocast=False,
                )

    def call(self, inputs):
        x = rms_normalize(at_least_float32(inputs))
        if self.gain is not None:
            x = x * at_least_float32(self.gain)
        if self.bias is not None:
            x = x + at_least_float32(self.bias)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "has_learnable_weights": self.has_learnable_weights,
            "use_bias": self.use_bias,
            "gain_initializer": initializers.serialize(self.gain_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "gain_regularizer": regularizers.serialize(self.gain_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "gain_constraint": constraints.serialize(self.gain_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "per_feature_gain": self.per_feature_gain,
        }


def gain_shape(input_shape, per_feature_gain):
    """Return the shape of the gain. Layers that hold an `RMSNorm` call it before they create any weight.

    Args:
        input_shape: Shape of the inputs, `[batch, ..., features]`.
        per_feature_gain: As for `RMSNorm`.

    Returns:
        A tuple of integers.

    Raises:
        ValueError: If a dimension of the gain is unknown.

    Example:

    >>> from mml.layers.rms_norm import gain_shape
    >>> gain_shape((None, 5, 8), per_feature_gain=False), gain_shape((None, None, 8), per_feature_gain=True)
    ((5, 8), (8,))
    """
    shape = tuple(input_shape[-1:] if per_feature_gain else input_shape[1:])
    if shape[-1] is None:
        raise ValueError(f"The number of features must be known. Received: input_shape={tuple(input_shape)}")
    if None in shape:
        raise ValueError(
            "RMSNorm with a gain for each position needs a known input shape. Pass `per_feature_gain=True` "
            f"for sequences of any length. Received: input_shape={tuple(input_shape)}"
        )
    return shape
