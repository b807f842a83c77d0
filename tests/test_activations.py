import keras
import numpy as np
import oracle
import pytest
from comparison import value_and_gradients

from mml.activations import squared_relu


def test_value_and_gradient_equal_the_formula():
    x = np.array([[-3.0, -0.5, -1e-3], [1e-3, 0.5, 3.0]], "float32")
    upstream = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    value, (gradient,) = value_and_gradients(squared_relu, [x], upstream)
    forward, exact = oracle.ACTIVATIONS["squared_relu"], x.astype("float64")
    np.testing.assert_allclose(value, forward(exact), rtol=1e-6)
    (expected,) = oracle.gradients(forward, [exact], upstream)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_at_zero_both_are_zero():
    value, (gradient,) = value_and_gradients(squared_relu, [np.zeros(3, "float32")], np.ones(3, "float32"))
    np.testing.assert_array_equal(value, np.zeros(3))
    np.testing.assert_array_equal(gradient, np.zeros(3))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_dtype_stays(dtype):
    x = keras.ops.cast(np.array([-2.0, 0.5, 3.0], "float32"), dtype)
    y = squared_relu(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")), [0, 0.25, 9])


def test_a_configuration_names_it():
    config = keras.activations.serialize(squared_relu)
    assert config["config"] == "mml>squared_relu"
    assert keras.activations.get(config) is squared_relu
