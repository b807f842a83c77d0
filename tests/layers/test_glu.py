import keras
import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle, output_and_gradients

from mml import layers

VARIANTS = {
    "BilinearMML": "linear",
    "GLUMML": "sigmoid",
    "GeGLUMML": "gelu",
    "ReGLUMML": "relu",
    "SeGLUMML": "selu",
    "SwiGLUMML": "silu",
}


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_formula(name):
    layer = getattr(layers, name)(6, intermediate_size=10)
    assert_equals_oracle(layer, lambda *a: oracle.glu(*a, activation=VARIANTS[name]), (2, 4, 8))


@pytest.mark.parametrize("activation", sorted(VARIANTS.values()))
def test_the_general_layer_takes_each_activation(activation):
    layer = layers.GLUMML(6, intermediate_size=10, activation=activation)
    assert_equals_oracle(layer, lambda *a: oracle.glu(*a, activation=activation), (3, 8), count=1)


def test_equals_the_formula_for_any_length_with_a_gain_for_each_feature():
    layer = layers.SwiGLUMML(6, intermediate_size=10, per_feature_gain=True)
    layer.build((None, None, 8))
    for length in (1, 4):
        assert_equals_oracle(layer, lambda *a: oracle.glu(*a, activation="silu"), (2, length, 8), count=1)


def test_a_gain_for_each_position_needs_the_length():
    with pytest.raises(ValueError, match="per_feature_gain"):
        layers.GLUMML(6, intermediate_size=10).build((None, None, 8))


@pytest.mark.parametrize(
    "features, hidden_ratio, expected",
    [
        (8, 4, 256),
        (64, 4, 256),
        (96, 4, 256),
        (97, 4, 256),
        (98, 4, 512),
        (768, 4, 2048),
        (64, 12, 512),
        (64, 13, 768),
    ],
)
def test_default_width_is_the_next_multiple_of_256(features, hidden_ratio, expected):
    # int(features * hidden_ratio * 2 / 3) is rounded down first: 97 * 4 * 2 / 3 = 258.67, so 512.
    expected = 256 * -(-(features * hidden_ratio * 2 // 3) // 256)
    layer = layers.GLUMML(6, hidden_ratio=hidden_ratio)
    layer.build((None, features))
    assert [weight.shape for weight in layer.weights] == [
        (features, 2 * expected),
        (2 * expected,),
        (features,),
        (expected, 6),
        (6,),
        (expected,),
    ]


def test_the_inner_gain_is_one_per_feature():
    layer = layers.SwiGLUMML(6, intermediate_size=10)
    layer.build((None, 4, 8))
    assert [(weight.name, weight.shape) for weight in layer.weights] == [
        ("kernel", (8, 20)),
        ("bias", (20,)),
        ("gain", (4, 8)),
        ("kernel", (10, 6)),
        ("bias", (6,)),
        ("gain", (10,)),
    ]


def test_gradients_stay_finite_where_relu_shuts_every_gate():
    layer = layers.ReGLUMML(6, intermediate_size=10)
    layer.build((None, 8))
    kernel, bias, *rest = layer.get_weights()
    bias[:10] = -100
    layer.set_weights([kernel, bias, *rest])
    x = np.ones((2, 8), "float32")
    _, *gradients = output_and_gradients(layer)(layer.get_weights(), x, np.ones((2, 6)))
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize("argument", ["units", "hidden_ratio", "intermediate_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", True])
def test_sizes_must_be_positive_integers(argument, value):
    with pytest.raises(ValueError, match=rf"{argument}.*{value}"):
        layers.GLUMML(**{"units": 4, argument: value})


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="no_such_thing"):
        layers.GLUMML(4, activation="no_such_thing")


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - {"GLUMML"}))
def test_a_named_variant_keeps_its_activation_through_its_config(name):
    layer = getattr(layers, name)(4, intermediate_size=10)
    assert isinstance(layer, layers.GLUMML)
    restored = type(layer).from_config(layer.get_config())
    assert restored.activation is layer.activation is keras.activations.get(VARIANTS[name])
