import keras
from keras import activations, constraints, initializers, ops, regularizers

from mml.layers.dense_mml import DenseMML
from mml.layers.ternary_layer import TernaryLayer
from mml.ops import linear_recurrence
from mml.validation import divides, mask_of_steps, positive_integer


@keras.saving.register_keras_serializable(package="mml")
class GRUMML(TernaryLayer):
    """Gated linear recurrence over a sequence, the token mixer of a block (MLGRU).

    It is matmul-free with `fully_mml=True`.

    The forget gate `f`, the candidate `c`, and the output gate `o` depend only on the input. The state and the
    output are

    `h_t = f_t * h_(t-1) + (1 - f_t) * c_t`, `y_t = (o_t * h_t) @ W + b`.

    No gate sees the state, so each projection runs once over the whole sequence. Only the element-wise recurrence,
    `mml.ops.linear_recurrence`, runs from token to token.

    Masks, states, `return_sequences`, `return_state`, and `go_backwards` work as in `keras.layers.GRU`. A masked
    step leaves the state unchanged and repeats the output of the previous step. Before the first unmasked step, the
    output is 0. So a padded sequence gives the same result as the sequence without its padding.

    Args:
        units: Size of the state and of the output.
        fully_mml: Whether the output gate and the output projection are ternary too. If not, they are `Dense` layers.
            In `AttentionMML`, the default is True. Both defaults come from keras-matmulless.
        num_heads: Number of groups that the state is divided into. The recurrence is element-wise, so the number does
            not change the result. It must divide `units`.
        activation: Name or function applied to the candidate.
        recurrent_activation: Name or function applied to the gates.
        use_bias: Whether the projections add a bias.
        weights_initializer, bias_initializer: Initial values of the projections.
        forget_bias_initializer: Initial values of the forget gates' biases, `[units]`. Defaults to
            `bias_initializer`. A large bias lets the state remember for a long time.
        weights_regularizer, bias_regularizer: Penalties.
        weights_constraint, bias_constraint: Projections applied after an update.
        return_sequences: Whether to return the output of each step instead of only that of the last step.
        return_state: Whether to also return the last state.
        go_backwards: Whether to go through the sequence from its end. The outputs are then in that order too: the
            output for the last token comes first.
        quantization: State of the ternary products (see `DenseMML`).

    Call arguments:
        inputs: Float tensor `[batch, time, features]`.
        initial_state: Float tensor `[batch, units]`, or a list of one such tensor: the state before the first step.
            Zeros by default.
        mask: Boolean tensor `[batch, time]`, or a list of one such tensor. False marks the steps to skip. All
            steps count by default. Keras passes the mask of an embedding on by itself, but not if you also pass
            `initial_state`. Then pass the mask too.

    Returns:
        Float tensor `[batch, units]`, or `[batch, time, units]` with `return_sequences`. With `return_state`, a pair
        of that and the last state `[batch, units]`.

    Raises:
        ValueError: If `units` or `num_heads` is not a positive integer, if `num_heads` does not divide `units`, if
            `forget_bias_initializer` comes with `use_bias=False`, or if `initial_state` or `mask` has the wrong
            shape.

    Example:

    >>> import numpy as np
    >>> from mml.layers import GRUMML
    >>> x = np.ones((2, 5, 6), "float32")
    >>> GRUMML(8, fully_mml=True)(x).shape
    (2, 8)
    >>> outputs, state = GRUMML(8, return_sequences=True, return_state=True)(x)
    >>> outputs.shape, state.shape
    ((2, 5, 8), (2, 8))

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.3.1.
    """

    stateful = False  # read by `keras.layers.Bidirectional`

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
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        forget_bias_initializer=None,
        quantization="ternary",
        **kwargs,
    ):
        super().__init__(quantization, **kwargs)
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
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.forget_bias_initializer = initializers.get(forget_bias_initializer)
        if not use_bias and forget_bias_initializer is not None:
            raise ValueError("`forget_bias_initializer` needs `use_bias=True`. Received: use_bias=False")
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape, initial_state_shape=None):
        batch, time, features = inputs_shape
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: features})
        gates = 3 if self.fully_mml else 2  # forget, candidate, and output if it is ternary too
        gate_biases = None if self.forget_bias_initializer is None else self._gate_biases
        self.gates = self._projection(DenseMML, gates * self.units, "gates", gate_biases)
        if not self.fully_mml:
            self.output_gate = self._projection(keras.layers.Dense, self.units, "output_gate")
            self.output_gate.build(inputs_shape)
        self.gates.build(inputs_shape)
        self.output_projection = self._projection(
            DenseMML if self.fully_mml else keras.layers.Dense, self.units, "output_projection"
        )
        self.output_projection.build((batch, time, self.units))

    def _gate_biases(self, shape, dtype=None):
        """Initialize the forget gates' biases with their own initializer and the others with `bias_initializer`."""
        forget = self.forget_bias_initializer((self.units,), dtype)
        return ops.concatenate([forget, self.bias_initializer((shape[0] - self.units,), dtype)])

    def _projection(self, layer_class, units, name, bias_initializer=None):
        kwargs = {}
        if layer_class is DenseMML:
            # With one gain per feature, the layer takes sequences of any length.
            kwargs = {"per_feature_gain": True, "quantization": self.quantization}
        return layer_class(
            units,
            use_bias=self.use_bias,
            kernel_initializer=_clone(self.weights_initializer),
            bias_initializer=bias_initializer or _clone(self.bias_initializer),
            kernel_regularizer=self.weights_regularizer,
            bias_regularizer=self.bias_regularizer,
            kernel_constraint=self.weights_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name=name,
            **kwargs,
        )

    def call(self, inputs, initial_state=None, mask=None):
        initial_state, mask = _only("initial_state", initial_state), _only("mask", mask)
        if mask is not None:
            batch, time, _ = inputs.shape
            mask_of_steps(mask, batch, time, one_for_all=True)
        if self.go_backwards:
            inputs = ops.flip(inputs, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)

        if self.fully_mml:
            forget, candidate, output_gate = ops.split(self.gates(inputs), 3, axis=-1)  # [B, T, units] each
            output_gate = self.recurrent_activation(output_gate)
        else:
            forget, candidate = ops.split(self.gates(inputs), 2, axis=-1)
            output_gate = self.recurrent_activation(self.output_gate(inputs))
        forget, candidate = self.recurrent_activation(forget), self.activation(candidate)

        begun = None  # whether an unmasked step has come
        if mask is not None:
            # A mask may be broadcast. On TensorFlow, batch and time may be unknown here.
            everything = ops.ones_like(inputs[..., :1], "bool")  # [B, T, 1]
            mask = ops.logical_and(ops.cast(mask, "bool")[..., None], everything)
            forget, candidate = ops.where(mask, forget, 1), ops.where(mask, candidate, 0)
            # Carry the output gate of the latest unmasked step, by a recurrence that takes in all or nothing.
            output_gate = ops.where(mask, output_gate, 0)
            output_gate = linear_recurrence(ops.where(mask, ops.zeros_like(output_gate), 1), output_gate)
            begun = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0

        states = linear_recurrence(forget, candidate, initial_state)  # [B, T, units]
        last_state = states[:, -1] if self.return_state else None  # [B, units]
        if not self.return_sequences:
            states, output_gate = states[:, -1:], output_gate[:, -1:]  # [B, 1, units]
            begun = None if begun is None else begun[:, -1:]
        outputs = self.output_projection(output_gate * states)
        if begun is not None:
            outputs = ops.where(begun, outputs, 0)
        if not self.return_sequences:
            outputs = outputs[:, 0]
        return (outputs, last_state) if self.return_state else outputs

    def compute_mask(self, inputs, mask=None):
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        if not self.return_sequences:
            mask = None
        elif mask is not None and self.go_backwards:
            mask = ops.flip(mask, axis=1)  # like the outputs
        return [mask, None] if self.return_state else mask

    def compute_output_shape(self, inputs_shape, initial_state_shape=None):
        batch, time, _ = inputs_shape
        outputs = (batch, time, self.units) if self.return_sequences else (batch, self.units)
        return (outputs, (batch, self.units)) if self.return_state else outputs

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
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "forget_bias_initializer": initializers.serialize(self.forget_bias_initializer),
        }


def _clone(initializer):
    """Copy an initializer. Without a seed, each copy draws its own values. A plain function has no copies."""
    return initializer.clone() if isinstance(initializer, initializers.Initializer) else initializer


def _only(name, value):
    """Return a tensor, taken out of the list of one in which Keras may pass states and masks."""
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) != 1:
        raise ValueError(
            f"`{name}` must be a tensor or a list of one tensor. Received: a list of length {len(value)}"
        )
    return value[0]
