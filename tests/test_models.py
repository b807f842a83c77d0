import dataclasses
import re

import jax
import keras
import numpy as np
import oracle
import pytest
from comparison import assert_ternary, draw_weights

from mml import layers
from mml.layers.ternary_layer import TernaryLayer
from mml.models import (
    Augmentation,
    VisionMLGRUConfig,
    VisionTransformerConfig,
    attention_vision_transformer,
    data_augmentation,
    float_vision_mlgru,
    float_vision_transformer,
    vision_mlgru,
    vision_transformer,
)

SMALL = VisionTransformerConfig(
    input_shape=(8, 8, 3),
    num_classes=3,
    image_size=12,
    patch_size=6,
    projection_dim=8,
    transformer_layers=1,
    num_heads=2,
    head_units=(8,),
)
SMALL_MLGRU = VisionMLGRUConfig(
    input_shape=(8, 8, 3),
    num_classes=3,
    stem_units=5,
    merge_size=3,
    embedding_dim=8,
    ffn_dim=12,
    num_blocks=2,
    directions=("right", "up"),
)
both_models = pytest.mark.parametrize(
    "build, config", [(vision_transformer, SMALL), (vision_mlgru, SMALL_MLGRU)], ids=["transformer", "mlgru"]
)


def images(count=6, config=SMALL):
    return np.random.default_rng(0).integers(0, 256, size=(count, *config.input_shape), dtype="uint8")


def compiled(model):
    model.compile(
        keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
    )
    return model


def fit(model):
    labels = np.array([0, 1, 2, 1, 0, 2])
    return model.fit(images(), labels, batch_size=3, epochs=2, shuffle=False, verbose=0).history


@pytest.fixture(scope="module")
def default_model():
    return vision_transformer()


def test_the_default_configuration_is_the_seed_s():
    assert dataclasses.asdict(VisionTransformerConfig()) == {
        "input_shape": (32, 32, 3),
        "num_classes": 10,
        "image_size": 72,
        "patch_size": 6,
        "projection_dim": 64,
        "transformer_layers": 8,
        "num_heads": 4,
        "dropout": 0.1,
        "head_units": (1024, 256),
        "head_dropout": 0.5,
        "per_feature_gain": False,
        "augmentation": {"flip": True, "rotation": 0.02, "zoom": 0.2, "translation": 0.0, "erasing": 0.0},
    }
    assert VisionTransformerConfig().num_patches == 144
    with pytest.raises(dataclasses.FrozenInstanceError):
        VisionTransformerConfig().patch_size = 4


def test_the_parameter_table_is_the_seed_s_to_the_digit(default_model):
    block = ("TransformerBlockMML", (None, 144, 64), 69_440)
    assert [(type(layer).__name__, layer.output.shape, layer.count_params()) for layer in default_model.layers] == [
        ("Sequential", (None, 72, 72, 3), 7),
        ("Patches", (None, 144, 108), 0),
        ("PatchEmbedding", (None, 144, 64), 31_744),
        *[block] * 8,
        ("LayerNormalization", (None, 144, 64), 128),
        ("Flatten", (None, 9216), 0),
        ("Dropout", (None, 9216), 0),
        ("DenseMML", (None, 1024), 9_447_424),
        ("DenseMML", (None, 256), 263_424),
        ("Dense", (None, 10), 2_570),
    ]
    assert default_model.layers[0].name == "data_augmentation"
    assert default_model.layers[0].trainable_weights == []
    assert default_model.count_params() == 10_300_817
    assert sum(int(np.prod(weight.shape)) for weight in default_model.trainable_weights) == 10_300_810


def test_the_summary_shows_the_table(default_model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # of the terminal; the table is cut to it
    lines = []
    default_model.summary(print_fn=lines.append)
    summary = "\n".join(lines)
    for number in ["31,744", "9,447,424", "263,424", "2,570"]:
        assert summary.count(f" {number} ") == 1, number
    assert summary.count(" 69,440 ") == 8
    assert "Total params: 10,300,817 (39.29 MB)" in summary
    assert "Trainable params: 10,300,810 (39.29 MB)" in summary
    # One of them counts images, on TensorFlow in 64 bits.
    size = 32 if keras.backend.backend() == "tensorflow" else 28
    assert f"Non-trainable params: 7 ({size}.00 B)" in summary


def test_the_rates_and_activations_are_the_seed_s(default_model):
    blocks = [layer for layer in default_model.layers if isinstance(layer, layers.TransformerBlockMML)]
    assert {(b.embedding_dim, b.ffn_dim, b.num_heads, b.fully_mml, b.rate) for b in blocks} == {
        (64, 128, 4, True, 0.1)
    }
    norm, _, dropout, first, second, last = default_model.layers[-6:]
    assert norm.epsilon == 1e-6 and dropout.rate == 0.5
    assert [layer.activation for layer in (first, second, last)] == [keras.activations.linear] * 3
    rotation, zoom = default_model.layers[0].layers[-2:]
    assert rotation.factor == (-0.02, 0.02) and zoom.height_factor == zoom.width_factor == 0.2


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="elsewhere Keras compiles with an accelerator, or not at all"
)
def test_the_default_model_compiles_for_jit_without_a_warning(default_model):
    # Keras warns, and falls back, when a layer says that it cannot be compiled; warnings are errors here.
    default_model.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile="auto")
    assert default_model.jit_compile is True
    default_model.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True)
    assert default_model.jit_compile is True


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="looks for what JAX passes when it compiles")
def test_training_is_one_compiled_program(monkeypatch):
    seen = []
    call = layers.RandomZoom.call

    def record(self, inputs, training=False):
        seen.append(isinstance(inputs, jax.core.Tracer))
        return call(self, inputs, training=training)

    monkeypatch.setattr(layers.RandomZoom, "call", record)
    model = compiled(vision_transformer(SMALL))
    assert model.jit_compile is True
    seen.clear()
    fit(model)
    # Op by op, the layer would be called with arrays, and in each of the four steps.
    assert 0 < len(seen) < 4 and all(seen)


@both_models
def test_training_goes_on_after_loading_as_if_nothing_had_happened(tmp_path, build, config):
    model = compiled(build(config, images()))
    fit(model)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.jit_compile is (keras.backend.backend() == "jax")
    model.save_weights(tmp_path / "m.weights.h5")
    keras.utils.set_random_seed(2)
    restored = compiled(build(config))
    restored.optimizer.build(restored.trainable_variables)
    restored.load_weights(tmp_path / "m.weights.h5")

    expected = fit(model)
    for other in (loaded, restored):
        assert fit(other) == expected
        for a, e in zip(other.variables, model.variables, strict=True):
            np.testing.assert_array_equal(a, e)
        assert_ternary(other)


@both_models
def test_the_same_seed_gives_the_same_history(build, config):
    histories = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        histories.append(fit(compiled(build(config))))
    assert histories[0] == histories[1] != histories[2]


@both_models
def test_called_directly_the_model_is_in_inference(build, config):
    x = images()
    model = build(config, x)
    output = np.asarray(model(x))
    np.testing.assert_array_equal(model(x), output)
    np.testing.assert_array_equal(model(x, training=False), output)
    predicted = model.predict(x, verbose=0)
    # A value at a rounding boundary may fall to either side in the compiled program: a step is 1/127.
    np.testing.assert_allclose(predicted, output, atol=0.05 * np.max(np.abs(output)))
    first, second = np.asarray(model(x, training=True)), np.asarray(model(x, training=True))
    assert np.any(first != output) and np.any(first != second)


def test_augmentation_varies_images_in_training_only():
    config, x = VisionTransformerConfig(), images(4, VisionTransformerConfig())
    augmentation = data_augmentation(config, x)
    plain = np.asarray(augmentation(x))
    assert plain.shape == (4, 72, 72, 3)
    np.testing.assert_array_equal(augmentation(x), plain)
    varied = np.asarray(augmentation(x, training=True))
    assert varied.shape == plain.shape and np.any(varied != plain)
    normalized = np.asarray(augmentation.layers[0](x))
    np.testing.assert_allclose(normalized.mean((0, 1, 2)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(normalized.std((0, 1, 2)), np.ones(3), rtol=1e-4)
    np.testing.assert_allclose(normalized, (x - x.mean((0, 1, 2))) / x.std((0, 1, 2)), rtol=1e-4, atol=1e-4)


@both_models
def test_normalization_comes_with_the_weights(tmp_path, build, config):
    model = build(config, images())
    model.save_weights(tmp_path / "m.weights.h5")
    other = build(config)
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other(images()), model(images()))


def test_a_gain_for_each_feature():
    model = vision_transformer(dataclasses.replace(SMALL, per_feature_gain=True))
    gains = [weight.shape for weight in model.weights if weight.name == "gain"]
    assert gains and all(len(shape) == 1 for shape in gains)
    assert model.predict(images(), verbose=0).shape == (6, 3)


@both_models
def test_rectangular_gray_images(build, config):
    config = dataclasses.replace(config, input_shape=(5, 9, 1))
    assert build(config).predict(images(config=config), verbose=0).shape == (6, 3)


@pytest.mark.parametrize(
    "name", ["num_classes", "image_size", "patch_size", "projection_dim", "transformer_layers", "num_heads"]
)
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None])
def test_sizes_must_be_positive_integers(name, value):
    with pytest.raises(ValueError, match=rf"{name}.*{value}"):
        VisionTransformerConfig(**{name: value})


@pytest.mark.parametrize(
    "name, value",
    [
        ("dropout", 1.5),
        ("dropout", "half"),
        ("head_dropout", -0.1),
        ("patch_size", 7),
        ("num_heads", 3),
        ("augmentation", None),
    ],
)
def test_what_makes_no_model_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        VisionTransformerConfig(**{name: value})


@pytest.mark.parametrize(
    "name, value, expected",
    [
        *(("input_shape", value, "three positive integers") for value in [(32, 32), (32, 0, 3), 32]),
        *(("head_units", value, "positive integers") for value in [(8, 0), 8]),
    ],
)
def test_tuples_that_make_no_model_are_shown_whole(name, value, expected):
    message = rf"`{name}` must be a tuple of {expected}.* Received: {name}={re.escape(repr(value))}$"
    with pytest.raises(ValueError, match=message):
        VisionTransformerConfig(**{name: value})


def test_equal_configurations_hold_equal_python_numbers():
    config = VisionTransformerConfig(
        projection_dim=np.int64(64), head_units=[np.int32(1024), 256], head_dropout=np.float64(0.5), dropout=0.1
    )
    assert config == VisionTransformerConfig()
    assert repr(config) == repr(VisionTransformerConfig())
    assert repr(VisionTransformerConfig(dropout=0)) == repr(VisionTransformerConfig(dropout=0.0))


def test_the_float_model_has_the_same_weights_and_rounds_nothing():
    keras.utils.set_random_seed(0)
    ternary = vision_transformer(SMALL, images())
    keras.utils.set_random_seed(0)
    model = float_vision_transformer(SMALL, images())
    for weight, expected in zip(model.weights, ternary.weights, strict=True):
        assert weight.name == expected.name and np.array_equal(weight, expected)
    dense = model.layers[-2]
    assert isinstance(dense, layers.DenseMML)
    x = np.random.default_rng(0).standard_normal((5, dense.kernel.shape[0]))
    kernel, bias, gain = (np.asarray(weight, "float64") for weight in dense.weights)
    np.testing.assert_allclose(dense(x.astype("float32")), oracle.rms_norm(x, gain) @ kernel + bias, rtol=1e-4)
    differ = np.abs(model.predict(images(), verbose=0) - ternary.predict(images(), verbose=0)).max()
    assert differ > 0.01, "every product is one of floats"


@pytest.mark.parametrize("head_units", [(16, 8), ()], ids=["ternary head", "no ternary head"])
def test_the_float_model_trains_and_is_loaded_as_one(tmp_path, head_units):
    config = dataclasses.replace(SMALL, transformer_layers=1, head_units=head_units)
    model = compiled(float_vision_transformer(config, images()))
    fit(model)
    expected = model.predict(images(), verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.keras")
    again = float_vision_transformer(config)
    again.load_weights(tmp_path / "model.weights.h5")
    for other in (again, keras.models.load_model(tmp_path / "model.keras")):
        assert np.array_equal(other.predict(images(), verbose=0), expected)


def test_the_attention_model_has_the_sizes_of_the_configuration():
    config = dataclasses.replace(SMALL, transformer_layers=2, head_units=(16, 8))
    model = attention_vision_transformer(config, images())
    d, heads, tokens, patch = 8, 2, 4, 6 * 6 * 3
    attention = 3 * (d * heads * d + heads * d) + heads * d * d + d
    feed_forward = d * 2 * d + 2 * d + 2 * d * d + d
    head = (tokens * d) * 16 + 16 + 16 * 8 + 8 + 8 * 3 + 3
    trained = patch * d + d + tokens * d + 2 * (attention + feed_forward + 2 * 2 * d) + 2 * d + head
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == trained


def test_the_attention_model_learns():
    keras.utils.set_random_seed(0)
    model = compiled(
        attention_vision_transformer(dataclasses.replace(SMALL, dropout=0.0, head_dropout=0.0), images())
    )
    losses = model.fit(images(), np.array([0, 1, 2, 1, 0, 2]), epochs=60, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2


# === The model made for images ===


def test_by_default_an_image_of_cifar_10_becomes_64_tokens():
    config = VisionMLGRUConfig()
    assert (config.input_shape, config.num_classes) == ((32, 32, 3), 10)
    assert config.patch_grid == (16, 16) and config.grid == (8, 8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.patch_size = 4


@pytest.mark.parametrize(
    "height, width, patches, tokens", [(32, 32, (16, 16), (8, 8)), (5, 9, (3, 5), (2, 3)), (1, 2, (1, 1), (1, 1))]
)
def test_each_step_halves_both_sides(height, width, patches, tokens):
    config = VisionMLGRUConfig(input_shape=(height, width, 3))
    assert (config.patch_grid, config.grid) == (patches, tokens)


def ternary_parameters(features, units):
    return features * units + units + features  # kernel, bias, gain


@pytest.mark.parametrize(
    "config",
    [
        VisionMLGRUConfig(),
        VisionMLGRUConfig((9, 6, 1), 7, 4, 5, 2, 16, 24, 3, augmentation=Augmentation(flip=False)),
    ],
    ids=["default", "other"],
)
def test_parameters_are_those_of_the_formulas(config):
    model = vision_mlgru(config)
    height, width, channels = config.input_shape
    patches = (-(-height // 2), -(-width // 2))
    tokens = -(-patches[0] // 2) * -(-patches[1] // 2)
    d, f, stem = config.embedding_dim, config.ffn_dim, config.stem_units
    patch, merged = config.patch_size**2 * channels, config.merge_size**2 * stem
    mixer = ternary_parameters(d, 3 * d) + ternary_parameters(d, d)
    block = mixer + ternary_parameters(d, 2 * f) + ternary_parameters(f, d)
    table = [
        ("Normalization", (height, width, channels), 2 * channels + 1),
        ("Patches", (patches[0] * patches[1], patch), 0),
        ("DenseMML", (patches[0] * patches[1], stem), ternary_parameters(patch, stem)),
        ("Reshape", (*patches, stem), 0),
        ("Patches", (tokens, merged), 0),
        ("PatchEmbedding", (tokens, d), ternary_parameters(merged, d)),
        *[("VisionBlockMML", (tokens, d), block)] * config.num_blocks,
        ("RMSNorm", (tokens, d), 0),
        ("GlobalAveragePooling1D", (d,), 0),
        ("RMSNorm", (d,), d),
        ("Dense", (config.num_classes,), d * config.num_classes + config.num_classes),
    ]
    found = [
        (type(layer).__name__, layer.output.shape[1:], layer.count_params())
        for layer in model.layers
        if not layer.name.startswith("random_")
    ]
    assert found == table


def test_blocks_scan_in_the_directions_in_turn():
    def scanned(**kwargs):
        model = vision_mlgru(dataclasses.replace(SMALL_MLGRU, **kwargs))
        return [layer.mixer.direction for layer in model.layers if isinstance(layer, layers.VisionBlockMML)]

    assert scanned(num_blocks=2, directions=VisionMLGRUConfig().directions) == ["right", "right"]
    assert scanned(num_blocks=3, directions=["up", "right"]) == ["up", "right", "up"]


def test_all_biases_are_zero_at_the_start():
    biases = [weight for weight in vision_mlgru(SMALL_MLGRU).weights if weight.name == "bias"]
    assert len(biases) > SMALL_MLGRU.num_blocks
    for bias in biases:
        np.testing.assert_array_equal(bias, 0)


def with_drawn_weights(model, x):
    """Nothing at a special value, and the normalization of the images."""
    normalization = model.get_layer("normalization")
    normalization.adapt(x)
    others = [layer for layer in model.layers if layer is not normalization]
    for layer in others:
        layer.set_weights(draw_weights(layer, np.random.default_rng(0)))
    return model


def by_the_formula(model, config, x):
    weights = [np.asarray(weight, "float64") for weight in model.get_weights()]
    directions = [config.directions[index % len(config.directions)] for index in range(config.num_blocks)]
    arguments = {"patch_size": config.patch_size, "merge_size": config.merge_size, "grid": config.grid}
    return oracle.vision_mlgru(x.astype("float64"), *weights, **arguments, directions=directions).real


def test_the_model_made_for_images_equals_the_formula():
    config = dataclasses.replace(SMALL_MLGRU, input_shape=(6, 7, 3), directions=("down", "left"))
    model = with_drawn_weights(vision_mlgru(config), images(config=config))

    def draw(rng):
        return [rng.integers(0, 256, size=(1, *config.input_shape)).astype("float32")]

    (image,), (other,) = oracle.away_from_boundaries(draw, lambda x: by_the_formula(model, config, x), 2, margin=1e-5)
    x = np.concatenate([image, other])
    np.testing.assert_allclose(model.predict(x, verbose=0), by_the_formula(model, config, x), rtol=1e-3, atol=1e-3)


def test_its_float_twin_has_the_same_weights_and_rounds_nothing(monkeypatch):
    keras.utils.set_random_seed(0)
    ternary = vision_mlgru(SMALL_MLGRU, images())
    keras.utils.set_random_seed(0)
    model = float_vision_mlgru(SMALL_MLGRU, images())
    for weight, expected in zip(model.weights, ternary.weights, strict=True):
        assert weight.name == expected.name and np.array_equal(weight, expected)
    with_drawn_weights(model, images())
    monkeypatch.setattr(oracle, "absmax_quantize", lambda x: (x, 1.0))
    monkeypatch.setattr(oracle, "absmean_ternarize", lambda w: (w, 1.0))
    expected = by_the_formula(model, SMALL_MLGRU, images())
    np.testing.assert_allclose(model.predict(images(), verbose=0), expected, rtol=1e-4, atol=1e-4)
    ternary.set_weights(model.get_weights())
    assert np.abs(model.predict(images(), verbose=0) - ternary.predict(images(), verbose=0)).max() > 0.01


@pytest.mark.parametrize("quantization", ["float", "ternary", "packed"])
def test_all_its_ternary_layers_are_in_the_state_asked_for(quantization):
    model = vision_mlgru(SMALL_MLGRU, quantization=quantization)
    parts = [layer for layer in model._flatten_layers() if isinstance(layer, TernaryLayer)]
    # Of a block: itself, scan, recurrence and its two products, network and its two.
    assert len(parts) == 1 + 2 + SMALL_MLGRU.num_blocks * 8
    assert {layer.quantization for layer in parts} == {quantization}


def test_another_state_is_refused():
    with pytest.raises(ValueError, match="`quantization` must be 'float', 'ternary', or 'packed'. Received"):
        vision_mlgru(SMALL_MLGRU, quantization="int4")


def test_no_mask_arises_from_images():
    tokens = [layer.output for layer in vision_mlgru(SMALL_MLGRU).layers]
    assert all(getattr(tensor, "_keras_mask", None) is None for tensor in tokens)


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="elsewhere Keras compiles with an accelerator, or not at all"
)
def test_the_default_model_made_for_images_compiles_for_jit_without_a_warning():
    everything = Augmentation(rotation=0.1, zoom=0.1, translation=0.1, erasing=0.1)
    model = vision_mlgru(dataclasses.replace(SMALL_MLGRU, augmentation=everything))
    assert compiled(model).jit_compile is True
    assert np.isfinite(fit(model)["loss"]).all()


def test_the_model_made_for_images_learns():
    keras.utils.set_random_seed(0)
    config = dataclasses.replace(SMALL_MLGRU, augmentation=Augmentation(flip=False))
    model = vision_mlgru(config, images())
    model.compile(keras.optimizers.AdamW(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(images(), np.array([0, 1, 2, 1, 0, 2]), epochs=40, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 4


@pytest.mark.parametrize(
    "name", ["num_classes", "patch_size", "stem_units", "merge_size", "embedding_dim", "ffn_dim", "num_blocks"]
)
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None])
def test_its_sizes_must_be_positive_integers(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be a positive integer. Received: {name}={value!r}"):
        VisionMLGRUConfig(**{name: value})


@pytest.mark.parametrize(
    "name, value",
    [
        ("input_shape", (32, 32)),
        ("input_shape", (32, 0, 3)),
        ("input_shape", 32),
        ("directions", ()),
        ("directions", "right"),
        ("directions", ("right", "forward")),
        ("directions", None),
        ("augmentation", None),
        ("augmentation", {"flip": True}),
    ],
)
def test_what_makes_no_model_made_for_images_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be .* Received: {name}={re.escape(repr(value))}$"):
        VisionMLGRUConfig(**{name: value})


def test_its_equal_configurations_hold_equal_python_numbers():
    expected = VisionMLGRUConfig(stem_units=48, directions=("left", "up"))
    config = VisionMLGRUConfig([np.int64(32), 32, 3], stem_units=np.int32(48), directions=["left", "up"])
    assert config == expected and hash(config) == hash(expected) and repr(config) == repr(expected)


# === Augmentation ===


def test_only_the_variations_asked_for_are_in_the_model():
    def random(**kwargs):
        model = vision_mlgru(dataclasses.replace(SMALL_MLGRU, augmentation=Augmentation(**kwargs)))
        return [layer for layer in model.layers if layer.name.startswith("random_")]

    assert random(flip=False) == []
    assert [layer.name for layer in random()] == ["random_flip"]
    flip, rotation, zoom, translation, erasing = random(rotation=0.1, zoom=0.2, translation=0.3, erasing=0.4)
    assert isinstance(flip, layers.RandomFlip) and flip.mode == "horizontal"
    assert isinstance(rotation, layers.RandomRotation) and rotation.factor == (-0.1, 0.1)
    assert isinstance(zoom, layers.RandomZoom) and zoom.height_factor == zoom.width_factor == 0.2
    assert isinstance(translation, layers.RandomTranslation)
    assert translation.height_factor == translation.width_factor == (-0.3, 0.3)
    assert isinstance(erasing, layers.RandomErasing) and erasing.factor == (1, 1)
    assert erasing.scale == (0.4, 0.4) and erasing.fill_value == 0


@pytest.mark.parametrize("name", ["rotation", "translation", "erasing"])
@pytest.mark.parametrize("value", [-0.1, 1.1, "0.1", None, True, float("nan")], ids=str)
def test_variations_are_shares(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a number from 0 to 1. Received: {name}={value!r}"):
        Augmentation(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1, 1.0, 2, "0.1", None, True, float("nan")], ids=str)
def test_no_zoom_to_nothing(value):
    message = f"`zoom` must be a number of at least 0 and below 1. Received: zoom={value!r}"
    with pytest.raises(ValueError, match=message):
        Augmentation(zoom=value)


@both_models
@pytest.mark.parametrize("shape", [(0, 32, 32, 3), (32, 32, 3), (4, 32, 32), (4, 32, 32, 1)], ids=str)
def test_images_for_the_normalization_are_checked(build, config, shape):
    with pytest.raises(ValueError, match=r"`images` must have the shape \[batch, height, width, 3\]"):
        build(config, images=np.zeros(shape, "uint8"))


@both_models
def test_the_models_do_not_depend_on_the_data_format_of_keras(build, config):
    expected = [layer.output.shape for layer in build(config).layers]
    keras.config.set_image_data_format("channels_first")
    try:
        actual = [layer.output.shape for layer in build(config).layers]
    finally:
        keras.config.set_image_data_format("channels_last")
    assert actual == expected


@pytest.mark.parametrize("value", [None, 1, "horizontal"])
def test_images_are_flipped_or_not(value):
    with pytest.raises(ValueError, match=f"`flip` must be a `bool`. Received: flip={value!r}"):
        Augmentation(flip=value)
