"""What every public layer must do, whatever it computes."""

import inspect
import json

import keras
import numpy as np
import pytest
from comparison import assert_ternary
from keras import ops

import mml.layers
from mml import layers
from mml.initializers import Linspace
from mml.layers.ternary_layer import TernaryLayer
from mml.packing import pack

# Arguments that are not the defaults, and the shape of an input without batch.
CASES = {
    "AttentionMML": ({"num_heads": 2, "out_dim": 8, "fully_mml": False}, (5, 6)),
    "BilinearMML": ({"units": 6, "intermediate_size": 10}, (5, 8)),
    "DenseMML": ({"units": 6, "activation": "gelu", "kernel_regularizer": "l2", "bias_initializer": "ones"}, (5, 8)),
    "Dropout": ({"rate": 0.5}, (5, 8)),
    "GLUMML": ({"units": 6, "hidden_ratio": 2, "activation": "relu"}, (5, 8)),
    "GRUMML": (
        {"units": 8, "fully_mml": True, "num_heads": 2, "return_sequences": True, "forget_bias_initializer": "ones"},
        (5, 6),
    ),
    "GeGLUMML": ({"units": 6, "intermediate_size": 10}, (5, 8)),
    "GridScanMML": (
        {"units": 8, "grid": (2, 3), "direction": "up", "forget_bias_initializer": Linspace(0, 2)},
        (6, 5),
    ),
    "PatchEmbedding": ({"num_patches": 5, "embedding_dim": 8, "with_positions": True}, (5, 6)),
    "Patches": ({"patch_size": 3, "strides": 2, "padding": "same"}, (4, 6, 3)),
    "RMSNorm": ({"use_bias": True, "bias_initializer": "ones", "gain_regularizer": "l2"}, (5, 8)),
    "RandomErasing": ({"factor": (1, 1), "scale": (1 / 9, 1 / 9), "fill_value": 0}, (6, 6, 3)),
    "RandomFlip": ({"mode": "horizontal"}, (6, 6, 3)),
    "RandomRotation": ({"factor": 0.2}, (6, 6, 3)),
    "RandomTranslation": ({"height_factor": 0.2, "width_factor": (0, 0.4)}, (6, 6, 3)),
    "RandomZoom": ({"height_factor": 0.2, "width_factor": 0.3}, (6, 6, 3)),
    "ReGLUMML": ({"units": 6, "intermediate_size": 10}, (5, 8)),
    "SeGLUMML": ({"units": 6, "intermediate_size": 10}, (5, 8)),
    "SwiGLUMML": ({"units": 6, "intermediate_size": 10, "per_feature_gain": True}, (5, 8)),
    "TokenShift": ({"grid": (2, 3)}, (6, 8)),
    "TransformerBlockMML": ({"embedding_dim": 8, "ffn_dim": 12, "num_heads": 2, "rate": 0.3}, (5, 8)),
    "VisionBlockMML": ({"embedding_dim": 8, "ffn_dim": 12, "grid": (2, 3), "direction": "down"}, (6, 8)),
}
RANDOM = [
    *("Dropout", "RandomErasing", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom"),
    "TransformerBlockMML",
]
# Left to itself, Keras compiles on JAX; on TensorFlow only with an accelerator, and on torch never.
COMPILES = keras.backend.backend() == "jax"
every_layer = pytest.mark.parametrize("name", sorted(CASES))


def arguments(layer_class):
    """The names of a layer's own arguments, whichever class it has them from."""
    parameters = inspect.signature(layer_class.__init__).parameters.values()
    return [
        parameter.name
        for parameter in parameters
        if parameter.name != "self" and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


def make(layer, **kwargs):
    return getattr(layers, layer)(**CASES[layer][0] | kwargs)


def draw(name, batch=6):
    return np.random.default_rng(0).normal(size=(batch, *CASES[name][1])).astype("float32")


def model_of(name, batch_size=None, seed=1):
    """A classifier with the layer in front."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(CASES[name][1], batch_size=batch_size),
            make(name),
            keras.layers.Flatten(),
            layers.Dropout(0.2),
            keras.layers.Dense(3),
        ]
    )


def compiled(model):
    """AdamW keeps a state, two arrays per weight, that must survive too."""
    model.compile(keras.optimizers.AdamW(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert model.jit_compile is COMPILES
    return model


def fit(model, name):
    labels = np.array([0, 1, 2, 1, 0, 2])
    return model.fit(draw(name), labels, batch_size=3, epochs=2, shuffle=False, verbose=0).history["loss"]


def assert_same(actual, expected):
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


def test_every_public_layer_is_here():
    assert sorted(CASES) == sorted(mml.layers.__all__)


@every_layer
def test_config_round_trip(name):
    layer = make(name, name="chosen")
    config = layer.get_config()
    for argument in arguments(type(layer)):
        assert argument in config, f"{argument} would be lost"
    restored = keras.saving.deserialize_keras_object(
        json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    )
    assert type(restored) is type(layer) and restored.name == "chosen"
    assert restored.get_config() == config == type(layer).from_config(config).get_config()
    x = draw(name)
    expected = layer(x)
    if layer.weights:
        restored.build(x.shape)
        restored.set_weights(layer.get_weights())
    np.testing.assert_array_equal(restored(x), expected)


@every_layer
def test_a_frozen_layer_stays_frozen(name, tmp_path):
    model = model_of(name)
    model.layers[0].trainable = False
    model.save(tmp_path / "model.keras")
    for copy in (keras.models.clone_model(model), keras.saving.load_model(tmp_path / "model.keras")):
        assert copy.layers[0].trainable is False and copy.layers[0].trainable_weights == []
    layer = make(name, trainable=False)
    layer.build((None, *CASES[name][1]))
    assert layer.trainable_weights == []


# Each position has its own gain, so the length must be known.
WITH_POSITIONS = [
    *("BilinearMML", "DenseMML", "GLUMML", "GeGLUMML", "ReGLUMML", "RMSNorm", "SeGLUMML", "SwiGLUMML"),
    "TransformerBlockMML",
]


@pytest.mark.parametrize("name", WITH_POSITIONS)
def test_a_failed_build_leaves_nothing_behind(name):
    layer, fresh = (make(name, per_feature_gain=False) for _ in range(2))
    length, features = CASES[name][1]
    for unknown in ((None, features), (length, None)):
        with pytest.raises(ValueError, match="known"):
            layer.build((None, *unknown))
        assert layer.weights == []
    if name != "TransformerBlockMML":  # which takes sequences only
        with pytest.raises(ValueError, match="min_ndim=2"):
            layer(np.ones(features, "float32"))
    assert not layer.built
    inputs = draw(name)
    assert layer(inputs).shape == fresh(inputs).shape
    assert [weight.path.split("/", 1)[1] for weight in layer.weights] == [
        weight.path.split("/", 1)[1] for weight in fresh.weights
    ]


@pytest.mark.parametrize("quantization", ["float", "ternary", "packed"])
@pytest.mark.parametrize("name", [name for name in WITH_POSITIONS if name != "RMSNorm"])
def test_an_input_of_another_length_is_refused_in_each_state(name, quantization):
    layer = make(name, per_feature_gain=False, quantization=quantization)
    length, features = CASES[name][1]
    layer.build((None, length, features))
    for shape in ((length, features), (2, length + 2, features), (2, 2, length, features)):
        with pytest.raises(ValueError, match="is incompatible with the layer"):
            layer(np.ones(shape, "float32"))


@pytest.mark.parametrize("name", ["GRUMML", "AttentionMML", "GridScanMML", "TokenShift", "VisionBlockMML"])
def test_a_mask_for_another_batch_is_refused(name):
    layer, inputs = make(name), draw(name)
    tokens = inputs.shape[1]
    for batch, of_mask in ((1, 3), (2, 3), (6, 2)):
        with pytest.raises(ValueError, match=r"`mask` must have the shape \[batch, steps\]"):
            layer(inputs[:batch], mask=np.ones((of_mask, tokens), "bool"))
    np.testing.assert_array_equal(layer(inputs, mask=np.ones((1, tokens), "bool")), layer(inputs))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the other backends do not show their programs")
@pytest.mark.parametrize("name", sorted(set(CASES) - set(RANDOM)))
def test_float64_is_not_rounded_on_the_way(float64, name):
    import jax

    layer = make(name, dtype="float64")
    layer.build((None, *CASES[name][1]))
    variables = [variable.value for variable in layer.trainable_variables]

    def total(variables, x):
        return ops.sum(layer.stateless_call(variables, [], x)[0])

    program = str(jax.make_jaxpr(jax.grad(total, argnums=(0, 1)))(variables, draw(name).astype("float64")))
    assert "f64[" in program and "f32[" not in program


@pytest.mark.parametrize("name", sorted(set(CASES) - set(RANDOM)))
def test_integers_are_floats_without_a_fraction(name):
    layer = make(name)
    integers = np.random.default_rng(0).integers(-50, 50, (6, *CASES[name][1]))
    expected = layer(integers.astype("float32"))
    np.testing.assert_allclose(layer(integers.astype("int32")), expected, rtol=1e-5, atol=1e-5)


@every_layer
def test_shapes_are_known_before_the_data(name):
    layer = make(name)
    output = layer(draw(name))
    for batch in (None, 6):
        symbolic = layer(keras.Input(batch_shape=(batch, *CASES[name][1])))
        assert symbolic.shape == (batch, *output.shape[1:])
        assert tuple(layer.compute_output_shape((batch, *CASES[name][1]))) == symbolic.shape
        assert keras.backend.standardize_dtype(output.dtype) == symbolic.dtype == "float32"


@every_layer
def test_called_without_training_is_inference(name):
    layer, x = make(name), draw(name)
    output = np.asarray(layer(x))
    np.testing.assert_array_equal(layer(x), output)
    if name in RANDOM:
        np.testing.assert_array_equal(layer(x, training=False), output)
    inputs = keras.Input(x.shape[1:])
    predicted = keras.Model(inputs, layer(inputs)).predict(x, batch_size=3, verbose=0)
    # A value at a rounding boundary may fall to either side in the compiled program: it moves few outputs, a little.
    difference = np.abs(predicted - output) / np.max(np.abs(output))
    assert np.mean(difference < 1e-5) > 0.8 and np.max(difference) < 0.05


@pytest.mark.parametrize("name", RANDOM)
def test_training_is_random_and_follows_the_seed(name):
    x = draw(name)
    first, second = [], []
    for outputs in (first, second):
        keras.utils.set_random_seed(3)
        layer = make(name)
        outputs += [np.asarray(layer(x)), *(np.asarray(layer(x, training=True)) for _ in range(3))]
    assert_same(first, second)
    assert any(np.any(a != first[0]) for a in first[1:])
    assert any(np.any(a != first[1]) for a in first[2:])


@every_layer
@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 0.02), ("float16", 0.01)])
def test_mixed_precision(name, dtype, tolerance):
    # One draw of weights, whatever seed the test run has: how far rounding spreads depends on them.
    keras.utils.set_random_seed(0)
    x = keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(draw(name), dtype), "float32"))
    layer = make(name)
    expected = np.asarray(layer(x))
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    mixed = make(name)
    mixed.build(x.shape)
    if layer.weights:
        mixed.set_weights(layer.get_weights())
    assert all(weight.dtype == "float32" for weight in mixed.weights)
    output = mixed(x)
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    # Codes and scales are those of float32. What passes between layers is rounded to 8 bits in bfloat16, so that
    # some codes of the next layer are off by one.
    difference = keras.ops.convert_to_numpy(keras.ops.cast(output, "float32")) - expected
    assert np.sqrt(np.mean(difference**2)) < tolerance * np.sqrt(np.mean(expected**2))


@every_layer
def test_weights_survive_every_way_bit_for_bit(name, tmp_path):
    model = model_of(name)
    expected, output = model.get_weights(), model(draw(name))

    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")

    model.save_weights(tmp_path / "m.weights.h5")
    restored = model_of(name, seed=2)
    restored.load_weights(tmp_path / "m.weights.h5")

    copied = model_of(name, seed=3)
    copied.set_weights(expected)

    cloned = keras.models.clone_model(model)
    cloned.set_weights(expected)

    for other in (loaded, restored, copied, cloned):
        assert_same(other.get_weights(), expected)
        assert [weight.name for weight in other.weights] == [weight.name for weight in model.weights]
        np.testing.assert_array_equal(other(draw(name)), output)


TERNARY = [name for name in sorted(CASES) if issubclass(getattr(layers, name), TernaryLayer)]


@pytest.mark.parametrize("quantization", ["float", "ternary", "packed"])
@pytest.mark.parametrize("name", TERNARY)
def test_each_state_is_saved_loaded_and_cloned(name, quantization, tmp_path):
    keras.utils.set_random_seed(0)
    state = "ternary" if quantization == "packed" else quantization
    model = keras.Sequential([keras.Input(CASES[name][1]), make(name, quantization=state)])
    if quantization == "packed":
        model = pack(model)
    expected = np.asarray(model(draw(name)))
    assert np.any(expected != 0)

    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    for other in (loaded, cloned):
        parts = [part for part in other._flatten_layers() if isinstance(part, TernaryLayer)]
        assert parts and {part.quantization for part in parts} == {quantization}
        dense = [part for part in parts if isinstance(part, layers.DenseMML)]
        assert all(hasattr(part, "w_ternary") == (quantization == "packed") for part in dense)
        assert_same(other.get_weights(), model.get_weights())
        np.testing.assert_array_equal(other(draw(name)), expected)


@pytest.mark.parametrize("name", TERNARY)
def test_the_packed_layer_gives_what_the_ternary_one_gives_and_the_float_one_something_else(name):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(CASES[name][1]), make(name)])
    expected = np.asarray(model(draw(name)))
    packed = np.asarray(pack(model)(draw(name)))
    # Not compiled, a value at a rounding boundary may fall to either side.
    difference = np.abs(packed - expected) / np.max(np.abs(expected))
    assert np.mean(difference < 1e-5) > 0.8 and np.max(difference) < 0.05

    twin = keras.Sequential([keras.Input(CASES[name][1]), make(name, quantization="float")])
    twin.set_weights(model.get_weights())
    assert np.max(np.abs(np.asarray(twin(draw(name))) - expected)) > 1e-3 * np.max(np.abs(expected))


@pytest.mark.skipif(not hasattr(keras.quantizers, "pack_ternary"), reason="this Keras does not know the mode")
@pytest.mark.parametrize("name", TERNARY)
def test_keras_quantizes_to_what_pack_gives(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(CASES[name][1]), make(name)])
    packed = pack(model)
    ours = [layer.path for layer in model._flatten_layers() if isinstance(layer, TernaryLayer)]
    model.quantize("ternary", filters=lambda layer: layer.path in ours, verbose=False)
    assert_same(model.get_weights(), packed.get_weights())
    np.testing.assert_array_equal(model(draw(name)), packed(draw(name)))
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(draw(name)), packed(draw(name)))


@pytest.mark.parametrize("name", [*TERNARY, "Dropout", "RMSNorm", "TokenShift"])
def test_masks_are_passed_on(name):
    inputs = keras.Input(CASES[name][1])
    outputs = make(name)(keras.layers.Masking()(inputs))
    x = draw(name)
    x[:, 2:4] = 0
    np.testing.assert_array_equal(keras.Model(inputs, outputs._keras_mask)(x), np.any(x != 0, axis=-1))


@every_layer
def test_training_is_compiled_and_goes_on_after_loading_as_if_nothing_had_happened(name, tmp_path):
    model = compiled(model_of(name))
    before = [np.array(weight) for weight in model.trainable_variables]
    assert np.all(np.isfinite(fit(model, name)))
    for weight, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(np.asarray(weight) != old), f"{weight.path} learns nothing"

    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.jit_compile is COMPILES
    assert_same(loaded.variables, model.variables)
    assert fit(loaded, name) == fit(model, name)
    assert_same(loaded.variables, model.variables)
    assert_same(loaded.optimizer.variables, model.optimizer.variables)


@pytest.mark.parametrize("name", ["GLUMML", "PatchEmbedding", "TransformerBlockMML"])
def test_kernels_stay_ternary_forward_after_loading_and_more_training(name, tmp_path):
    model = compiled(model_of(name))
    fit(model, name)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    fit(loaded, name)
    assert_ternary(loaded)


@pytest.mark.parametrize("name", ["RandomZoom", "TransformerBlockMML"])
def test_training_goes_on_from_saved_weights(name, tmp_path):
    model = compiled(model_of(name))
    fit(model, name)
    model.save_weights(tmp_path / "m.weights.h5")
    other = compiled(model_of(name, seed=2))
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "m.weights.h5")
    assert fit(other, name) == fit(model, name)
    assert_same(other.variables, model.variables)


def test_training_goes_on_from_copied_weights():
    # Arrays of weights hold no random state and no optimizer: both models start with a new one, and without dropout.
    x, y = draw("TransformerBlockMML"), np.array([0, 1, 2, 1, 0, 2])
    inputs = keras.Input(x.shape[1:])
    block = layers.TransformerBlockMML(8, 12, 2, rate=0)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(block(inputs))))
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    histories = []
    for each in (model, cloned):
        compiled(each)
        histories.append(each.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0).history["loss"])
    assert histories[0] == histories[1]
    assert_same(cloned.get_weights(), model.get_weights())
    assert_ternary(cloned)


def test_training_with_a_static_batch():
    name = "TransformerBlockMML"
    assert np.all(np.isfinite(fit(compiled(model_of(name, batch_size=3)), name)))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX always compiles here, and torch never")
@pytest.mark.parametrize("name", ["RandomRotation", "RandomZoom", "TransformerBlockMML"])
def test_training_can_be_compiled(name):
    model = compiled(model_of(name))
    model.jit_compile = True
    assert model.jit_compile is True
    assert np.all(np.isfinite(fit(model, name)))
