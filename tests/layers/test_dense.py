import keras
import numpy as np
import oracle
import pytest
from comparison import (
    assert_close,
    assert_equals_oracle,
    assert_ternary,
    draw_weights,
    forward_kernel,
    names_of,
    output_and_gradients,
    value_and_gradients,
)

from mml.activations import squared_relu
from mml.layers import DenseMML
from mml.ops import absmax_quantize, absmean_ternarize, rms_normalize, straight_through


@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 8), (2, 3, 2, 6)])
@pytest.mark.parametrize("per_feature_gain", [False, True])
def test_equals_the_formula(shape, per_feature_gain):
    layer = DenseMML(7, per_feature_gain=per_feature_gain)
    assert_equals_oracle(layer, oracle.dense, shape)
    assert layer(np.ones(shape, "float32")).shape == (*shape[:-1], 7)


@pytest.mark.parametrize("activation", sorted(oracle.ACTIVATIONS))
def test_activation_comes_last(activation):
    ours = {"squared_relu": squared_relu}  # Keras knows the others by name
    layer = DenseMML(7, activation=ours.get(activation, activation))
    assert_equals_oracle(layer, lambda *a: oracle.dense(*a, activation=activation), (3, 8), count=1)


def test_equals_the_formula_without_bias():
    layer = DenseMML(7, use_bias=False)
    assert_equals_oracle(layer, lambda x, kernel, gain: oracle.dense(x, kernel, 0.0, gain), (3, 8))
    assert [weight.name for weight in layer.weights] == ["kernel", "gain"]


def test_weights_are_kernel_bias_and_gain():
    layer = DenseMML(7)
    layer.build((None, 5, 8))
    assert [(weight.name, weight.shape) for weight in layer.weights] == [
        ("kernel", (8, 7)),
        ("bias", (7,)),
        ("gain", (5, 8)),
    ]


def test_the_product_uses_the_ternary_kernel():
    layer = DenseMML(7)
    layer.build((None, 5, 8))
    assert_ternary(layer)
    w_ternary, scale = oracle.absmean_ternarize(layer.get_weights()[0].astype("float64"))
    np.testing.assert_allclose(forward_kernel(layer), w_ternary * scale, rtol=1e-5, atol=1e-6)


def test_zeros_give_the_bias():
    layer = DenseMML(4, bias_initializer="ones")
    np.testing.assert_array_equal(layer(np.zeros((2, 3), "float32")), np.ones((2, 4)))


def test_initial_values_penalties_and_projections_are_used():
    layer = DenseMML(
        4,
        kernel_initializer=keras.initializers.Constant(2),
        bias_initializer="ones",
        kernel_regularizer="l2",
        bias_regularizer="l1",
        activity_regularizer="l1",
        kernel_constraint="non_neg",
        bias_constraint="unit_norm",
    )
    output = np.asarray(layer(np.ones((1, 3), "float32")))
    np.testing.assert_allclose(output, np.full((1, 4), 7), rtol=1e-6)  # 3 features times 2, and the bias
    np.testing.assert_allclose(np.sort(layer.losses), [0.01 * 4, 0.01 * 28, 0.01 * 12 * 2**2], rtol=1e-6)
    assert [type(w.constraint).__name__ for w in layer.weights[:2]] == ["NonNeg", "UnitNorm"]


@pytest.mark.parametrize("units", [0, -1, 2.5, "4", None, True])
def test_units_must_be_a_positive_integer(units):
    with pytest.raises(ValueError, match=rf"units.*{units}"):
        DenseMML(units)


@pytest.mark.parametrize("argument", ["activation", "kernel_initializer", "bias_regularizer", "kernel_constraint"])
def test_an_unknown_name_is_refused(argument):
    with pytest.raises(ValueError, match="no_such_thing"):
        DenseMML(4, **{argument: "no_such_thing"})


def test_a_gain_for_each_position_needs_the_length():
    with pytest.raises(ValueError, match="per_feature_gain"):
        DenseMML(4).build((None, None, 8))


def test_a_gain_for_each_feature_does_not():
    layer = DenseMML(4, per_feature_gain=True)
    layer(keras.Input((None, 8)))
    x = np.random.default_rng(0).normal(size=(2, 7, 8)).astype("float32")
    np.testing.assert_allclose(layer(x)[:, :3], layer(x[:, :3]), rtol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (2, 9)])
def test_an_input_of_another_size_is_refused(shape):
    layer = DenseMML(4)
    layer.build((None, 8))
    with pytest.raises(ValueError, match="dense_mml"):
        layer(np.zeros(shape, "float32"))


@pytest.mark.parametrize("shape, per_feature_gain", [((2, 5, 8), False), ((2, 5, 8), True), ((3, 40), True)], ids=str)
def test_equals_the_operations_that_its_gradient_was_written_out_from(shape, per_feature_gain):
    layer = DenseMML(6, per_feature_gain=per_feature_gain)
    layer.build(shape)
    upstream = np.random.default_rng(0).normal(size=(*shape[:-1], 6)).astype("float32")

    def draw(rng):
        return [rng.normal(size=shape).astype("float32"), *draw_weights(layer, rng)]

    ((x, kernel, bias, gain),) = oracle.away_from_boundaries(draw, oracle.dense, count=1)

    def composed(x, kernel, bias, gain):
        normalized = rms_normalize(x) * gain
        x_quantized, x_scale = absmax_quantize(normalized)
        w_ternary, w_scale = absmean_ternarize(kernel)
        product = straight_through(normalized / x_scale, x_quantized) @ straight_through(kernel, w_ternary)
        return product * (x_scale * w_scale) + bias

    expected, gradients = value_and_gradients(composed, [x, kernel, bias, gain], upstream)
    assert_close(
        output_and_gradients(layer)([kernel, bias, gain], x, upstream),
        [np.asarray(array) for array in (expected, *gradients)],
        names_of(layer),
    )


@pytest.mark.parametrize("entries", [[0.0], [1e-7], [2e9], [0, 0, 0, 3e-5], [0, 0, 0, -9e9]], ids=str)
def test_a_clipped_scale_is_a_constant_to_the_kernel(entries):
    # In [0, 0, 0, 3e-5] the scale is clipped, and yet one entry is rounded to 1: its part in the scale would show.
    kernel = np.resize(entries, (4, 4)).astype("float32")
    magnitude = np.abs(kernel.astype("float64")).mean()
    assert not 1e-5 < magnitude < 1e9
    layer = DenseMML(4, use_bias=False)
    layer.build((3, 4))
    x, upstream = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    _, _, gradient, _ = output_and_gradients(layer)([kernel, np.ones(4, "float32")], x, upstream)
    x_quantized, x_scale = oracle.absmax_quantize(oracle.rms_norm(x.astype("float64")))
    expected = (x_quantized * x_scale).T @ upstream * np.clip(magnitude, 1e-5, 1e9)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * np.max(np.abs(expected)))


def packed_of(layer, x_shape):
    """The packed layer for a ternary one, made from its kernel and its other weights."""
    packed = DenseMML.from_config({**layer.get_config(), "quantization": "packed"})
    packed.build(x_shape)
    packed.set_ternary_kernel(*layer.ternary_kernel())
    packed.bias.assign(layer.bias)
    packed.norm.gain.assign(layer.norm.gain)
    return packed


def test_a_packed_layer_gives_what_the_ternary_one_gives():
    layer = DenseMML(7, activation="silu")
    layer.build((3, 8))
    rng = np.random.default_rng(0)
    layer.set_weights(draw_weights(layer, rng))
    x = rng.standard_normal((3, 8)).astype("float32")
    w_ternary, w_scale = layer.ternary_kernel()
    by_oracle, scale = oracle.absmean_ternarize(np.asarray(layer.kernel, "float64"))
    assert w_ternary.dtype == np.int8 and np.array_equal(w_ternary, by_oracle.T)
    np.testing.assert_allclose(w_scale, scale, rtol=1e-6)

    packed = packed_of(layer, x.shape)
    assert [weight.name for weight in packed.weights] == ["bias", "w_ternary", "w_scale", "gain"]
    assert not {"w_ternary", "w_scale"} & {weight.name for weight in packed.trainable_weights}
    assert packed.w_ternary.dtype == "int8"
    np.testing.assert_allclose(packed(x), layer(x), rtol=1e-6, atol=1e-6)
    assert np.array_equal(packed.ternary_kernel()[0], w_ternary) and packed.ternary_kernel()[1] == w_scale


def test_a_float_layer_rounds_nothing():
    layer = DenseMML(7, quantization="float")
    assert_equals_oracle(
        layer, lambda x, kernel, bias, gain: oracle.rms_norm(x, gain) @ kernel + bias, (2, 5, 8), count=1
    )
    with pytest.raises(ValueError, match="must be ternary or packed .* Received: quantization='float'"):
        layer.ternary_kernel()


KERNEL = np.ones((7, 8), "int8")


@pytest.mark.parametrize(
    "w_ternary, w_scale, message",
    [
        (np.ones((8, 7), "int8"), 1.0, r"`w_ternary` must have the shape \[units, features\] = \[7, 8\]"),
        (2 * KERNEL, 1.0, "`w_ternary` must hold only -1, 0, and 1. Received: 2"),
        (0.5 * KERNEL, 1.0, "`w_ternary` must hold only -1, 0, and 1. Received: 0.5"),
        (KERNEL, -1.0, "`w_scale` must be a finite number above 0"),
        (KERNEL, 0.0, "`w_scale` must be a finite number above 0"),
        (KERNEL, np.nan, "`w_scale` must be a finite number above 0"),
        (KERNEL, np.inf, "`w_scale` must be a finite number above 0"),
        (KERNEL, np.ones(7), "`w_scale` must be a finite number above 0"),
    ],
)
def test_a_ternary_kernel_that_is_none_is_refused(w_ternary, w_scale, message):
    layer = DenseMML(7, quantization="packed")
    layer.build((None, 8))
    layer.set_ternary_kernel(-KERNEL, 0.5)
    with pytest.raises(ValueError, match=message):
        layer.set_ternary_kernel(w_ternary, w_scale)
    np.testing.assert_array_equal(layer.w_ternary, -KERNEL)
    assert float(layer.w_scale.value) == 0.5, "nothing has changed"


@pytest.mark.parametrize("quantization", ["float", "ternary"])
def test_only_a_packed_layer_takes_a_ternary_kernel(quantization):
    layer = DenseMML(7, quantization=quantization)
    layer.build((None, 8))
    with pytest.raises(ValueError, match=f"must be packed.*'{quantization}'"):
        layer.set_ternary_kernel(KERNEL, 1.0)


@pytest.mark.parametrize("quantization", ["int8", None, True, "Ternary", ["ternary"]])
def test_an_unknown_state_is_refused(quantization):
    with pytest.raises(ValueError, match="`quantization` must be 'float', 'ternary', or 'packed'. Received"):
        DenseMML(4, quantization=quantization)


@pytest.mark.parametrize("dtype, precision", [("float16", 2.0**-10), ("bfloat16", 2.0**-7)])
@pytest.mark.parametrize("quantization", ["ternary", "packed"])
def test_codes_do_not_depend_on_the_precision_of_the_inputs(dtype, precision, quantization):
    # With 300 features, a sum of 8-bit codes may leave the range of float16; small and zero rows have small scales.
    rng = np.random.default_rng(0)
    layer = DenseMML(7, use_bias=False, per_feature_gain=True)
    layer.build((None, 300))
    layer.set_weights([np.abs(rng.normal(size=(300, 7))), np.ones(300)])
    x = rng.normal(size=(6, 300)) * np.array([1, 1e-3, 1e-6, 1e-7, 0, 100])[:, None]
    x = np.abs(keras.ops.convert_to_numpy(keras.ops.cast(x, dtype)).astype("float32"))
    low = DenseMML.from_config({**layer.get_config(), "dtype": f"mixed_{dtype}", "quantization": quantization})
    low.build((None, 300))
    if quantization == "packed":
        low.set_ternary_kernel(*layer.ternary_kernel())
    else:
        low.set_weights(layer.get_weights())
    output = keras.ops.convert_to_numpy(keras.ops.cast(low(keras.ops.cast(x, dtype)), "float32"))
    expected = oracle.dense(
        x.astype("float64"),
        *(w.astype("float64") for w in (np.asarray(layer.get_weights()[0]), np.zeros(1), np.ones(1))),
    )
    np.testing.assert_allclose(output, expected, rtol=2 * precision, atol=2 * precision)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_kernels_and_rows_of_zeros_are_finite_in_low_precision(dtype):
    layer = DenseMML(3, kernel_initializer="zeros", dtype=dtype)
    output = keras.ops.convert_to_numpy(keras.ops.cast(layer(np.ones((2, 4))), "float32"))
    np.testing.assert_array_equal(output, np.zeros((2, 3)))
    output = keras.ops.convert_to_numpy(keras.ops.cast(DenseMML(3, dtype=dtype)(np.zeros((2, 4))), "float32"))
    np.testing.assert_array_equal(output, np.zeros((2, 3)))
