import keras
from keras import activations, constraints, initializers, ops, regularizers

from mml.layers.dense_mml import DenseMML
from mml.ops import linear_recurrence
from mml.validation import divides, positive_integer


@keras.saving.register_keras_serializable(package="mml")
class GRUMML(keras.layers.Layer):
    """Matmul-free gated linear recurrence over a sequence, the token mixer of a block (MLGRU).

    With forget gate `f`, candidate `c` and output gate `g`, all from the input alone:

    `h_t = f_t * h_(t-1) + (1 - f_t) * c_t`, `y_t = (g_t * h_t) @ W_o + b_o`.

    Since no gate sees the state, each projection runs once over the whole sequence, and only the
    element-wise recurrence of `mml.ops.linear_recurrence` is left to go from token to token.

    Args:
        units: Size of the state and of the output.
        fully_mml: Whether output gate and output projection are ternary too; otherwise they are `Dense`.
        num_heads: Groups that the state is viewed in. The recurrence is element-wise, so the number does not
            change the result; it has to divide `units`.
        activation: Name or function applied to the candidate.
        recurrent_activation: Name or function applied to the gates.
        use_bias: Whether the projections add a bias.
        weights_initializer, bias_initializer: Initial values of the projections.
        weights_regularizer, bias_regularizer: Penalties.
        weights_constraint, bias_constraint: Projections applied after an update.
        return_sequences: Whether the output holds every step, or the last one only.

    Call arguments:
        inputs: Float tensor `[batch, time, features]`.

    Returns:
        Float tensor `[batch, time, units]`, or `[batch, units]` without `return_sequences`.

    Raises:
        ValueError: If `units` or `num_heads` is not a positive integer, or if `num_heads` does not divide `units`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import GRUMML
    >>> GRUMML(8, fully_mml=True)(np.ones((2, 5, 6), "float32")).shape
    (2, 5, 8)

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.3.1.
    """

    def __init__(
        self,
        units,
        fully_mml=False,
        num_heads=1,
        activation="silu",
        recurrent_activation="sigmoid",
        use_bias=True,
        weights_initializer="glorot_uniform",
        bias_initializer="zeros",
        weights_regularizer=None,
        bias_regularizer=None,
        weights_constraint=None,
        bias_constraint=None,
        return_sequences=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # === Config ===
        self.units = positive_integer("units", units)
        self.fully_mml = fully_mml
        self.num_heads = positive_integer("num_heads", num_heads)
        divides("num_heads", self.num_heads, "units", self.units)
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.use_bias = use_bias
        self.weights_initializer = initializers.get(weights_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.weights_regularizer = regularizers.get(weights_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.weights_constraint = constraints.get(weights_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.return_sequences = return_sequences
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, input_shape):
        batch, time, features = input_shape
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: features})
        if self.fully_mml:
            self.gates = self._projection(DenseMML, 3 * self.units, "gates")  # forget, candidate, output
        else:
            self.gates = self._projection(DenseMML, 2 * self.units, "gates")  # forget, candidate
            self.output_gate = self._projection(keras.layers.Dense, self.units, "output_gate")
            self.output_gate.build(input_shape)
        self.gates.build(input_shape)
        self.output_projection = self._projection(
            DenseMML if self.fully_mml else keras.layers.Dense, self.units, "output_projection"
        )
        self.output_projection.build((batch, time, self.units))

    def _projection(self, layer_class, units, name):
        # The gain is one a feature, so the layer takes sequences of any length.
        kwargs = {"per_feature_gain": True} if layer_class is DenseMML else {}
        return layer_class(
            units,
            use_bias=self.use_bias,
            kernel_initializer=self.weights_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            kernel_regularizer=self.weights_regularizer,
            bias_regularizer=self.bias_regularizer,
            kernel_constraint=self.weights_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def call(self, inputs):
        if self.fully_mml:
            forget, candidate, output_gate = ops.split(self.gates(inputs), 3, axis=-1)  # [B, T, units] each
            output_gate = self.recurrent_activation(output_gate)
        else:
            forget, candidate = ops.split(self.gates(inputs), 2, axis=-1)
            output_gate = self.recurrent_activation(self.output_gate(inputs))

        states = linear_recurrence(self.recurrent_activation(forget), self.activation(candidate))  # [B, T, units]
        if not self.return_sequences:
            states, output_gate = states[:, -1], output_gate[:, -1]  # [B, units]
        return self.output_projection(output_gate * states)

    def compute_output_shape(self, input_shape):
        batch, time, _ = input_shape
        return (batch, time, self.units) if self.return_sequences else (batch, self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "fully_mml": self.fully_mml,
            "num_heads": self.num_heads,
            "activation": activations.serialize(self.activation),
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "use_bias": self.use_bias,
            "weights_initializer": initializers.serialize(self.weights_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "weights_regularizer": regularizers.serialize(self.weights_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "weights_constraint": constraints.serialize(self.weights_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "return_sequences": self.return_sequences,
        }
