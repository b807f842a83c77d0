import functools

import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle, assert_ternary, draw_weights

from mml.initializers import Linspace
from mml.layers import VisionBlockMML

every_direction = pytest.mark.parametrize("direction", ["right", "left", "down", "up"])


@every_direction
def test_equals_the_formula(direction):
    assert_equals_oracle(
        VisionBlockMML(8, 12, (2, 3), direction),
        functools.partial(oracle.vision_block, grid=(2, 3), direction=direction),
        (2, 6, 8),
        count=1,
    )


def test_weights_are_those_of_the_mixer_and_of_the_network():
    layer = VisionBlockMML(96, 128, (8, 8))
    layer.build((None, 64, 96))
    assert [(weight.name, weight.shape) for weight in layer.weights] == [
        *[("kernel", (96, 288)), ("bias", (288,)), ("gain", (96,))],
        *[("kernel", (96, 96)), ("bias", (96,)), ("gain", (96,))],
        *[("kernel", (96, 256)), ("bias", (256,)), ("gain", (96,))],
        *[("kernel", (128, 96)), ("bias", (96,)), ("gain", (128,))],
    ]


def test_every_kernel_is_ternary_forward():
    layer = VisionBlockMML(8, 12, (2, 3))
    layer.build((None, 6, 8))
    assert_ternary(layer)


def test_forget_biases_start_where_they_are_told():
    layer = VisionBlockMML(8, 12, (2, 3), forget_bias_initializer=Linspace(0, 3.5))
    layer.build((None, 6, 8))
    np.testing.assert_allclose(layer.weights[1], [0.5 * index for index in range(8)] + [0] * 16, rtol=1e-6)


@every_direction
@pytest.mark.parametrize(
    "edges", [((1, 0), (0, 0)), ((0, 1), (0, 0)), ((0, 0), (1, 0)), ((0, 0), (0, 1)), ((1, 1), (1, 1))], ids=str
)
def test_a_grid_padded_with_masked_tokens_gives_what_the_grid_gives(direction, edges):
    # Beyond the edge of a grid there are zeros, and so there are where tokens are masked.
    small = VisionBlockMML(8, 12, (2, 3), direction)
    small.build((None, 6, 8))
    small.set_weights(draw_weights(small, np.random.default_rng(0)))
    x = np.random.default_rng(1).normal(size=(3, 6, 8)).astype("float32")
    mask = np.pad(np.ones((3, 2, 3), "bool"), ((0, 0), *edges))
    padded = np.pad(x.reshape(3, 2, 3, 8), ((0, 0), *edges, (0, 0)), constant_values=100.0)
    rows, columns = mask.shape[1:]
    large = VisionBlockMML(8, 12, (rows, columns), direction)
    large.build((None, rows * columns, 8))
    large.set_weights(small.get_weights())
    mask = mask.reshape(3, -1)
    found = np.asarray(large(padded.reshape(3, -1, 8), mask=mask))[mask].reshape(3, 6, 8)
    np.testing.assert_allclose(found, small(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("argument", ["embedding_dim", "ffn_dim"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None, True])
def test_sizes_must_be_positive_integers(argument, value):
    with pytest.raises(ValueError, match=rf"`{argument}` must be a positive integer.*{value}"):
        VisionBlockMML(**{"embedding_dim": 8, "ffn_dim": 12, "grid": (2, 3), argument: value})


def test_a_grid_must_be_a_pair_and_a_direction_one_of_four():
    with pytest.raises(ValueError, match="`grid` must be a pair of positive integers: rows and columns. Received"):
        VisionBlockMML(8, 12, 6)
    with pytest.raises(ValueError, match="`direction` must be 'right', 'left', 'down', or 'up'. Received"):
        VisionBlockMML(8, 12, (2, 3), "forward")


@pytest.mark.parametrize("shape", [(2, 6), (2, 5, 8), (2, 6, 7)], ids=str)
def test_an_input_that_the_residual_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="vision_block_mml.*expected"):
        VisionBlockMML(8, 12, (2, 3))(np.zeros(shape, "float32"))


def test_another_mask_is_refused():
    with pytest.raises(ValueError, match=r"`mask` must have the shape \[batch, steps\] = \[2, 6\]."):
        VisionBlockMML(8, 12, (2, 3))(np.zeros((2, 6, 8), "float32"), mask=np.ones((2, 5), "bool"))
