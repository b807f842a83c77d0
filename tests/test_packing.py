import dataclasses
import functools
import hashlib
import json
import os
import re
import struct

import jax
import keras
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from keras import layers
from quick_compilation import optimized

from mml.layers import (
    GRUMML,
    AttentionMML,
    DenseMML,
    PatchEmbedding,
    Patches,
    RMSNorm,
    SwiGLUMML,
    TransformerBlockMML,
)
from mml.layers.grid_scan_mml import DIRECTIONS
from mml.models import VisionMLGRUConfig, VisionTransformerConfig, vision_mlgru, vision_transformer
from mml.packing import (
    additions_only_product,
    load_packed,
    pack,
    pack_ternary,
    read_packed,
    save_packed,
    unpack_ternary,
)
from mml.packing.weights import give_weights

SMALL = VisionTransformerConfig(
    input_shape=(8, 8, 3), image_size=12, patch_size=6, projection_dim=8, transformer_layers=2, head_units=(16, 8)
)
RNG = np.random.default_rng(0)
ONE_BLOCK = dataclasses.replace(SMALL, transformer_layers=1)
IMAGES = RNG.integers(0, 256, (33, 8, 8, 3)).astype("float32")


def trained(model):
    """Move every weight away from its initial value, as training does."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(np.asarray(weight) + 0.1 * rng.standard_normal(weight.shape).astype("float32"))
    return model


def small_model():
    return trained(vision_transformer(SMALL, IMAGES))


# === Bytes ===


@given(arrays("int8", array_shapes(max_dims=3, max_side=13), elements=st.integers(-1, 1)))
def test_bytes_are_numbers_in_base_three(w_ternary):
    packed = pack_ternary(w_ternary)
    digits = [int(w) + 1 for w in w_ternary.ravel()]
    digits += [1] * (-len(digits) % 5)
    expected = [sum(digit * 3**i for i, digit in enumerate(digits[k : k + 5])) for k in range(0, len(digits), 5)]
    assert packed.dtype == np.uint8 and packed.tolist() == expected
    unpacked = unpack_ternary(packed, w_ternary.shape)
    assert unpacked.dtype == np.int8 and np.array_equal(unpacked, w_ternary)


def by_the_rule_of_keras(w, axis):
    """The published rule of `keras.quantizers.pack_ternary`: each line along an axis is filled up by itself."""
    lines = np.moveaxis(w, axis, -1)
    packed = np.empty((*lines.shape[:-1], -(-lines.shape[-1] // 5)), "uint8")
    for index in np.ndindex(packed.shape):
        *line, byte = index
        trits = lines[(*line, slice(5 * byte, 5 * byte + 5))]
        packed[index] = 121 + sum(int(trit) * 3**place for place, trit in enumerate(trits))  # 121: five zeros
    return np.moveaxis(packed, -1, axis)


@given(arrays("int8", st.tuples(st.integers(1, 4), st.sampled_from([1, 4, 5, 10, 12])), elements=st.integers(-1, 1)))
def test_bytes_are_those_of_keras_where_no_line_is_filled_up(w_ternary):
    of_keras = by_the_rule_of_keras(w_ternary, axis=1)
    ours = pack_ternary(w_ternary)
    units, features = w_ternary.shape
    assert of_keras.shape == (units, -(-features // 5)) and ours.size == -(-units * features // 5)
    if features % 5 == 0:
        assert np.array_equal(ours, of_keras.ravel())
    # A line by itself has the same padding in both.
    for line, expected in zip(w_ternary, of_keras, strict=True):
        assert np.array_equal(pack_ternary(line), expected)
    assert np.array_equal(by_the_rule_of_keras(w_ternary.T, axis=0), of_keras.T)


@pytest.mark.skipif(not hasattr(keras.quantizers, "pack_ternary"), reason="this Keras does not pack")
@pytest.mark.parametrize("shape, axis", [((7, 3), 0), ((3, 7), 1), ((10, 4), 0), ((2, 6, 3), 1)], ids=str)
def test_the_rule_of_keras_is_what_keras_does(shape, axis):
    w_ternary = RNG.integers(-1, 2, shape)
    packed, packed_shape, length = keras.quantizers.pack_ternary(w_ternary, axis=axis)
    assert np.array_equal(packed, by_the_rule_of_keras(w_ternary, axis))
    assert (packed_shape, length) == (packed.shape, shape[axis])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_pack_takes_any_number_type(dtype):
    assert pack_ternary(np.array([1, 0, 1], dtype)).tolist() == [2 + 3 + 18 + 27 + 81]


@pytest.mark.parametrize("wrong", [2, -2, 0.5, np.nan, 255, 257])
def test_pack_refuses_other_values(wrong):
    with pytest.raises(ValueError, match=f"`w_ternary` must hold only -1, 0, and 1. Received: {wrong}"):
        pack_ternary(np.array([0, 1, wrong]))


@pytest.mark.parametrize("packed", [[-1], np.array([-1]), np.array([121.0])], ids=str)
def test_unpack_takes_bytes_only(packed):
    with pytest.raises(ValueError, match="`packed` must hold bytes"):
        unpack_ternary(packed, (5,))


@pytest.mark.parametrize("byte", [243, 255])
def test_unpack_refuses_a_byte_that_no_five_weights_have(byte):
    with pytest.raises(ValueError, match=f"bytes below 243. Received: {byte}"):
        unpack_ternary(np.array([121, byte], "uint8"), (2, 5))


def test_unpack_refuses_other_sizes_and_filling():
    with pytest.raises(ValueError, match="must have 2 bytes for 6 weights"):
        unpack_ternary(np.array([121], "uint8"), (2, 3))
    with pytest.raises(ValueError, match=r"pad its last byte with weights of 0. Received: \[0, 0, 0, 1\]"):
        unpack_ternary(np.array([121, 122 + 81], "uint8"), (2, 3))


# === The additions-only product ===


@given(
    arrays("int8", st.tuples(st.integers(1, 4), st.just(17))),
    arrays("int8", st.tuples(st.integers(1, 5), st.just(17)), elements=st.integers(-1, 1)),
)
@example(np.full((1, 17), -128, "int8"), np.full((1, 17), -1, "int8"))
def test_additions_only_product_is_the_matrix_product(x_quantized, w_ternary):
    product = additions_only_product(x_quantized, w_ternary)
    expected = [[sum(int(a) * int(b) for a, b in zip(x, w, strict=True)) for w in w_ternary] for x in x_quantized]
    assert product.dtype == np.int32 and product.tolist() == expected


def test_additions_only_product_sums_in_32_bits():
    x_quantized = np.full((1, 9216), -128, "int8")
    assert additions_only_product(x_quantized, np.full((1, 9216), -1)).tolist() == [[128 * 9216]]


def test_additions_only_product_refuses_others():
    ones = np.ones((1, 3), "int8")
    with pytest.raises(ValueError, match="`x_quantized` must be int8"):
        additions_only_product(ones.astype("float32"), ones)
    with pytest.raises(ValueError, match="`w_ternary` must hold only -1, 0, and 1. Received: 2"):
        additions_only_product(ones, 2 * ones)
    with pytest.raises(ValueError, match=r"\[units, 3\]. Received: w_ternary.shape=\(1, 4\)"):
        additions_only_product(ones, np.ones((1, 4), "int8"))
    many = np.broadcast_to(np.int8(0), (1, 2**24))
    with pytest.raises(ValueError, match=r"fewer than 2\*\*24 features"):
        additions_only_product(many, many)


# === Round trips ===


def functional_model():
    images = keras.Input((8, 8, 3))
    x = Patches(4)(images)
    x = PatchEmbedding(4, 8, with_positions=True, per_feature_gain=True)(x)
    x = TransformerBlockMML(8, 12, 2, fully_mml=False)(x)
    shared = SwiGLUMML(8, intermediate_size=7)
    x = shared(shared(x)) + layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Concatenate()([GRUMML(6, return_sequences=True)(x), x])
    x = layers.BatchNormalization()(AttentionMML(1, 9)(RMSNorm(use_bias=True)(x)))
    x = DenseMML(6, activation="gelu", use_bias=False)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(images, layers.Dense(3, activation=keras.activations.softmax)(x))


def model_made_for_images(images=None):
    config = VisionMLGRUConfig(
        input_shape=(8, 8, 3), stem_units=5, embedding_dim=16, ffn_dim=24, directions=DIRECTIONS
    )
    return vision_mlgru(config, images)


def convolutional_model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            keras.Sequential([layers.Conv2D(4, 3, kernel_regularizer="l2"), layers.ReLU()], name="stem"),
            layers.Flatten(),
            DenseMML(7, kernel_constraint="unit_norm", kernel_initializer=keras.initializers.Constant(0.5)),
        ]
    )


def recurrent_model():
    images = keras.Input((8, 8, 3))
    x = keras.ops.sin(layers.Reshape((8, 24))(images)) * 2  # operations, as a functional model keeps them
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.TimeDistributed(DenseMML(5))(layers.GroupNormalization(2)(x))
    return keras.Model(images, layers.Softmax()(layers.PReLU()(layers.Flatten()(x))))


MODELS = {
    "recurrent": recurrent_model,
    "the book's, small": lambda: vision_transformer(SMALL, IMAGES),
    "made for images": lambda: model_made_for_images(IMAGES),
    "functional": functional_model,
    "with a convolution": convolutional_model,
    "one gain per feature": lambda: vision_transformer(dataclasses.replace(ONE_BLOCK, per_feature_gain=True), IMAGES),
    "without ternary layers": lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_the_same_bit_for_bit(name, tmp_path):
    model = trained(MODELS[name]())
    with optimized():
        save_packed(model, tmp_path / "model")
        loaded = load_packed(str(tmp_path / "model"))
        assert os.listdir(tmp_path) == ["model"]
        # The last batch is of one image, which ternary_linear treats apart.
        expected = model.predict(IMAGES, verbose=0)
        assert np.array_equal(loaded.predict(IMAGES, verbose=0), expected)

        packed = pack(model)
        assert [layer.name for layer in packed.layers] == [layer.name for layer in model.layers]
        assert np.array_equal(packed.predict(IMAGES, verbose=0), expected)
        assert np.array_equal(model.predict(IMAGES, verbose=0), expected), "the model itself has changed"
    for a, b in zip(packed.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("made_by", ["load_packed", "pack"])
@pytest.mark.parametrize("build", [functional_model, model_made_for_images])
def test_a_packed_model_is_saved_loaded_and_cloned_as_any_other(build, made_by, tmp_path):
    model = trained(build())
    if made_by == "pack":
        packed = pack(model)
    else:
        save_packed(model, tmp_path / "model")
        packed = load_packed(tmp_path / "model")
    expected = packed.predict(IMAGES, verbose=0)
    packed.save(tmp_path / "m.keras")
    cloned = keras.models.clone_model(packed)
    cloned.set_weights(packed.get_weights())
    for other in (keras.models.load_model(tmp_path / "m.keras"), cloned, pack(packed)):
        dense = [layer for layer in other._flatten_layers() if isinstance(layer, DenseMML)]
        assert dense and all(layer.quantization == "packed" for layer in dense)
        assert np.array_equal(other.predict(IMAGES, verbose=0), expected)


def float_and_ternary_model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Flatten(),
            DenseMML(7, quantization="float"),
            DenseMML(6),
            layers.Dense(2),
        ]
    )


def test_float_layers_stay_float(tmp_path):
    model = trained(float_and_ternary_model())
    expected = model.predict(IMAGES, verbose=0)
    save_packed(model, tmp_path / "model")
    assert len(read_packed(tmp_path / "model").ternary_shapes) == 1
    for packed in (pack(model), load_packed(tmp_path / "model")):
        assert [layer.quantization for layer in packed.layers[1:3]] == ["float", "packed"]
        np.testing.assert_allclose(packed.predict(IMAGES, verbose=0), expected, rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class Residual(layers.Layer):
    """A user's layer that contains a ternary one. It can be packed in memory but not in a file."""

    def __init__(self, quantization="ternary", **kwargs):
        super().__init__(**kwargs)
        self.quantization = quantization

    def build(self, input_shape):
        self.dense = DenseMML(input_shape[-1], quantization=self.quantization)
        self.dense.build(input_shape)

    def call(self, inputs):
        return inputs + self.dense(inputs)

    def get_config(self):
        return {**super().get_config(), "quantization": self.quantization}


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(Residual):
    def get_config(self):
        return layers.Layer.get_config(self)


def test_a_foreign_layer_that_passes_the_state_on_is_packed_in_memory(tmp_path):
    model = trained(keras.Sequential([keras.Input((3,)), Residual(), layers.Lambda(lambda x: 2 * x)]))
    x = RNG.standard_normal((4, 3)).astype("float32")
    packed = pack(model)
    assert packed.layers[0].dense.quantization == "packed"
    np.testing.assert_allclose(packed.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="must hold only layers and functions of Keras and mml"):
        save_packed(model, tmp_path / "model")


def test_a_foreign_layer_that_does_not_is_refused():
    model = keras.Sequential([keras.Input((3,)), Forgetful(name="own")])
    with pytest.raises(ValueError, match="must save the `quantization` .* Received: .*own/dense_mml.* is not saved"):
        pack(model)


@keras.saving.register_keras_serializable(package="tests")
class Scaled(keras.Model):
    """A user's model with a weight of its own."""

    def __init__(self, quantization="ternary", **kwargs):
        super().__init__(**kwargs)
        self.quantization = quantization
        self.dense = DenseMML(3, quantization=quantization)

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.scale * self.dense(inputs)

    def get_config(self):
        return {**super().get_config(), "quantization": self.quantization}


@keras.saving.register_keras_serializable(package="tests")
class ScaledDense(DenseMML):
    def build(self, input_shape):
        super().build(input_shape)
        self.alpha = self.add_weight(shape=(), initializer="ones", name="alpha")


def test_a_model_may_own_weights():
    model = Scaled()
    model.build((None, 4))
    model.scale.assign(5.0)
    x = RNG.standard_normal((3, 4)).astype("float32")
    np.testing.assert_allclose(pack(model).predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_a_ternary_layer_with_other_weights_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), ScaledDense(3, name="odd")])
    with pytest.raises(ValueError, match="only a kernel and a bias. Received: .*odd, which also owns other weights"):
        pack(model)


@pytest.mark.parametrize("quantization, ternary, word", [("packed", None, "without"), ("ternary", (1, 1), "with")])
def test_a_ternary_kernel_that_is_missing_or_left_over_is_named(quantization, ternary, word):
    with pytest.raises(ValueError, match=f"Received: odd {word} a ternary kernel"):
        give_weights(DenseMML(2, quantization=quantization, name="odd"), ternary, {})


def test_layers_of_the_same_name_in_a_file_are_refused(tmp_path):
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="b")], name="a")
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="a.b")])
    with pytest.raises(ValueError, match="layers of `model` must have different names"):
        save_packed(model, tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_the_loss_that_a_model_was_compiled_with_does_not_matter(tmp_path):
    model = keras.Sequential([keras.Input((4,)), DenseMML(2)])
    model.compile("sgd", loss=double)
    save_packed(model, tmp_path / "model")
    x = RNG.standard_normal((3, 4)).astype("float32")
    loaded = load_packed(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_arrays_are_stored_row_by_row(tmp_path, monkeypatch):
    # The memory of a torch tensor, such as an orthogonal kernel, may go column by column.
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    expected = model.get_weights()
    convert = keras.ops.convert_to_numpy
    monkeypatch.setattr("mml.packing.weights.ops.convert_to_numpy", lambda value: np.asfortranarray(convert(value)))
    save_packed(model, tmp_path / "model")
    monkeypatch.undo()
    for loaded, weight in zip(load_packed(tmp_path / "model").get_weights(), expected, strict=True):
        np.testing.assert_array_equal(loaded, weight)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("packed", [False, True])
def test_a_kernel_that_is_not_finite_is_refused(value, packed, tmp_path):
    model = keras.Sequential([keras.Input((4,)), DenseMML(2, name="odd")])
    if packed:
        model = pack(model)
        model.layers[0].w_scale.assign(value)
    else:
        kernel = np.ones((4, 2))
        kernel[0, 0] = value
        model.layers[0].kernel.assign(kernel)
    with pytest.raises(
        ValueError, match="finite weights. Received: values that are not finite in the kernel of .*odd"
    ):
        save_packed(model, tmp_path / "model")
    with pytest.raises(ValueError, match="finite weights"):
        pack(model)
    assert os.listdir(tmp_path) == []


def test_what_is_no_built_model_is_not_packed():
    with pytest.raises(ValueError, match="`model` must be a Keras model"):
        pack(DenseMML(2))
    with pytest.raises(ValueError, match="`model` must be built"):
        pack(keras.Sequential([DenseMML(2)]))


@pytest.mark.parametrize("shape", [(1, 16), (3, 4, 108), (32, 4, 16), (5, 64)], ids=str)
def test_a_layer_gives_the_same_bit_for_bit(shape, tmp_path):
    # Sizes at which a compiler fuses a multiplication with an addition in one program but not in another.
    models = [
        trained(keras.Sequential([keras.Input(shape[1:]), DenseMML(units, activation="silu")]))
        for units in (1, 8, 24)
    ]
    x = np.random.default_rng(2).standard_normal(shape).astype("float32")
    with optimized():
        for model in models:
            save_packed(model, tmp_path / "model")
            loaded = load_packed(tmp_path / "model")
            assert np.array_equal(loaded.predict_on_batch(x), model.predict_on_batch(x)), model.output_shape


def test_a_model_built_by_its_first_call(tmp_path):
    model = keras.Sequential([layers.Flatten(), DenseMML(5)])
    with pytest.raises(ValueError, match="`model` must be built"):
        save_packed(model, tmp_path / "model")
    expected = model.predict(IMAGES, verbose=0)
    save_packed(model, tmp_path / "model")
    assert np.array_equal(load_packed(tmp_path / "model").predict(IMAGES, verbose=0), expected)


def test_mixed_precision(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), DenseMML(20, dtype="mixed_bfloat16"), layers.Dense(3)]
    )
    trained(model)
    save_packed(model, tmp_path / "model")
    loaded = load_packed(tmp_path / "model")
    expected = model.predict(IMAGES, verbose=0)
    # Before it scales a product, the trained layer may round it to the 8 significant bits of bfloat16.
    tolerance = 2.0**-7 * np.abs(expected).max()
    np.testing.assert_allclose(loaded.predict(IMAGES, verbose=0), expected, rtol=0, atol=tolerance)


def test_float16_rounds_what_is_not_ternary_and_nothing_else(tmp_path):
    model = trained(vision_transformer(ONE_BLOCK, IMAGES))
    with optimized():
        save_packed(model, tmp_path / "model", rest="float16")
    for layer in model._flatten_layers():
        for weight in layer.weights:
            if not weight.path.endswith(("/kernel", "/mean", "/variance")) or layer.name == "dense":
                weight.assign(np.asarray(weight).astype("float16"))
    for name in ("adapt_mean", "adapt_variance"):
        normalization = model.get_layer("data_augmentation").get_layer("normalization")
        getattr(normalization, name).assign(np.asarray(getattr(normalization, name)).astype("float16"))
    normalization.finalize_state()
    with optimized():
        loaded = load_packed(tmp_path / "model")
        assert np.array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


def test_packing_again_changes_nothing(tmp_path):
    save_packed(small_model(), tmp_path / "first", class_names="abcdefghij")
    loaded = load_packed(tmp_path / "first")
    save_packed(loaded, tmp_path / "second", class_names="abcdefghij")
    first, second = read_packed(tmp_path / "first"), read_packed(tmp_path / "second")
    assert first.class_names == tuple("abcdefghij") and first.ternary_scales == second.ternary_scales
    assert all(np.array_equal(first.arrays[key], second.arrays[key]) for key in first.arrays)


def test_a_loaded_model_is_ternary_and_stays_so(tmp_path):
    model = small_model()
    save_packed(model, tmp_path / "model")
    loaded = load_packed(tmp_path / "model")
    assert loaded.trainable_weights == []
    kernels = [np.asarray(layer.w_ternary) for layer in loaded._flatten_layers() if isinstance(layer, DenseMML)]
    latent = [np.asarray(layer.kernel) for layer in model._flatten_layers() if isinstance(layer, DenseMML)]
    assert len(kernels) == len(latent) == 1 + 2 * 4 + 2
    for w_ternary, kernel in zip(kernels, latent, strict=True):
        kernel = kernel.astype("float64")
        expected = np.clip(np.round(kernel / np.abs(kernel).mean()), -1, 1)
        assert w_ternary.dtype == np.int8 and np.array_equal(w_ternary, expected.T)


@pytest.mark.parametrize(("rest", "megabytes"), [("float16", 2.6), ("float32", 3.1)])
def test_size_of_the_default_model(rest, megabytes, tmp_path):
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    save_packed(vision_transformer(), tmp_path / "model", names, rest)
    assert (tmp_path / "model").stat().st_size <= megabytes * 1e6
    packed = read_packed(tmp_path / "model")
    weights = sum(units * features for units, features in packed.ternary_shapes.values())
    packed_bytes = sum(packed.arrays[key].nbytes for key in packed.ternary_shapes)
    assert weights == 10_033_920 and 8 * packed_bytes / weights <= 1.61


# === What cannot be packed ===


class Foreign(layers.Layer):
    def call(self, inputs):
        return inputs


def double(x):
    return 2 * x


@pytest.mark.parametrize(
    "layer",
    [
        Foreign(name="odd"),
        layers.Lambda(double, name="odd"),
        layers.Dense(2, activation=double, name="odd"),
        DenseMML(2, activation=double, name="odd"),
        layers.TimeDistributed(Foreign(name="odd")),
        layers.Dense(2, activation=jax.nn.relu6, name="odd"),
        layers.Dense(2, activation=functools.partial(keras.activations.elu, alpha=2.0), name="odd"),
    ],
    ids=["layer", "Lambda", "function", "function of a DenseMML", "layer within a layer", "JAX's", "partial"],
)
def test_the_layer_that_cannot_be_packed_is_named(layer, tmp_path):
    model = keras.Sequential([keras.Input((4, 3)), layer])
    with pytest.raises(ValueError, match="'odd'"):
        save_packed(model, tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_a_lambda_cannot_be_packed(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, activation=lambda x: 2 * x, name="odd")])
    with pytest.raises(ValueError, match="Received: test_packing.<lambda> in the layer 'odd'"):
        save_packed(model, tmp_path / "model")


def test_wrong_arguments(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    path = tmp_path / "model"
    with pytest.raises(ValueError, match="`rest` must be 'float16' or 'float32'. Received: rest='int8'"):
        save_packed(model, path, rest="int8")
    with pytest.raises(ValueError, match="`model` must be a Keras model"):
        save_packed(layers.Dense(2), path)
    with pytest.raises(ValueError, match="`class_names` must be 2 strings"):
        save_packed(model, path, class_names=["cat"])
    with pytest.raises(ValueError, match="`class_names` must be 2 strings"):
        save_packed(model, path, class_names=[0, 1])
    model.layers[0].bias.assign([1e5, 0])
    with pytest.raises(ValueError, match="in float16. Received: dense.*, with absolute values up to 100000.0"):
        save_packed(model, path, rest="float16")
    model.layers[0].bias.assign([np.nan, 0])
    with pytest.raises(ValueError, match="finite in float32. Received: dense.* up to nan"):
        save_packed(model, path)
    assert os.listdir(tmp_path) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    model = small_model()
    save_packed(model, tmp_path / "model")
    before = (tmp_path / "model").read_bytes()

    def full_disk(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_packed(model, tmp_path / "model", rest="float16")
    assert (tmp_path / "model").read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


# === Damaged files ===


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "model"
    save_packed(small_model(), path)
    return path


def refused(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="damaged (is|must|cannot)") as error:
        load_packed(path)
    assert len(str(error.value)) < 600
    return str(error.value)


@settings(max_examples=3000, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_passes(file, tmp_path_factory, data):
    raw = bytearray(file.read_bytes())
    for _ in range(data.draw(st.sampled_from([1, 1, 1, 2, 20]))):
        position = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[position // 8] ^= 1 << position % 8
    if bytes(raw) != file.read_bytes():
        refused(tmp_path_factory, bytes(raw))


def test_no_flipped_bit_passes_in_any_byte_of_the_header(file, tmp_path_factory):
    raw = file.read_bytes()
    for position in range(8 + int.from_bytes(raw[:8], "little")):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << position % 8
        refused(tmp_path_factory, damaged)


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_no_truncated_or_changed_file_passes(file, tmp_path_factory, data):
    raw = file.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, len(raw)))
    replacement = data.draw(st.binary(max_size=40))
    changed = data.draw(st.sampled_from([raw[:start], raw[:start] + replacement + raw[end:], replacement]))
    if changed != raw:
        refused(tmp_path_factory, changed)


def test_no_file_and_no_packed_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_packed(tmp_path / "nothing")
    safetensors.numpy.save_file({"w": np.zeros(3)}, tmp_path / "other")
    with pytest.raises(ValueError, match="other is not a packed model"):
        load_packed(tmp_path / "other")


# === Forged files, whose checksum fits ===


def forged(file, tmp_path_factory, change):
    """Change the metadata and the arrays, and give the result a checksum that fits."""
    raw = file.read_bytes()
    metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    contents = safetensors.numpy.load(raw)
    change(metadata, contents)
    metadata["sha256"] = "0" * 64
    raw = safetensors.numpy.save(contents, metadata)
    digest = hashlib.sha256(raw).hexdigest()
    return refused(tmp_path_factory, re.sub(b'"sha256":"0{64}"', f'"sha256":"{digest}"'.encode(), raw, count=1))


def with_config(change):
    def change_metadata(metadata, contents):
        config = json.loads(metadata["config"])
        change(config["config"]["layers"])
        metadata["config"] = json.dumps(config)

    return change_metadata


def first_kernel(contents):
    return min(key for key in contents if key.endswith("/kernel"))


def a_trit_too_many(metadata, contents):
    contents[first_kernel(contents)][0] = 243


def another_version(metadata, contents):
    metadata["version"] = "2"


def another_format(metadata, contents):
    metadata["format"] = "other"


def a_weight_less(metadata, contents):
    contents.pop(next(key for key in contents if key.endswith("/0")))


def a_weight_more(metadata, contents):
    contents["other.0/0"] = np.zeros(3, "float32")


def a_kernel_transposed(metadata, contents):
    ternary = json.loads(metadata["ternary"])
    key = first_kernel(contents)
    ternary[key][:2] = ternary[key][1::-1]
    metadata["ternary"] = json.dumps(ternary)


def a_kernel_gone(metadata, contents):
    metadata["ternary"] = "{}"


def a_kernel_of_other_numbers(metadata, contents):
    # As Keras would store the variables of the layer, bias, kernel and scale, and so without a check of their values.
    ternary = json.loads(metadata["ternary"])
    key = first_kernel(contents)
    units, features, _ = ternary.pop(key)
    name = key.removesuffix("/kernel")
    del contents[key]
    contents[f"{name}/0"] = contents.pop(f"{name}/bias")
    contents[f"{name}/1"] = np.full((units, features), 7, "int8")
    contents[f"{name}/2"] = np.array(-1, "float32")
    metadata["ternary"] = json.dumps(ternary)


def nonsense(key, text):
    def change(metadata, contents):
        metadata[key] = text

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (a_trit_too_many, "bytes below 243. Received: 243"),
        (another_version, "Received: format 'mml packed model', version '2'"),
        (another_format, "Received: format 'other', version '1'"),
        (a_weight_less, "do not fit"),
        (a_weight_more, "do not fit"),
        (a_kernel_transposed, "do not fit"),
        (a_kernel_gone, "do not fit"),
        (a_kernel_of_other_numbers, "do not fit"),
        (lambda metadata, contents: metadata.pop("rest"), "can be loaded: KeyError: 'rest'"),
        (nonsense("config", "{"), "not a packed model"),
        (nonsense("config", "[]"), "do not fit"),
        (nonsense("config", "[" * 100_000), "not a packed model"),
        (nonsense("ternary", "[[1, 2, 3]]"), "not a packed model"),
        (nonsense("ternary", '{"a/kernel": [1e300, 1, 1]}'), "not a packed model"),
        (nonsense("ternary", '{"a/kernel": [-1, -128, 1]}'), "not a packed model"),
        (nonsense("class_names", "7"), "not a packed model"),
    ],
)
def test_forged_contents(file, tmp_path_factory, change, word):
    assert word in forged(file, tmp_path_factory, change)


SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}


@keras.saving.register_keras_serializable(package="mml")
def disguised(x):
    """Registered under this package's name, but from elsewhere."""
    return x


def dense_with(activation):
    function = {"module": "builtins", "class_name": "function", "config": activation, "registered_name": "function"}
    return {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"units": 2, "activation": function},
        "registered_name": None,
    }


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "os", "class_name": "system", "config": {"command": "false"}, "registered_name": None},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "relu"}, "registered_name": None},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/"}, "registered_name": None},
        {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, "activation": SYSTEM}},
        {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}, "registered_name": "a>Foreign"},
        {"module": "mml.training", "class_name": "train", "config": {}, "registered_name": "train"},
        {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}},
        *map(dense_with, ["mml>disguised", "mml>DenseMML", "mml>unknown", "tests>Residual", "system", 7]),
        {
            "module": "keras.utils",
            "class_name": "get_file",
            "config": {"origin": "file:///"},
            "registered_name": None,
        },
    ],
    ids=lambda layer: layer["class_name"],
)
def test_a_foreign_configuration_is_refused(file, tmp_path_factory, layer):
    error = forged(file, tmp_path_factory, with_config(lambda stack: stack.append(layer)))
    # Refused before Keras sees it, but for a function of its own, which Keras does not call.
    own = layer["class_name"] == "get_file"
    assert ("do not fit" if own else "must hold only layers and functions of Keras and mml") in error


@pytest.mark.parametrize(
    ("name", "value"),
    [("units", 10**12), ("units", 10**5), ("units", -1), ("use_bias", False), ("units", "many")],
)
def test_an_architecture_that_asks_for_more_or_less_is_refused(file, tmp_path_factory, name, value):
    def change(stack):
        stack[-1]["config"][name] = value

    assert "do not fit" in forged(file, tmp_path_factory, with_config(change))


@pytest.mark.parametrize("name", ["embedding_dim", "ffn_dim", "num_patches"])
def test_a_layer_within_a_layer_gets_no_absurd_memory(file, tmp_path_factory, name):
    def change(stack):
        for layer in stack:
            if name in layer["config"]:
                layer["config"][name] *= 10**9

    assert "do not fit" in forged(file, tmp_path_factory, with_config(change))


def test_an_absurd_length_of_the_header(tmp_path_factory):
    refused(tmp_path_factory, struct.pack("<Q", 2**64 - 1) + b"{}")
