"""The same weights give the same outputs and gradients as in keras-matmulless 0.1.2, the seed notebook's package.

It is installed beside current Keras with `pip install --no-deps keras-matmulless einops jaxtyping`.

Rounding is a jump: two float32 programs that are both right may round a value to different sides when it lies closer
to the boundary than their error. So float32 is compared on draws for which the oracle sees no value that close, and
for the whole model, where some of a million values always is, the comparison is in float64.
"""

import functools
import warnings

import jax
import keras
import numpy as np
import oracle
import pytest
from comparison import assert_close, draw_weights, names_of, output_and_gradients

import mml.layers
from mml.models import VisionTransformerConfig, vision_transformer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    peer = pytest.importorskip("keras_mml", reason="keras-matmulless, the peer, is not installed").layers

GLU = {"BilinearMML": "linear", "GLUMML": "sigmoid", "GeGLUMML": "gelu"}
GLU |= {"ReGLUMML": "relu", "SeGLUMML": "selu", "SwiGLUMML": "silu"}

CASES = {
    "RMSNorm": ("RMSNorm", {}, oracle.rms_norm, [(2, 8), (3, 5, 8)]),
    "RMSNorm, bias": ("RMSNorm", {"use_bias": True}, oracle.rms_norm, [(3, 5, 8)]),
    "DenseMML": ("DenseMML", {"units": 7}, oracle.dense, [(3, 8), (2, 5, 16), (2, 3, 2, 6)]),
    "DenseMML, activation": (
        "DenseMML",
        {"units": 7, "activation": "silu"},
        functools.partial(oracle.dense, activation="silu"),
        [(3, 8)],
    ),
    **{
        name: (
            name,
            {"units": 6, "intermediate_size": 10},
            functools.partial(oracle.glu, activation=activation),
            [(3, 8), (2, 4, 8)],
        )
        for name, activation in GLU.items()
    },
    "SwiGLUMML, default width": (
        "SwiGLUMML",
        {"units": 6},
        functools.partial(oracle.glu, activation="silu"),
        [(2, 3, 8)],
    ),
    **{
        f"{name}, fully_mml={fully_mml}": (
            name,
            {**arguments, "fully_mml": fully_mml},
            functools.partial(forward, fully_mml=fully_mml),
            shapes,
        )
        for fully_mml in (True, False)
        for name, arguments, forward, shapes in [
            ("GRUMML", {"units": 8, "num_heads": 2, "return_sequences": True}, oracle.gru, [(2, 5, 6), (1, 9, 8)]),
            ("AttentionMML", {"num_heads": 2, "out_dim": 8}, oracle.gru, [(2, 5, 6)]),
            (
                "TransformerBlockMML",
                {"embedding_dim": 8, "ffn_dim": 12, "num_heads": 2},
                oracle.transformer_block,
                [(2, 5, 8), (1, 9, 8)],
            ),
        ]
    },
    **{
        f"PatchEmbedding, use_mml={use_mml}, with_positions={with_positions}": (
            "PatchEmbedding",
            {"num_patches": 5, "embedding_dim": 8, "use_mml": use_mml, "with_positions": with_positions},
            functools.partial(oracle.patch_embedding, use_mml=use_mml, with_positions=with_positions),
            [(2, 5, 6)],
        )
        for use_mml in (True, False)
        for with_positions in (True, False)
    },
}


@pytest.fixture(autouse=True)
def silence():
    """The peer's warnings are not ours to fix; ours are caught by every other test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build_both(name, arguments, shape):
    ours, theirs = getattr(mml.layers, name)(**arguments), getattr(peer, name)(**arguments)
    for layer in (ours, theirs):
        layer.build((None, *shape[1:]))
    return ours, theirs


@pytest.mark.parametrize("case, shape", [(case, shape) for case in CASES for shape in CASES[case][-1]], ids=str)
def test_layer(case, shape):
    name, arguments, forward, _ = CASES[case]
    ours, theirs = build_both(name, arguments, shape)

    def draw(rng):
        return [rng.normal(size=shape).astype("float32"), *draw_weights(theirs, rng)]

    ours.set_weights(theirs.get_weights())  # the same order and shapes
    run_ours, run_theirs = output_and_gradients(ours), output_and_gradients(theirs)
    for seed, (x, *weights) in enumerate(oracle.away_from_boundaries(draw, forward, count=3)):
        upstream = np.random.default_rng(seed).normal(size=ours.compute_output_shape(shape))
        assert_close(run_ours(weights, x, upstream), run_theirs(weights, x, upstream), names_of(ours))


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (1, 8, 8, 1)])
def test_patches(shape):
    images = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_array_equal(mml.layers.Patches(2)(images), peer.Patches(2)(images))


def test_the_oracle_itself():
    """The oracle's forward and gradients, which the other tests rely on, are the peer's."""
    shape = (2, 5, 8)
    layer = peer.TransformerBlockMML(8, 12, 2)
    layer.build(shape)

    def draw(rng):
        return [rng.normal(size=shape).astype("float32"), *draw_weights(layer, rng)]

    ((x, *weights),) = oracle.away_from_boundaries(draw, oracle.transformer_block, count=1)
    arguments = [np.asarray(array, "float64") for array in (x, *weights)]
    expected = oracle.transformer_block(*arguments).real
    upstream = np.random.default_rng(0).normal(size=shape)
    gradients = oracle.gradients(oracle.transformer_block, arguments, upstream)
    assert_close(output_and_gradients(layer)(weights, x, upstream), [expected, *gradients], names_of(layer))


def peer_model(config):
    """The seed's model after its augmentation."""
    model = keras.Sequential(
        [
            keras.Input((config.image_size, config.image_size, config.input_shape[-1])),
            peer.Patches(config.patch_size),
            peer.PatchEmbedding(config.num_patches, config.projection_dim, with_positions=True),
        ]
    )
    for _ in range(config.transformer_layers):
        model.add(
            peer.TransformerBlockMML(
                config.projection_dim, 2 * config.projection_dim, config.num_heads, rate=config.dropout
            )
        )
    model.add(keras.layers.LayerNormalization(epsilon=1e-6))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dropout(config.head_dropout))
    for units in config.head_units:
        model.add(peer.DenseMML(units))
    model.add(keras.layers.Dense(config.num_classes))
    return model


@pytest.fixture
def models_in_float64(float64):
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


def predict(model, x):
    """Layer by layer, so that the eight equal blocks are compiled once; training is not given."""
    for layer in model.layers:
        variables = [v.value for v in layer.trainable_variables], [v.value for v in layer.non_trainable_variables]
        x = jax.jit(lambda trainable, fixed, x, layer=layer: layer.stateless_call(trainable, fixed, x)[0])(
            *variables, x
        )
    return np.asarray(x)


def test_the_default_model(models_in_float64):
    config = VisionTransformerConfig()
    whole, theirs = vision_transformer(config), peer_model(config)
    ours = keras.Sequential([keras.Input((72, 72, 3)), *whole.layers[1:]])
    rng = np.random.default_rng(0)
    theirs.set_weights(
        [
            weight if weight.ndim == 2 and weight.shape[0] != 144 else weight + 0.1 * rng.normal(size=weight.shape)
            for weight in theirs.get_weights()
        ]
    )
    ours.set_weights(theirs.get_weights())
    images = rng.integers(0, 256, size=(2, 32, 32, 3)).astype("float64")
    prepared = np.asarray(whole.layers[0](images))
    expected = predict(theirs, prepared)
    assert_close(
        [predict(ours, prepared), predict(whole, images)],
        [expected] * 2,
        ["ours", "ours with augmentation"],
        tolerance=1e-12,
    )


def test_a_small_model_with_gradients(models_in_float64):
    config = VisionTransformerConfig(
        image_size=12, patch_size=4, projection_dim=8, transformer_layers=1, num_heads=2, head_units=(16,)
    )
    theirs = peer_model(config)
    ours = keras.Sequential([keras.Input((12, 12, 3)), *vision_transformer(config).layers[1:]])
    rng = np.random.default_rng(0)
    ours.set_weights(theirs.get_weights())
    arguments = draw_weights(theirs, rng, "float64"), rng.normal(size=(2, 12, 12, 3)), rng.normal(size=(2, 10))
    assert_close(output_and_gradients(ours)(*arguments), output_and_gradients(theirs)(*arguments), names_of(ours))
