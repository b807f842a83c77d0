"""`mml.training.recipe`: the configuration, and the optimizer, loss and metrics against their formulas."""

import keras
import numpy as np
import pytest

from mml.training import TrainingConfig, compile_model


def test_defaults_are_the_seeds():
    config = TrainingConfig()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    compile_model(model, config)
    assert (config.epochs, config.batch_size, config.validation_split) == (5, 32, 0.1)
    assert type(model.optimizer) is keras.optimizers.AdamW
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    assert model.optimizer.weight_decay == 1e-4
    x, y = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40)[:, None] % 10
    logits = model.predict(x, verbose=0).astype("float64")
    result = model.evaluate(x, y, verbose=0, return_dict=True)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    ranks = (logits > np.take_along_axis(logits, y, 1)).sum(-1)
    assert result["loss"] == pytest.approx(-np.take_along_axis(log_p, y, 1).mean(), rel=1e-5)
    assert result["acc"] == pytest.approx((ranks == 0).mean())
    assert result["top_5_acc"] == pytest.approx((ranks < 5).mean())


def test_a_compiled_model_survives_a_file(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    compile_model(model)
    x, y = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40) % 10
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    results = [each.evaluate(x, y, verbose=0, return_dict=True) for each in (model, loaded)]
    assert results[0] == pytest.approx(results[1], rel=1e-6)


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
        model.train_on_batch(x, y)
        for before, (m, v), after in zip((kernel, bias), moments, model.get_weights(), strict=True):
            update = m / (1 - b1**step) / (np.sqrt(v / (1 - b2**step)) + epsilon)
            np.testing.assert_allclose(after, before - rate * (decay * before + update), rtol=0, atol=0.01 * rate)


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
    ],
)
def test_config_names_what_is_wrong(name, value):
    with pytest.raises(ValueError, match=f"`{name}` .*Received: {name}="):
        TrainingConfig(**{name: value})


def test_numpys_numbers_are_pythons():
    numbers = {"epochs": 5, "batch_size": 16, "learning_rate": 0.1, "weight_decay": 0.3, "validation_split": 0.2}
    config = TrainingConfig(**numbers, seed=3)
    for integer, floating in ((np.int64, np.float64), (np.uint8, np.float32), (np.array, np.float16)):
        given = {name: (integer if isinstance(value, int) else floating)(value) for name, value in numbers.items()}
        converted = TrainingConfig(**given, seed=integer(3))
        assert converted == config
        assert all(type(getattr(converted, name)) is type(value) for name, value in numbers.items())
        assert type(converted.seed) is int
