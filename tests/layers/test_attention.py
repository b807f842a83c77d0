import functools

import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle

from mml.layers import AttentionMML


@pytest.mark.parametrize("fully_mml", [True, False])
def test_equals_the_formula(fully_mml):
    assert_equals_oracle(
        AttentionMML(2, 8, fully_mml=fully_mml),
        functools.partial(oracle.gru, fully_mml=fully_mml),
        (2, 5, 6),
        count=1,
    )


def test_is_fully_ternary_by_default():
    layer = AttentionMML(2, 8)
    layer.build((None, 5, 6))
    assert [weight.shape for weight in layer.weights] == [(6, 24), (24,), (6,), (8, 8), (8,), (8,)]


def test_any_length_is_taken():
    layer = AttentionMML(2, 8)
    layer.build((None, None, 6))
    assert layer(np.ones((2, 7, 6), "float32")).shape == (2, 7, 8)


@pytest.mark.parametrize("argument", ["num_heads", "out_dim"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None, True])
def test_sizes_must_be_positive_integers(argument, value):
    with pytest.raises(ValueError, match=rf"{argument}.*{value}"):
        AttentionMML(**{"num_heads": 2, "out_dim": 4, argument: value})


def test_heads_must_divide_the_output():
    with pytest.raises(ValueError, match=r"(?s)num_heads.*3"):
        AttentionMML(3, 8)
