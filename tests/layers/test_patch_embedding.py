import functools

import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle

from mml.layers import PatchEmbedding


@pytest.mark.parametrize("use_mml", [True, False])
@pytest.mark.parametrize("with_positions", [True, False])
def test_equals_the_formula(use_mml, with_positions):
    chosen = {"use_mml": use_mml, "with_positions": with_positions}
    assert_equals_oracle(
        PatchEmbedding(5, 8, **chosen), functools.partial(oracle.patch_embedding, **chosen), (2, 5, 6), count=1
    )


def test_weights_are_kernel_bias_gain_and_positions():
    layer = PatchEmbedding(144, 64, with_positions=True)
    layer.build((None, 144, 108))
    assert [weight.shape for weight in layer.weights] == [(108, 64), (64,), (144, 108), (144, 64)]
    assert layer.count_params() == 31_744


def test_a_gain_for_each_feature():
    layer = PatchEmbedding(5, 8, with_positions=True, per_feature_gain=True)
    forward = functools.partial(oracle.patch_embedding, with_positions=True)
    assert_equals_oracle(layer, forward, (2, 5, 6), count=1)
    assert [weight.shape for weight in layer.weights] == [(6, 8), (8,), (6,), (5, 8)]


@pytest.mark.parametrize("with_positions", [True, False])
def test_another_number_of_patches_is_refused(with_positions):
    layer = PatchEmbedding(5, 8, with_positions=with_positions)
    with pytest.raises(ValueError, match=r"(?s)patch_embedding.*expected.*5.*7, 6"):
        layer(np.zeros((2, 7, 6), "float32"))
    layer(np.zeros((2, 5, 6), "float32"))
    with pytest.raises(ValueError, match=r"(?s)patch_embedding.*expected.*5.*7, 6"):
        layer(np.zeros((2, 7, 6), "float32"))


@pytest.mark.parametrize("argument", ["num_patches", "embedding_dim"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None, True])
def test_sizes_must_be_positive_integers(argument, value):
    with pytest.raises(ValueError, match=rf"{argument}.*{value}"):
        PatchEmbedding(**{"num_patches": 5, "embedding_dim": 8, argument: value})
