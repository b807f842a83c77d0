import keras
from keras import activations, constraints, initializers, ops, regularizers

from mml.layers.rms_norm import RMSNorm
from mml.ops import absmean_ternarize, bit_linear, ternary_linear
from mml.validation import positive_integer


@keras.saving.register_keras_serializable(package="mml")
class DenseMML(keras.layers.Layer):
    """Dense layer whose product needs additions and subtractions only (BitLinear).

    The input is normalised (`RMSNorm`) and rounded to 8-bit integers, the kernel is rounded to -1, 0 and 1, and
    their product, exact in integers, is scaled back: `y = activation(x_quantized @ w_ternary * scales + bias)`.
    The kernel variable itself stays a float matrix. It is rounded anew in each forward pass, so that training
    can go on at any time; gradients reach it, and the input, by the straight-through estimator.

    Args:
        units: Size of the output's last axis.
        activation: Name or function applied to the output. None by default.
        use_bias: Whether a bias is added.
        kernel_initializer, bias_initializer: Initial values.
        kernel_regularizer, bias_regularizer, activity_regularizer: Penalties.
        kernel_constraint, bias_constraint: Projections applied after an update.
        per_feature_gain: Whether the norm's gain has one value a feature, see `RMSNorm`.

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: If `units` is not a positive integer.

    Example:

    >>> import numpy as np
    >>> from mml.layers import DenseMML
    >>> layer = DenseMML(4)
    >>> layer(np.ones((2, 3), "float32")).shape
    (2, 4)
    >>> [(w.name, w.shape) for w in layer.weights]
    [('kernel', (3, 4)), ('bias', (4,)), ('gain', (3,))]

    Reference:
        Ma et al., "The Era of 1-bit LLMs", 2024, arXiv:2402.17764, section 2; Zhu et al., "Scalable
        MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.2.
    """

    def __init__(
        self,
        units,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        per_feature_gain=False,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        # === Config ===
        self.units = positive_integer("units", units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.per_feature_gain = per_feature_gain
        self.supports_masking = True

    def build(self, input_shape):
        features = input_shape[-1]
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: features})
        self.kernel = self.add_weight(
            name="kernel",
            shape=(features, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.norm = RMSNorm(per_feature_gain=self.per_feature_gain, dtype=self.dtype_policy, name="norm")
        self.norm.build(input_shape)

    def call(self, inputs):
        if self.kernel is not None:
            y = bit_linear(inputs, self.norm.gain, self.kernel)  # [..., units]
        else:
            w_scale = ops.cast(self.w_scale, inputs.dtype)
            y = ternary_linear(inputs, self.norm.gain, ops.convert_to_tensor(self.w_ternary), w_scale)
        if self.bias is not None:
            y = y + self.bias
        return self.activation(y)

    def ternary_kernel(self):
        """Round the kernel as a forward pass does.

        Returns:
            A pair of NumPy arrays `(w_ternary, w_scale)`: int8 `[units, features]` that holds -1, 0 and 1, and a
            float32 scalar.
        """
        if self.kernel is None:
            return ops.convert_to_numpy(self.w_ternary), ops.convert_to_numpy(self.w_scale)
        ternarize = absmean_ternarize
        if keras.backend.backend() == "jax":
            import jax  # only where it is the backend

            ternarize = jax.jit(ternarize)  # as `predict` runs it: in another order the sum may round otherwise
        w_ternary, w_scale = ternarize(ops.cast(self.kernel, self.compute_dtype))
        return ops.convert_to_numpy(w_ternary).astype("int8").T, ops.convert_to_numpy(w_scale).astype("float32")

    def set_ternary_kernel(self, w_ternary, w_scale):
        """Keep a ternary kernel in the place of the float one, for good: 8 bits a weight, and none to train.

        Args:
            w_ternary: Integer array `[units, features]` that holds -1, 0 and 1.
            w_scale: Float scalar.

        Raises:
            ValueError: If the shape is another.
        """
        shape = self.w_ternary.shape if self.kernel is None else self.kernel.shape[::-1]
        if tuple(w_ternary.shape) != tuple(shape):
            raise ValueError(
                f"`w_ternary` must have the shape [units, features] = {list(shape)}. "
                f"Received: w_ternary.shape={tuple(w_ternary.shape)}"
            )
        if self.kernel is not None:
            # The way of Keras's own layers when they are quantised.
            self._tracker.unlock()
            self._untrack_variable(self.kernel)
            self.kernel = None
            self.w_ternary: keras.Variable = self.add_weight(
                name="w_ternary", shape=shape, initializer="zeros", dtype="int8", trainable=False
            )
            self.w_scale = self.add_weight(name="w_scale", shape=(), initializer="ones", trainable=False)
            self._tracker.lock()
        self.w_ternary.assign(w_ternary)
        self.w_scale.assign(w_scale)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "per_feature_gain": self.per_feature_gain,
        }
