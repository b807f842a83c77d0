import functools

import jax
import keras
import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle

from mml.layers import GRUMML


@pytest.mark.parametrize("fully_mml", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 6), (1, 1, 8), (2, 9, 4)])
def test_equals_the_formula(fully_mml, shape):
    assert_equals_oracle(
        GRUMML(8, fully_mml=fully_mml), functools.partial(oracle.gru, fully_mml=fully_mml), shape, count=1
    )


@pytest.mark.parametrize("fully_mml", [True, False])
def test_activations_are_where_the_formula_has_them(fully_mml):
    chosen = {"fully_mml": fully_mml, "activation": "gelu", "recurrent_activation": "silu"}
    assert_equals_oracle(GRUMML(8, **chosen), functools.partial(oracle.gru, **chosen), (2, 5, 6), count=1)


def test_equals_the_formula_without_bias():
    def forward(x, gates, gates_gain, output, output_gain):
        return oracle.gru(x, gates, 0.0, gates_gain, output, 0.0, output_gain)

    assert_equals_oracle(GRUMML(8, fully_mml=True, use_bias=False), forward, (2, 5, 6), count=1)


@pytest.mark.parametrize("fully_mml", [True, False])
def test_without_sequences_the_last_step_is_left(fully_mml):
    assert_equals_oracle(
        GRUMML(8, fully_mml=fully_mml, return_sequences=False),
        lambda *a: oracle.gru(*a, fully_mml=fully_mml)[:, -1],
        (2, 5, 6),
        count=1,
    )


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
    layer = GRUMML(8, fully_mml=True)
    np.testing.assert_allclose(layer(x)[:, :5], layer(x[:, :5]), rtol=1e-5, atol=1e-6)


def test_any_length_is_taken():
    layer = GRUMML(8, fully_mml=True)
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
