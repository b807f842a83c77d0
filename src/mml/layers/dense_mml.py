import keras
import numpy as np
from keras import activations, constraints, initializers, ops, regularizers

from mml.layers.rms_norm import RMSNorm, gain_shape
from mml.layers.ternary_layer import TernaryLayer
from mml.ops import absmean_ternarize, bit_linear, ternary_linear
from mml.validation import positive_integer, ternary_values


@keras.saving.register_keras_serializable(package="mml")
class DenseMML(TernaryLayer):
    """Dense layer whose product needs only additions and subtractions (BitLinear).

    The layer normalizes its input (`RMSNorm`) and rounds it to 8-bit integers. It rounds the kernel to -1, 0,
    and 1, and scales the product of the two back: `y = activation(n_quantized @ w_ternary * scales + bias)`. The
    kernel variable remains a float matrix. Each forward pass rounds it again, so training can continue at any time.
    Gradients reach the kernel and the input through the straight-through estimator (see `mml.ops.bit_linear`).

    Args:
        units: Size of the output's last axis.
        activation: Name or function applied to the output. None by default.
        use_bias: Whether to add a bias.
        kernel_initializer, bias_initializer: Initial values.
        kernel_regularizer, bias_regularizer, activity_regularizer: Penalties.
        kernel_constraint, bias_constraint: Projections applied after an update.
        per_feature_gain: Whether the norm's gain has one value per feature. By default, it has one for each position
            and feature, so all dimensions except the batch must be known (see `RMSNorm`).
        quantization: `"ternary"`, `"float"` for the same layer without rounding, or `"packed"` for an int8 ternary
            kernel that cannot be trained.

    Call arguments:
        inputs: Float or integer tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: If `units` is not a positive integer, or if `quantization` is not one of the three states.
            When the layer is built, if the gain needs a dimension that is unknown.

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
        quantization="ternary",
        **kwargs,
    ):
        super().__init__(quantization, activity_regularizer=activity_regularizer, **kwargs)
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
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape):
        gain_shape(input_shape, self.per_feature_gain)
        features = input_shape[-1]
        if self.quantization == "packed":
            self._add_packed_kernel(features)
        else:
            # The forward pass rounds float32 values, regardless of the compute dtype.
            self.kernel = self.add_weight(
                name="kernel",
                shape=(features, self.units),
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
                autocast=False,
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
        self.norm = RMSNorm(
            per_feature_gain=self.per_feature_gain, dtype=self.dtype_policy, trainable=self.trainable, name="norm"
        )
        self.norm.build(input_shape)
        self.input_spec = self.norm.input_spec

    def _add_packed_kernel(self, features):
        self.w_ternary = self.add_weight(
            name="w_ternary", shape=(self.units, features), initializer="zeros", dtype="int8", trainable=False
        )
        dtype = "float64" if self.variable_dtype == "float64" else "float32"
        self.w_scale = self.add_weight(
            name="w_scale", shape=(), initializer="ones", dtype=dtype, trainable=False, autocast=False
        )

    def call(self, inputs):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floats only
        if self.quantization == "float":
            y = ops.matmul(self.norm(inputs), ops.cast(self.kernel, self.compute_dtype))  # [..., units]
        elif self.quantization == "ternary":
            y = bit_linear(inputs, self.norm.gain, self.kernel)
        else:
            y = ternary_linear(inputs, self.norm.gain, self.w_ternary, self.w_scale)
        if self.bias is not None:
            y = y + self.bias
        return self.activation(y)

    def ternary_kernel(self):
        """Return the kernel, rounded as in a forward pass.

        Returns:
            A pair of NumPy arrays `(w_ternary, w_scale)`: int8 `[units, features]` that holds -1, 0, and 1, and a
            float32 scalar (float64 for a float64 kernel).

        Raises:
            ValueError: If the layer is in the float state, where nothing is rounded.

        Example:

        >>> import numpy as np
        >>> from mml.layers import DenseMML
        >>> layer = DenseMML(1)
        >>> layer.build((None, 2))
        >>> layer.set_weights([np.array([[1.0], [-0.5]]), np.zeros(1), np.ones(2)])
        >>> layer.ternary_kernel()
        (array([[ 1, -1]], dtype=int8), array(0.75, dtype=float32))
        """
        if self.quantization == "float":
            raise ValueError(
                f"Layer {self.name} must be ternary or packed to have a ternary kernel. "
                f"Received: quantization={self.quantization!r}"
            )
        if self.quantization == "packed":
            return ops.convert_to_numpy(self.w_ternary), ops.convert_to_numpy(self.w_scale)
        ternarize = absmean_ternarize
        if keras.backend.backend() == "jax":
            import jax  # only if it is the backend

            ternarize = jax.jit(ternarize)  # as in `predict`; uncompiled, the sum may round differently
        w_ternary, w_scale = ternarize(self.kernel.value)
        return ops.convert_to_numpy(w_ternary).astype("int8").T, ops.convert_to_numpy(w_scale)

    def set_ternary_kernel(self, w_ternary, w_scale):
        """Set the kernel of a built, packed layer.

        Args:
            w_ternary: Array `[units, features]` of any number type that holds -1, 0, and 1.
            w_scale: Float scalar, finite and above 0 in the dtype of the layer's scale (float32 by default).

        Raises:
            ValueError: If the layer is not packed, if `w_ternary` has a different shape or holds other values, or if
                `w_scale` is not a finite number above 0.

        Example:

        >>> import numpy as np
        >>> from mml.layers import DenseMML
        >>> layer = DenseMML(1, quantization="packed")
        >>> layer.build((None, 2))
        >>> layer.set_ternary_kernel(np.array([[1, -1]], "int8"), 0.8)
        >>> print(np.asarray(layer(np.array([[3.0, -4.0]], "float32"))).round(3))
        [[1.582]]
        """
        if self.quantization != "packed":
            raise ValueError(
                f"Layer {self.name} must be packed to hold a ternary kernel. "
                f"Received: quantization={self.quantization!r}"
            )
        with np.errstate(over="ignore"):
            w_ternary, w_scale = np.asarray(w_ternary), np.asarray(w_scale).astype(self.w_scale.dtype)
        if w_ternary.shape != tuple(self.w_ternary.shape):
            raise ValueError(
                f"`w_ternary` must have the shape [units, features] = {list(self.w_ternary.shape)}. "
                f"Received: w_ternary.shape={w_ternary.shape}"
            )
        ternary_values("w_ternary", w_ternary)
        if w_scale.shape != () or not (np.isfinite(w_scale) and w_scale > 0):
            raise ValueError(f"`w_scale` must be a finite number above 0. Received: w_scale={w_scale!r}")
        self.w_ternary.assign(w_ternary.astype("int8"))
        self.w_scale.assign(w_scale)

    def quantize(self, mode, type_check=True, config=None):
        trained = self.ternary_kernel() if self.quantization == "ternary" else None
        super().quantize(mode, type_check, config)
        if trained:
            features, _ = self.kernel.shape
            del self.kernel
            self._add_packed_kernel(features)
            self.set_ternary_kernel(*trained)

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
