"""`mml.training.recipe`: the configuration, and the optimizer, loss and metrics against their formulas."""

import dataclasses

import keras
import numpy as np
import pytest

from mml.models import (
    VisionMLGRUConfig,
    VisionTransformerConfig,
    attention_vision_transformer,
    vision_mlgru,
    vision_transformer,
)
from mml.training import RECIPES, TrainingConfig, compile_model
from mml.training.recipe import SmoothedCrossentropy

# It has every part of the recipe that goes with the model made for images.
RECIPE = TrainingConfig(
    learning_rate=0.03,
    weight_decay=0.2,
    optimizer="muon",
    schedule="cosine",
    warmup=0.25,
    decay_until=0.5,
    label_smoothing=0.1,
)


def test_defaults_are_the_seeds():
    config = TrainingConfig()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    compile_model(model, config)
    assert (config.epochs, config.batch_size, config.validation_split) == (5, 32, 0.1)
    seeds = keras.optimizers.AdamW(1e-3, weight_decay=1e-4, name=model.optimizer.name)
    assert type(model.optimizer) is type(seeds)
    assert model.optimizer.get_config() == seeds.get_config()
    assert type(model.loss) is keras.losses.SparseCategoricalCrossentropy
    x, y = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40)[:, None] % 10
    logits = model.predict(x, verbose=0).astype("float64")
    result = model.evaluate(x, y, verbose=0, return_dict=True)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    ranks = (logits > np.take_along_axis(logits, y, 1)).sum(-1)
    assert result["loss"] == pytest.approx(-np.take_along_axis(log_p, y, 1).mean(), rel=1e-5)
    assert result["acc"] == pytest.approx((ranks == 0).mean())
    assert result["top_5_acc"] == pytest.approx((ranks < 5).mean())


@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig(schedule="cosine"),
        TrainingConfig(decay_until=0.5),
        TrainingConfig(optimizer="muon"),
    ],
    ids=["schedule", "decay that ends", "Muon"],
)
def test_steps_are_asked_for(config):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    with pytest.raises(
        ValueError, match="`steps` must be the number of steps.* if `config` has .*Received: steps=None"
    ):
        compile_model(model, config)
    compile_model(model, config, steps=1)
    for steps in (0, 2.5, True):
        for each in (config, TrainingConfig()):
            with pytest.raises(ValueError, match="`steps` must be a positive integer. Received: steps="):
                compile_model(model, each, steps=steps)


def test_muon_asks_for_a_model_that_is_built():
    with pytest.raises(ValueError, match="`model` must be built and have weights.*Received: model=<Sequential"):
        compile_model(keras.Sequential([keras.layers.Dense(10)]), RECIPE, steps=8)


def test_muon_finds_the_classifier_of_a_model_within_a_model():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="hidden"), keras.layers.Dense(10)])
    model = keras.Sequential([keras.Input((4,)), inner])
    compile_model(model, RECIPE, steps=8)
    model.optimizer.build(model.trainable_variables)
    by_muon = [weight.path for weight in model.trainable_variables if not model.optimizer._should_use_adamw(weight)]
    assert [path.split("/", 1)[1] for path in by_muon] == ["hidden/kernel"]


def test_top_5_of_fewer_classes_is_everything():
    config = TrainingConfig(VisionTransformerConfig(num_classes=2))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    compile_model(model, config)
    x, y = np.zeros((8, 4), "float32"), np.arange(8) % 2
    assert model.evaluate(x, y, verbose=0, return_dict=True)["top_5_acc"] == 1


@pytest.mark.parametrize("config", [TrainingConfig(), RECIPE], ids=["seed", "new"])
def test_a_compiled_model_survives_a_file(tmp_path, config):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6), keras.layers.Dense(10)])
    compile_model(model, config, steps=8)
    x, y = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40) % 10
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    results = [each.evaluate(x, y, verbose=0) for each in (model, loaded)]
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    for each in (model, loaded):
        each.fit(x, y, shuffle=False, verbose=0)
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_step_is_adamws():
    """One step on a linear model, against the algorithm's own formula in NumPy."""
    rate, decay, (b1, b2), epsilon = 0.03, 0.2, (0.9, 0.999), 1e-7
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    compile_model(model, TrainingConfig(learning_rate=rate, weight_decay=decay))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4)).astype("float32"), np.arange(5)
    model.set_weights([rng.normal(size=(4, 6)), rng.normal(size=6)])
    moments = [(0, 0), (0, 0)]
    for step in (1, 2):
        kernel, bias = (np.asarray(weight, "float64") for weight in model.get_weights())
        logits = x @ kernel + bias
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        error = (p - np.eye(6)[y]) / 5
        gradients = x.T @ error, error.sum(0)
        moments = [
            (b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2) for g, (m, v) in zip(gradients, moments, strict=True)
        ]
        model.fit(x, y, batch_size=5, verbose=0)
        for before, (m, v), after in zip((kernel, bias), moments, model.get_weights(), strict=True):
            update = m / (1 - b1**step) / (np.sqrt(v / (1 - b2**step)) + epsilon)
            np.testing.assert_allclose(after, before - rate * (decay * before + update), rtol=0, atol=0.01 * rate)


# === The new recipe ===


def new_rate(step, steps, config):
    """Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677, section 2.2; Loshchilov and Hutter,
    "SGDR", 2017, arXiv:1608.03983, equation 5, without restarts."""
    warmup = round(config.warmup * steps)
    if step < warmup:
        return config.learning_rate * step / warmup
    return config.learning_rate * (1 + np.cos(np.pi * (step - warmup) / (steps - warmup))) / 2


@pytest.mark.parametrize("steps", [1, 20])
@pytest.mark.parametrize("warmup", [0.0, 0.25, 0.999])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_learning_rate_of_each_step(optimizer, warmup, steps):
    config = dataclasses.replace(RECIPE, optimizer=optimizer, warmup=warmup)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    compile_model(model, config, steps)
    rates = []
    for step in range(steps + 1):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    # At least one step must follow the warm-up.
    config = dataclasses.replace(config, warmup=min(round(warmup * steps), steps - 1) / steps)
    np.testing.assert_allclose(rates, [new_rate(step, steps, config) for step in range(steps + 1)], atol=1e-8)
    assert rates[-1] == pytest.approx(0, abs=1e-8)


def test_a_constant_rate_stays():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    compile_model(model, TrainingConfig(optimizer="muon", learning_rate=0.03), steps=20)
    for step in (0, 10, 20):
        model.optimizer.iterations.assign(step)
        assert float(model.optimizer.learning_rate) == pytest.approx(0.03)


def orthogonal(matrix):
    """Five steps of Newton and Schulz, as in the listing of https://kellerjordan.github.io/posts/muon/."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_steps_of_the_new_recipe(optimizer):
    """A run of eight steps on a deep linear model, each against the algorithm's own formula in NumPy."""
    config, steps, classes = dataclasses.replace(RECIPE, optimizer=optimizer), 8, 6
    (b1, b2), epsilon, momentum = (0.9, 0.95), 1e-7, 0.95
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7), keras.layers.Dense(classes)])
    compile_model(model, config, steps)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4)).astype("float32"), np.arange(5)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    moments, largest = [(0, 0)] * 4, 0.0
    for step in range(steps):
        weights = k1, b_1, k2, b_2 = [np.asarray(weight, "float64") for weight in model.get_weights()]
        hidden = x @ k1 + b_1
        logits = hidden @ k2 + b_2
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        error = (p - (0.9 * np.eye(classes)[y] + 0.1 / classes)) / 5
        gradients = [x.T @ (error @ k2.T), (error @ k2.T).sum(0), hidden.T @ error, error.sum(0)]
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        largest = max(largest, norm)
        if optimizer == "adamw":
            gradients = [gradient / max(norm, 1) for gradient in gradients]
        model.fit(x, y, batch_size=5, verbose=0)
        rate = new_rate(step, steps, config)
        for index, (before, after, gradient) in enumerate(zip(weights, model.get_weights(), gradients, strict=True)):
            decay = config.weight_decay if before.ndim == 2 and step < 4 else 0.0
            m, v = moments[index]
            if optimizer == "muon" and index == 0:
                m = momentum * m + gradient
                update = 0.2 * np.sqrt(max(before.shape)) * orthogonal(gradient + momentum * m)
            else:
                m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
                update = m / (1 - b1 ** (step + 1)) / (np.sqrt(v / (1 - b2 ** (step + 1))) + epsilon)
            moments[index] = m, v
            expected = before - rate * (decay * before + update)
            np.testing.assert_allclose(after, expected, rtol=0, atol=1e-3 * config.learning_rate)
    assert largest > 1, "there is something to clip"


TINY_MLGRU = VisionMLGRUConfig(stem_units=4, embedding_dim=8, ffn_dim=8, num_blocks=1)
TINY_TRANSFORMER = VisionTransformerConfig(
    image_size=8, patch_size=4, projection_dim=4, transformer_layers=1, num_heads=2, head_units=(4,)
)


@pytest.mark.parametrize(
    ("build", "config", "expected"),
    [
        (
            vision_mlgru,
            TINY_MLGRU,
            {"stem", "gates", "output_projection", "gate_and_up", "down"},
        ),
        (
            vision_transformer,
            TINY_TRANSFORMER,
            {"gates", "output_projection", "gate_and_up", "down", "dense_mml"},
        ),
        # The kernels of its attention have three axes.
        (attention_vision_transformer, TINY_TRANSFORMER, {"dense", "dense_1", "dense_2"}),
    ],
)
def test_muon_updates_the_kernels_within_the_model(build, config, expected):
    """Neither the classifier nor embeddings, and neither the gains nor the biases that have two axes."""
    model = build(config)
    compile_model(model, RECIPE, steps=8)
    model.optimizer.build(model.trainable_variables)
    velocities = model.optimizer.adam_velocities
    by_muon = [
        weight for weight, of_adam in zip(model.trainable_variables, velocities, strict=True) if of_adam is None
    ]
    assert {weight.name for weight in by_muon} == {"kernel"}
    assert {weight.path.split("/")[-2] for weight in by_muon} == expected
    assert len(by_muon) == len(expected)


def test_muon_knows_the_classifier_before_layers_without_weights():
    layers = [
        keras.layers.Dense(7, name="hidden"),
        keras.layers.Dense(6, name="classifier"),
        keras.layers.Reshape((6,)),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    compile_model(model, RECIPE, steps=8)
    model.optimizer.build(model.trainable_variables)
    assert [velocity is None for velocity in model.optimizer.adam_velocities] == [True, False, False, False]


# === Label smoothing ===


def smoothed_cross_entropy(y, logits, smoothing):
    """Szegedy et al., arXiv:1512.00567, section 7."""
    logits = np.asarray(logits, "float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = (1 - smoothing) * np.eye(logits.shape[-1])[np.asarray(y).astype(int).ravel()]
    return -((target + smoothing / logits.shape[-1]) * log_p).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(7,), (7, 1)], ids=str)
def test_smoothed_cross_entropy(smoothing, shape):
    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 5, size=shape).astype("uint8"), 3 * rng.normal(size=(7, 5)).astype("float32")
    each = keras.ops.convert_to_numpy(SmoothedCrossentropy(smoothing, reduction=None)(y, logits))
    np.testing.assert_allclose(each, smoothed_cross_entropy(y, logits, smoothing), rtol=1e-5)
    peer = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
    one_hot = np.eye(5, dtype="float32")[y.ravel()]
    np.testing.assert_allclose(each, keras.ops.convert_to_numpy(peer(one_hot, logits)), rtol=1e-6)


def test_smoothed_cross_entropy_of_weighted_images():
    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 5, size=7), rng.normal(size=(7, 5)).astype("float32")
    weights = np.array([1, 0, 1, 2, 0, 1, 0], "float32")
    loss = SmoothedCrossentropy(0.1, reduction="mean_with_sample_weight")
    each = smoothed_cross_entropy(y, logits, 0.1)
    assert float(loss(y, logits, sample_weight=weights)) == pytest.approx(np.average(each, weights=weights), rel=1e-5)
    assert float(loss(y, logits, sample_weight=0 * weights)) == 0.0


def test_smoothed_cross_entropy_of_16_bit_logits_is_computed_in_float32():
    y = np.array([0, 3])
    logits = keras.ops.cast(3 * np.random.default_rng(0).normal(size=(2, 5)), "bfloat16")
    each = SmoothedCrossentropy(0.1, reduction=None)(y, logits)
    assert keras.backend.standardize_dtype(each.dtype) == "float32"
    rounded = keras.ops.convert_to_numpy(keras.ops.cast(logits, "float32"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(each), smoothed_cross_entropy(y, rounded, 0.1), rtol=1e-5)


def test_smoothed_cross_entropy_survives_serialization():
    loss = SmoothedCrossentropy(0.1, reduction="mean_with_sample_weight", name="smoothed")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is SmoothedCrossentropy
    assert again.get_config() == loss.get_config()
    with pytest.raises(
        ValueError, match="`label_smoothing` must be a number from 0 to 1. Received: label_smoothing=2"
    ):
        SmoothedCrossentropy(2)


def test_the_loss_is_smoothed_and_the_metric_is_not():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    compile_model(model, RECIPE, steps=8)
    x, y = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40)[:, None] % 6
    logits = model.predict(x, verbose=0)
    loss = float(model.compute_loss(y=y, y_pred=logits))
    assert loss == pytest.approx(smoothed_cross_entropy(y, logits, 0.1).mean(), rel=1e-5)
    expected = smoothed_cross_entropy(y, logits, 0.0).mean()
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)
    first, *_, last = model.evaluate(x, y, verbose=0)
    assert first == last == pytest.approx(expected, rel=1e-5)


# === The configuration ===


@pytest.mark.parametrize(
    "name, value",
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -1.0),
        ("learning_rate", float("inf")),
        ("learning_rate", True),
        ("learning_rate", "0.1"),
        ("validation_split", -0.1),
        ("validation_split", 1.0),
        ("model", 5),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", True),
        ("seed", 1.5),
        ("seed", None),
        ("optimizer", "sgd"),
        ("optimizer", None),
        ("schedule", "linear"),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("warmup", None),
        ("decay_until", 0.0),
        ("decay_until", 1.1),
        ("decay_until", True),
        ("decay_until", float("nan")),
        ("label_smoothing", 1.0),
        ("label_smoothing", "0.1"),
        ("keep", "first"),
        ("keep", True),
    ],
)
def test_config_names_what_is_wrong(name, value):
    with pytest.raises(ValueError, match=f"`{name}` .*Received: {name}="):
        TrainingConfig(**{name: value})


def test_a_warm_up_that_nothing_would_use():
    with pytest.raises(ValueError, match="`warmup` must be 0 with schedule='constant'.*Received: warmup=0.05"):
        TrainingConfig(optimizer="muon", warmup=0.05)


def test_numpys_numbers_are_pythons():
    numbers = {"epochs": 5, "batch_size": 16, "learning_rate": 0.1, "weight_decay": 0.3, "validation_split": 0.2}
    numbers |= {"warmup": 0.05, "decay_until": 0.7, "label_smoothing": 0.1}
    config = TrainingConfig(**numbers, seed=3, schedule="cosine")
    for integer, floating in ((np.int64, np.float64), (np.uint8, np.float32), (np.array, np.float16)):
        given = {name: (integer if isinstance(value, int) else floating)(value) for name, value in numbers.items()}
        converted = TrainingConfig(**given, seed=integer(3), schedule=np.str_("cosine"))
        assert converted == config
        assert all(type(getattr(converted, name)) is type(value) for name, value in numbers.items())
        assert type(converted.seed) is int


def test_the_recipes_share_one_model_and_differ_in_how_long_they_train():
    assert sorted(RECIPES) == [0.01, 0.1, 1.0]
    shared = {dataclasses.replace(recipe, epochs=1, batch_size=1) for recipe in RECIPES.values()}
    assert len(shared) == 1 and shared.pop().model == VisionMLGRUConfig()
