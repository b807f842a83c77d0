import functools

import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle, assert_ternary

from mml.layers import FeedForwardMML


@pytest.mark.parametrize("shape", [(2, 5, 8), (3, 6)], ids=str)
def test_equals_the_formula(shape):
    assert_equals_oracle(FeedForwardMML(6, 10), oracle.feed_forward, shape)


def test_equals_the_formula_with_another_activation():
    layer = FeedForwardMML(6, 10, activation="gelu")
    assert_equals_oracle(layer, functools.partial(oracle.feed_forward, activation="gelu"), (2, 5, 8), count=1)


def test_weights_are_those_of_the_two_products():
    layer = FeedForwardMML(6, 10)
    layer.build((None, None, 8))
    assert [(weight.name, weight.shape) for weight in layer.weights] == [
        *[("kernel", (8, 10)), ("bias", (10,)), ("gain", (8,))],
        *[("kernel", (10, 6)), ("bias", (6,)), ("gain", (10,))],
    ]
    assert_ternary(layer)


@pytest.mark.parametrize("argument", ["units", "intermediate_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None, True])
def test_sizes_must_be_positive_integers(argument, value):
    with pytest.raises(ValueError, match=rf"`{argument}` must be a positive integer.*{value}"):
        FeedForwardMML(**{"units": 6, "intermediate_size": 10, argument: value})


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="no_such_thing"):
        FeedForwardMML(6, 10, activation="no_such_thing")


def test_an_input_of_another_width_is_refused():
    layer = FeedForwardMML(6, 10)
    layer.build((None, 5, 8))
    with pytest.raises(ValueError, match="shape"):
        layer(np.zeros((2, 5, 7), "float32"))
