import keras
import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle, output_and_gradients, value_and_gradients

from mml.layers import RMSNorm
from mml.ops import rms_normalize


@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 8), (2, 3, 4, 6)])
@pytest.mark.parametrize("per_feature_gain", [False, True])
def test_equals_the_formula(shape, per_feature_gain):
    layer = RMSNorm(per_feature_gain=per_feature_gain)
    assert_equals_oracle(layer, oracle.rms_norm, shape)
    assert layer.gain.shape == (shape[-1:] if per_feature_gain else shape[1:])


def test_equals_the_formula_with_bias():
    assert_equals_oracle(RMSNorm(use_bias=True), oracle.rms_norm, (2, 5, 8))


def test_without_weights_vectors_have_root_mean_square_1():
    layer = RMSNorm(has_learnable_weights=False, use_bias=True)
    output = np.asarray(layer(np.random.default_rng(0).normal(size=(4, 5, 8)).astype("float32")))
    assert layer.weights == []
    np.testing.assert_allclose(np.mean(output**2, axis=-1), np.ones((4, 5)), rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e4])
def test_does_not_depend_on_the_length_of_the_vector(factor):
    x = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    np.testing.assert_allclose(RMSNorm()(x * np.float32(factor)), oracle.rms_norm(x), rtol=1e-5)


def test_zeros_stay_zeros_and_their_gradient_is_finite():
    layer = RMSNorm()
    x = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], "float32")
    np.testing.assert_array_equal(np.asarray(layer(x))[0], np.zeros(3))
    _, gradient, _ = output_and_gradients(layer)(layer.get_weights(), x, x[::-1])
    assert np.all(np.isfinite(gradient))


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="there Keras makes float32 of float64 here and there")
@pytest.mark.parametrize("length", [1e-9, 1e-8, 1e-6, 1.0])
def test_the_gradient_of_short_vectors_too(float64, length):
    # In float64, whose small squares do not vanish: below 1e-7 the divisor is a constant.
    direction = np.array([[0.6, 0.8, 0.0]])
    upstream = np.array([[1.0, -2.0, 3.0]])
    along = direction * np.sum(direction * upstream) if length > 1e-7 else 0
    expected = 3**0.5 / max(length, 1e-7) * (upstream - along)
    _, (actual,) = value_and_gradients(rms_normalize, [length * direction], upstream)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_what_is_no_number_spoils_the_gradient_of_its_own_vector_only():
    x, upstream = np.random.default_rng(3).normal(size=(2, 3, 4)).astype("float32")
    spoilt = x.copy()
    spoilt[0, 0] = np.nan
    _, (expected,) = value_and_gradients(rms_normalize, [x], upstream)
    _, (actual,) = value_and_gradients(rms_normalize, [spoilt], upstream)
    assert np.isnan(np.asarray(actual)[0]).all()
    np.testing.assert_array_equal(np.asarray(actual)[1:], np.asarray(expected)[1:])


def test_an_empty_batch_has_an_empty_gradient():
    nothing = np.zeros((0, 4), "float32")
    _, (gradient,) = value_and_gradients(rms_normalize, [nothing], nothing)
    assert gradient.shape == (0, 4)


def test_initial_values_penalties_and_projections_are_used():
    layer = RMSNorm(
        use_bias=True,
        gain_initializer=keras.initializers.Constant(2),
        bias_initializer="ones",
        gain_regularizer="l2",
        bias_regularizer="l1",
        gain_constraint="non_neg",
        bias_constraint="unit_norm",
    )
    np.testing.assert_allclose(layer(np.ones((2, 3), "float32")), np.full((2, 3), 3), rtol=1e-6)  # 2 times 1, and 1
    np.testing.assert_allclose(np.sort(layer.losses), [0.01 * 3, 0.01 * 3 * 2**2], rtol=1e-6)
    assert [type(weight.constraint).__name__ for weight in layer.weights] == ["NonNeg", "UnitNorm"]


def test_a_gain_for_each_position_needs_the_length():
    with pytest.raises(ValueError, match="per_feature_gain"):
        RMSNorm().build((None, None, 8))
    with pytest.raises(ValueError, match="shape"):
        layer = RMSNorm()
        layer.build((None, 5, 8))
        layer(np.zeros((2, 7, 8), "float32"))


def test_a_gain_for_each_feature_does_not():
    layer = RMSNorm(per_feature_gain=True)
    layer.build((None, None, 8))
    x = np.random.default_rng(0).normal(size=(2, 7, 8)).astype("float32")
    for length in (1, 4, 7):
        np.testing.assert_allclose(layer(x[:, :length]), oracle.rms_norm(x[:, :length]), rtol=1e-5)
