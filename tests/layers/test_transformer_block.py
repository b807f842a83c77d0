import functools

import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle, assert_ternary

from mml.layers import TransformerBlockMML


@pytest.mark.parametrize("fully_mml", [True, False])
def test_equals_the_formula(fully_mml):
    assert_equals_oracle(
        TransformerBlockMML(8, 12, 2, fully_mml=fully_mml),
        functools.partial(oracle.transformer_block, fully_mml=fully_mml),
        (2, 5, 8),
        count=1,
    )


def test_equals_the_formula_for_any_length_with_a_gain_for_each_feature():
    layer = TransformerBlockMML(8, 12, 2, per_feature_gain=True)
    layer.build((None, None, 8))
    for length in (3, 4):
        assert_equals_oracle(layer, oracle.transformer_block, (2, length, 8), count=1)


def test_a_gain_for_each_position_needs_the_length_and_keeps_it():
    with pytest.raises(ValueError, match="per_feature_gain"):
        TransformerBlockMML(8, 12, 2).build((None, None, 8))
    layer = TransformerBlockMML(8, 12, 2)
    layer.build((None, 5, 8))
    with pytest.raises(ValueError, match="shape"):
        layer(np.zeros((2, 7, 8), "float32"))


def test_weights_are_those_of_the_mixer_its_norm_the_network_and_its_norm():
    layer = TransformerBlockMML(64, 128, 4)
    layer.build((None, 144, 64))
    assert [(weight.name, weight.shape) for weight in layer.weights] == [
        ("kernel", (64, 192)),
        ("bias", (192,)),
        ("gain", (64,)),
        ("kernel", (64, 64)),
        ("bias", (64,)),
        ("gain", (64,)),
        ("gain", (144, 64)),
        ("kernel", (64, 256)),
        ("bias", (256,)),
        ("gain", (144, 64)),
        ("kernel", (128, 64)),
        ("bias", (64,)),
        ("gain", (128,)),
        ("gain", (144, 64)),
    ]
    assert layer.count_params() == 69_440


def test_every_kernel_is_ternary_forward():
    layer = TransformerBlockMML(8, 12, 2)
    layer.build((None, 5, 8))
    assert_ternary(layer)


def test_dropout_is_on_in_training_only():
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    layer = TransformerBlockMML(8, 12, 2, rate=0.5)
    first, second = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
    assert np.any(first != second)
    assert np.any(first != np.asarray(layer(x)))
    still = TransformerBlockMML(8, 12, 2, rate=0)
    np.testing.assert_array_equal(still(x, training=True), still(x))


def test_both_parts_are_dropped_before_they_are_added():
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    layer = TransformerBlockMML(8, 12, 2, rate=1)
    # Without what mixes tokens and what feeds them forward, only the norms are left.
    np.testing.assert_allclose(layer(x, training=True), oracle.rms_norm(oracle.rms_norm(x)), rtol=1e-5)
    for part in ("attention", "ffn"):
        layer = TransformerBlockMML(8, 12, 2, rate=0.5)
        layer.build(x.shape)
        getattr(layer, f"{part}_dropout").rate = 0
        first, second = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
        assert np.any(first != second), f"the other part than {part} is dropped too"


@pytest.mark.parametrize("argument", ["embedding_dim", "ffn_dim", "num_heads"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None, True])
def test_sizes_must_be_positive_integers(argument, value):
    with pytest.raises(ValueError, match=rf"{argument}.*{value}"):
        TransformerBlockMML(**{"embedding_dim": 8, "ffn_dim": 12, "num_heads": 2, argument: value})


@pytest.mark.parametrize("rate", [-0.1, 1.5, "half", None])
def test_the_rate_must_be_a_share(rate):
    with pytest.raises(ValueError, match="rate"):
        TransformerBlockMML(8, 12, 2, rate=rate)


def test_heads_must_divide_the_embedding():
    with pytest.raises(ValueError, match=r"(?s)num_heads.*3"):
        TransformerBlockMML(8, 12, 3)


@pytest.mark.parametrize("shape", [(2, 8), (2, 5, 7)])
def test_an_input_that_the_residual_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="transformer_block_mml.*expected"):
        TransformerBlockMML(8, 12, 2)(np.zeros(shape, "float32"))
