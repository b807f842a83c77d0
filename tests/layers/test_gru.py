import functools

import jax
import keras
import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle, draw_weights

from mml.layers import GRUMML


@pytest.mark.parametrize("fully_mml", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 6), (1, 1, 8), (2, 9, 4)])
def test_equals_the_formula(fully_mml, shape):
    assert_equals_oracle(
        GRUMML(8, fully_mml=fully_mml, return_sequences=True),
        functools.partial(oracle.gru, fully_mml=fully_mml),
        shape,
        count=1,
    )


@pytest.mark.parametrize("fully_mml", [True, False])
def test_activations_are_where_the_formula_has_them(fully_mml):
    chosen = {"fully_mml": fully_mml, "activation": "gelu", "recurrent_activation": "silu"}
    layer = GRUMML(8, return_sequences=True, **chosen)
    assert_equals_oracle(layer, functools.partial(oracle.gru, **chosen), (2, 5, 6), count=1)


def test_equals_the_formula_without_bias():
    def forward(x, gates, gates_gain, output, output_gain):
        return oracle.gru(x, gates, 0.0, gates_gain, output, 0.0, output_gain)

    layer = GRUMML(8, fully_mml=True, use_bias=False, return_sequences=True)
    assert_equals_oracle(layer, forward, (2, 5, 6), count=1)


@pytest.mark.parametrize("fully_mml", [True, False])
def test_by_default_only_the_last_step_is_returned(fully_mml):
    assert_equals_oracle(
        GRUMML(8, fully_mml=fully_mml),
        lambda *a: oracle.gru(*a, fully_mml=fully_mml)[:, -1],
        (2, 5, 6),
        count=1,
    )


MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0]], "bool")


def with_weights(layer, features=6, seed=0):
    layer.build((None, None, features))
    layer.set_weights(draw_weights(layer, np.random.default_rng(seed)))
    return layer


def masked_by_the_formula(x, mask, weights, fully_mml):
    """Each sequence without its masked steps; a masked step repeats the output before it, or is 0."""
    outputs = np.zeros((*x.shape[:2], 8))
    for row, (sequence, kept) in enumerate(zip(x, mask, strict=True)):
        if kept.any():
            of_kept = oracle.gru(sequence[None, kept], *weights, fully_mml=fully_mml)[0].real
            seen = np.cumsum(kept)
            outputs[row, seen > 0] = of_kept[seen[seen > 0] - 1]
    return outputs


@pytest.mark.parametrize("fully_mml", [True, False])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_masked_steps_leave_the_recurrence_where_it_was(fully_mml, go_backwards):
    arguments = {"fully_mml": fully_mml, "go_backwards": go_backwards}
    layer = with_weights(GRUMML(8, return_sequences=True, **arguments))
    x = np.random.default_rng(1).normal(size=(5, 5, 6)).astype("float32")
    order = slice(None, None, -1 if go_backwards else 1)
    weights = [weight.astype("float64") for weight in layer.get_weights()]
    expected = masked_by_the_formula(x[:, order].astype("float64"), MASK[:, order], weights, fully_mml)
    np.testing.assert_allclose(layer(x, mask=MASK), expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(layer.compute_mask(x, MASK), MASK[:, order])

    last = with_weights(GRUMML(8, **arguments))
    np.testing.assert_allclose(last(x, mask=MASK), expected[:, -1], rtol=1e-4, atol=1e-5)
    assert last.compute_mask(x, MASK) is None


def test_what_masked_steps_hold_does_not_matter():
    layer = with_weights(GRUMML(8, fully_mml=True, return_sequences=True))
    x = np.random.default_rng(1).normal(size=(5, 5, 6)).astype("float32")
    changed = np.where(MASK[..., None], x, 1e6).astype("float32")
    np.testing.assert_array_equal(layer(x, mask=MASK), layer(changed, mask=MASK))


def test_a_mask_is_broadcast_and_may_be_nested_as_in_keras():
    layer = with_weights(GRUMML(8))
    x = np.random.default_rng(1).normal(size=(5, 5, 6)).astype("float32")
    one = MASK[1:2]
    expected = layer(x, mask=np.repeat(one, 5, axis=0))
    np.testing.assert_array_equal(layer(x, mask=one), expected)
    np.testing.assert_array_equal(layer(x, mask=[one]), expected)


def test_a_mask_goes_through_a_model_as_with_keras_gru():
    x = np.random.default_rng(1).normal(size=(5, 5, 6)).astype("float32")
    x[~MASK] = 0
    inputs = keras.Input((5, 6))
    masked = keras.layers.Masking()(inputs)
    layer = GRUMML(8, return_sequences=True)
    outputs = layer(masked)
    assert outputs._keras_mask is not None
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(outputs))
    each = np.asarray(layer(x, mask=MASK))
    expected = (each * MASK[..., None]).sum(axis=1) / MASK.sum(axis=1, keepdims=True).clip(1)
    rows = MASK.any(axis=1)  # how to average nothing is up to Keras
    np.testing.assert_allclose(model(x)[rows], expected[rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
def test_two_halves_with_the_state_handed_over_equal_the_whole(go_backwards, mask):
    layer = with_weights(
        GRUMML(8, fully_mml=True, return_sequences=True, return_state=True, go_backwards=go_backwards)
    )
    x = np.random.default_rng(1).normal(size=(5, 5, 6)).astype("float32")
    outputs, state = layer(x, mask=mask)
    halves = [slice(0, 2), slice(2, 5)]
    parts, handed = [], None
    for half in reversed(halves) if go_backwards else halves:
        part, handed = layer(x[:, half], initial_state=handed, mask=None if mask is None else mask[:, half])
        parts.append(np.asarray(part))
    if mask is None:
        np.testing.assert_allclose(np.concatenate(parts, axis=1), outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(handed, state, rtol=1e-5, atol=1e-6)


def test_going_backwards_is_going_through_the_reversed_sequence():
    forward = with_weights(GRUMML(8, return_sequences=True))
    backward = with_weights(GRUMML(8, return_sequences=True, go_backwards=True))
    x = np.random.default_rng(1).normal(size=(3, 5, 6)).astype("float32")
    np.testing.assert_array_equal(backward(x), forward(x[:, ::-1]))


def test_the_state_starts_where_it_is_told_and_is_returned():
    layer = with_weights(GRUMML(8, fully_mml=True, return_state=True))
    rng = np.random.default_rng(1)
    x, before = rng.normal(size=(3, 5, 6)).astype("float32"), rng.normal(size=(3, 8)).astype("float32")
    gates = oracle.dense(x.astype("float64"), *(w.astype("float64") for w in layer.get_weights()[:3])).real
    forget, candidate, _ = np.split(gates, 3, axis=-1)
    states = oracle.linear_recurrence(oracle.sigmoid(forget), candidate * oracle.sigmoid(candidate), before)
    for initial_state in (before, [before]):
        output, state = layer(x, initial_state=initial_state)
        assert output.shape == state.shape == (3, 8)
        np.testing.assert_allclose(state, states[:, -1], rtol=1e-4, atol=1e-5)


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"`initial_state` must have the shape .*\(3, 7\)"):
        GRUMML(8)(np.zeros((3, 5, 6), "float32"), initial_state=np.zeros((3, 7), "float32"))


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 1), (5,)])
def test_a_mask_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"`mask` must have the shape \[batch, steps\] = \[3, 5\]. Received"):
        GRUMML(8)(np.zeros((3, 5, 6), "float32"), mask=np.ones(shape, "bool"))


@pytest.mark.parametrize("name", ["initial_state", "mask"])
def test_two_states_or_masks_are_refused(name):
    message = f"`{name}` must be a tensor or a list of one tensor. Received: a list of length 2"
    with pytest.raises(ValueError, match=message):
        GRUMML(8)(np.zeros((3, 5, 6), "float32"), **{name: [np.zeros((3, 8), "float32")] * 2})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_masks_and_states_keep_the_dtype(dtype):
    layer = GRUMML(8, return_sequences=True, return_state=True, dtype=f"mixed_{dtype}")
    x = np.random.default_rng(1).normal(size=(5, 5, 6)).astype("float32")
    outputs, state = layer(x, initial_state=np.zeros((5, 8), "float32"), mask=MASK)
    for tensor in (outputs, state):
        assert keras.backend.standardize_dtype(tensor.dtype) == dtype
        assert np.all(np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))))


@pytest.mark.filterwarnings("ignore:Layer 'bidirectional'")  # Keras 3.16 says so of keras.layers.GRU, too
def test_masked_sequences_of_any_length_in_a_compiled_model():
    words = keras.Input((None,), dtype="int32")
    vectors = keras.layers.Embedding(20, 6, mask_zero=True)(words)
    model = keras.Model(words, keras.layers.Bidirectional(GRUMML(8, fully_mml=True))(vectors))
    expected = model.predict(np.array([[5, 17, 4]]), verbose=0)
    for padded in ([[5, 17, 4, 0, 0]], [[0, 5, 17, 4]], [[5, 0, 17, 4, 0, 0, 0]]):
        np.testing.assert_allclose(model.predict(np.array(padded), verbose=0), expected, rtol=1e-4, atol=1e-5)
    model.compile("adam", "mse")
    loss = model.fit(np.array(padded), np.ones((1, 16)), verbose=0).history["loss"]
    assert np.isfinite(loss).all() and all(np.isfinite(weight).all() for weight in model.get_weights())


def test_an_encoder_hands_its_state_to_a_decoder_in_a_saved_model(tmp_path):
    source, target = keras.Input((None, 6)), keras.Input((None, 4))
    _, state = GRUMML(8, return_state=True)(source)
    decoded = GRUMML(8, return_sequences=True)(target, initial_state=state)
    model = keras.Model([source, target], decoded)
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=shape).astype("float32") for shape in ((3, 5, 6), (3, 2, 4))]
    expected = np.asarray(model(inputs))
    assert expected.shape == (3, 2, 8)
    assert np.any(np.asarray(model([inputs[0][:, :1], inputs[1]])) != expected), "the state matters"
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(inputs), expected)


def test_keras_runs_it_in_both_directions():
    x = np.random.default_rng(1).normal(size=(3, 5, 6)).astype("float32")
    both = keras.layers.Bidirectional(GRUMML(8, return_sequences=True))
    output = np.asarray(both(x))
    np.testing.assert_array_equal(output[..., :8], both.forward_layer(x))
    np.testing.assert_array_equal(output[..., 8:], np.asarray(both.backward_layer(x))[:, ::-1])


@pytest.mark.parametrize("fully_mml", [True, False])
def test_the_number_of_heads_does_not_change_the_result(fully_mml):
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    one, four = GRUMML(8, fully_mml=fully_mml), GRUMML(8, fully_mml=fully_mml, num_heads=4)
    one.build(x.shape)
    four.build(x.shape)
    four.set_weights(one.get_weights())
    np.testing.assert_array_equal(one(x), four(x))


def test_weights_are_those_of_the_gates_then_of_the_output():
    ternary, mixed = GRUMML(8, fully_mml=True), GRUMML(8)
    for layer in (ternary, mixed):
        layer.build((None, 5, 6))
    assert [(w.name, w.shape) for w in ternary.weights] == [
        ("kernel", (6, 24)),
        ("bias", (24,)),
        ("gain", (6,)),
        ("kernel", (8, 8)),
        ("bias", (8,)),
        ("gain", (8,)),
    ]
    assert [(w.name, w.shape) for w in mixed.weights] == [
        ("kernel", (6, 16)),
        ("bias", (16,)),
        ("gain", (6,)),
        ("kernel", (6, 8)),
        ("bias", (8,)),
        ("kernel", (8, 8)),
        ("bias", (8,)),
    ]


def test_a_token_depends_on_no_later_one():
    x = np.random.default_rng(0).normal(size=(2, 9, 6)).astype("float32")
    layer = GRUMML(8, fully_mml=True, return_sequences=True)
    np.testing.assert_allclose(layer(x)[:, :5], layer(x[:, :5]), rtol=1e-5, atol=1e-6)


def test_any_length_is_taken():
    layer = GRUMML(8, fully_mml=True, return_sequences=True)
    layer.build((None, None, 6))
    for length in (1, 4, 7):
        assert layer(np.ones((2, length, 6), "float32")).shape == (2, length, 8)


reads_jax_programs = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="reads the program that JAX makes of the layer"
)


def primitives_inside_loops(jaxpr, inside=False):
    for equation in jaxpr.eqns:
        if inside:
            yield equation.primitive.name
        loop = inside or equation.primitive.name in ("scan", "while")
        for parameter in jax.tree.leaves(
            equation.params, is_leaf=lambda p: hasattr(p, "jaxpr") or hasattr(p, "eqns")
        ):
            if hasattr(parameter, "jaxpr") or hasattr(parameter, "eqns"):
                yield from primitives_inside_loops(getattr(parameter, "jaxpr", parameter), loop)


@reads_jax_programs
@pytest.mark.parametrize("fully_mml", [True, False])
def test_no_product_is_inside_the_recurrence(fully_mml):
    layer = GRUMML(8, fully_mml=fully_mml)
    layer.build((None, 5, 6))
    found = list(primitives_inside_loops(jax.make_jaxpr(layer)(np.ones((2, 5, 6), "float32")).jaxpr))
    assert "mul" in found  # the recurrence was seen
    assert "dot_general" not in found


@reads_jax_programs
def test_the_search_for_products_inside_loops_finds_one():
    def stepped(x):
        return jax.lax.scan(lambda state, row: (state @ x, row), x, x)

    assert "dot_general" in list(primitives_inside_loops(jax.make_jaxpr(stepped)(np.eye(3)).jaxpr))


def test_initial_values_penalties_and_projections_are_used():
    layer = GRUMML(
        8,
        weights_initializer=keras.initializers.Constant(2),
        bias_initializer="ones",
        weights_regularizer="l2",
        bias_regularizer="l1",
        weights_constraint="non_neg",
        bias_constraint="unit_norm",
    )
    layer.build((None, 5, 6))
    assert {weight.name: set(np.unique(weight)) for weight in layer.weights} == {
        "kernel": {2},
        "bias": {1},
        "gain": {1},
    }
    penalties = [0.01 * 2**2 * n for n in (96, 48, 64)] + [0.01 * n for n in (16, 8, 8)]
    np.testing.assert_allclose(np.sort(layer.losses), np.sort(penalties), rtol=1e-5)
    constraints = [type(weight.constraint).__name__ for weight in layer.weights if weight.name != "gain"]
    assert constraints == ["NonNeg", "UnitNorm"] * 3


@pytest.mark.parametrize("fully_mml, gates", [(True, 3), (False, 2)])
def test_forget_biases_start_where_they_are_told_and_nothing_else_does(fully_mml, gates):
    layer = GRUMML(
        4,
        fully_mml=fully_mml,
        bias_initializer="ones",
        forget_bias_initializer=keras.initializers.Constant([2, 3, 4, 5]),
    )
    layer.build((None, 5, 6))
    first, *others = (weight for weight in layer.weights if weight.name == "bias")
    np.testing.assert_array_equal(first, [2, 3, 4, 5] + [1] * 4 * (gates - 1))
    assert all(np.array_equal(bias, np.ones(4)) for bias in others) and len(others) == 4 - gates


def test_a_large_forget_bias_keeps_the_state():
    x, state = np.ones((1, 5, 6), "float32"), np.full((1, 4), 7, "float32")
    layer = GRUMML(4, forget_bias_initializer=keras.initializers.Constant(1e3), return_state=True)
    np.testing.assert_array_equal(layer(x, initial_state=state)[1], state)


def test_forget_biases_need_biases():
    with pytest.raises(ValueError, match="`forget_bias_initializer` needs `use_bias=True`. Received: use_bias=False"):
        GRUMML(4, use_bias=False, forget_bias_initializer="ones")


@pytest.mark.parametrize("argument", ["units", "num_heads"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None, True])
def test_sizes_must_be_positive_integers(argument, value):
    with pytest.raises(ValueError, match=rf"{argument}.*{value}"):
        GRUMML(**{"units": 4, argument: value})


def test_heads_must_divide_the_units():
    with pytest.raises(ValueError, match=r"(?s)num_heads.*3"):
        GRUMML(8, num_heads=3)


@pytest.mark.parametrize("argument", ["activation", "recurrent_activation", "weights_initializer"])
def test_an_unknown_name_is_refused(argument):
    with pytest.raises(ValueError, match="no_such_thing"):
        GRUMML(8, **{argument: "no_such_thing"})


@pytest.mark.parametrize("shape", [(2, 6), (2, 5, 7), (2, 5, 6, 1)])
def test_an_input_of_another_shape_is_refused(shape):
    layer = GRUMML(8)
    layer.build((None, 5, 6))
    with pytest.raises(ValueError, match="shape"):
        layer(np.zeros(shape, "float32"))


def test_initializers_may_be_functions():
    def twos(shape, dtype=None):
        return keras.ops.full(shape, 2, dtype)

    layer = GRUMML(4, weights_initializer=twos, bias_initializer=twos)
    layer.build((None, 5, 3))
    for weight in layer.weights:
        np.testing.assert_array_equal(weight, 1 if weight.name == "gain" else 2)
