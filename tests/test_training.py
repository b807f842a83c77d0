"""`mml.training`: the recipe, and runs that survive anything."""

import dataclasses
import json
import random
import time

import keras
import numpy as np
import pandas as pd
import pytest
from forked import Forked
from killed_run import CONFIG, tiny_data, train_tiny

from mml.data import ImageDataset
from mml.models import VisionTransformerConfig, attention_vision_transformer, vision_transformer
from mml.training import Checkpoint, ShuffledBatches, TrainingConfig, compile_model, train


@pytest.fixture(scope="module")
def data():
    return tiny_data()


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """An uninterrupted run."""
    return train(data, CONFIG, tmp_path_factory.mktemp("runs"), verbose=0)


def weights_in(path):
    """All arrays of a weights file: weights, optimizer, random states."""
    import h5py

    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_same_files(path, other):
    for name in ("latest.weights.h5", "best.weights.h5"):
        ours, theirs = weights_in(path / name), weights_in(other / name)
        assert ours.keys() == theirs.keys() and ours
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=f"{name}: {key}")
    assert (path / "history.csv").read_bytes() == (other / "history.csv").read_bytes()


# === The recipe ===


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
        ("validation_split", 0.0),
        ("validation_split", 1.0),
        ("seed", -1),
        ("seed", 1.5),
        ("seed", None),
    ],
)
def test_config_names_what_is_wrong(name, value):
    with pytest.raises(ValueError, match=f"`{name}` .*Received: {name}="):
        TrainingConfig(**{name: value})


def test_data_that_do_not_fit(data, tmp_path):
    grey = dataclasses.replace(data, x_train=data.x_train[..., :1])
    with pytest.raises(ValueError, match=r"images of shape \(32, 32, 1\)"):
        train(grey, CONFIG, tmp_path)
    with pytest.raises(ValueError, match="in 3 classes"):
        train(dataclasses.replace(data, class_names=("a", "b", "c")), CONFIG, tmp_path)
    one = ImageDataset(data.x_train[:1], data.y_train[:1], data.x_test, data.y_test, data.class_names, data.source)
    with pytest.raises(ValueError, match="validation_split"):
        train(one, CONFIG, tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_image_once_an_epoch_in_a_new_order():
    batches = ShuffledBatches(np.arange(45), np.arange(45), batch_size=20, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        batches.shuffle(epoch)
        assert [len(x) for x, _, _ in batches] == [20, 20, 20]
        assert [weights.sum() for _, _, weights in batches] == [20, 20, 5]
        assert all((x == y).all() for x, y, _ in batches)
        orders.append(np.concatenate([x[weights == 1] for x, _, weights in batches]))
        np.testing.assert_array_equal(np.sort(orders[-1]), np.arange(45))
    assert (orders[0] != orders[1]).any() and (orders[0] == orders[2]).all()
    others = ShuffledBatches(np.arange(45), np.arange(45), batch_size=20, seed=2)
    assert any((ours[0] != theirs[0]).any() for ours, theirs in zip(batches, others, strict=True)), "the seed counts"


def test_images_that_fill_up_the_last_batch_do_not_count(data, tmp_path):
    """The same model, trained by Keras on batches of 20, 20 and 5 images."""

    def linear_model(config, images):
        return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(10)])

    class Unfilled(ShuffledBatches):
        def __getitem__(self, index):
            x, y, weights = super().__getitem__(index)
            return x[weights == 1], y[weights == 1]

    data = dataclasses.replace(data, x_train=data.x_train[:, :4, :4] / 255)
    config = TrainingConfig(VisionTransformerConfig((4, 4, 3), image_size=4, patch_size=4), 3, batch_size=20)
    run = train(data, config, tmp_path, verbose=0, build=linear_model)

    keras.utils.set_random_seed(config.seed)
    model = linear_model(config.model, data.x_train)
    model.compile(
        keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
    )
    batches = Unfilled(data.x_train[:45], data.y_train[:45], 20, config.seed)
    shuffle = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.shuffle(epoch))
    history = model.fit(batches, epochs=3, shuffle=False, verbose=0, callbacks=[shuffle]).history
    np.testing.assert_allclose(run.history["loss"], history["loss"], rtol=1e-5)
    np.testing.assert_allclose(run.history["acc"], history["acc"], rtol=1e-6)


# === What a run leaves ===


def test_history_and_folder(run):
    assert run.history["epoch"].tolist() == [0, 1, 2, 3]
    assert set(run.history.columns) == {
        "epoch", "loss", "acc", "top_5_acc", "val_loss", "val_acc", "val_top_5_acc"
    }  # fmt: skip
    config = json.loads((run.path / "config.json").read_text())
    assert config["epochs"] == 4 and config["model"]["patch_size"] == 4 and "digits" in config["data"]
    assert not [path for path in run.path.iterdir() if path.name.startswith("partial")]


def test_images_are_normalised_by_all_training_images(run, data):
    normalized = np.asarray(run.model.layers[0].layers[0](data.x_train), "float64")
    np.testing.assert_allclose(normalized.mean((0, 1, 2)), np.zeros(3), atol=1e-4)
    np.testing.assert_allclose(normalized.std((0, 1, 2)), np.ones(3), rtol=1e-4)


def test_model_has_the_best_epochs_weights(run, data):
    best = run.history["val_acc"].max()
    result = run.model.evaluate(data.x_train[45:], data.y_train[45:], verbose=0, return_dict=True)
    assert result["acc"] == pytest.approx(best)
    first_best = int(run.history["val_acc"].idxmax())
    assert int(run.model.optimizer.iterations) == 3 * (first_best + 1)
    assert result["loss"] == pytest.approx(run.history["val_loss"][first_best], rel=1e-5)
    assert run.model.jit_compile


def test_same_seed_same_history_another_seed_another(run, data, tmp_path):
    again = train(data, CONFIG, tmp_path, verbose=0)
    pd.testing.assert_frame_equal(again.history, run.history, check_exact=True)
    assert_same_files(again.path, run.path)
    other = train(data, dataclasses.replace(CONFIG, seed=8, epochs=1), tmp_path, verbose=0)
    assert other.path != again.path
    assert other.history["loss"][0] != run.history["loss"][0]


def test_complete_run_is_loaded(run, data, monkeypatch):
    def fit(*args, **kwargs):
        raise AssertionError("a complete run was trained again")

    monkeypatch.setattr(keras.Model, "fit", fit)
    again = train(data, CONFIG, run.path.parent)
    assert again.path == run.path
    pd.testing.assert_frame_equal(again.history, run.history, check_exact=True)
    for ours, theirs in zip(again.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_other_data_are_another_run(run, data):
    from mml.training import _description, _name

    pixels = data.x_train.copy()
    pixels[0, 0, 0, 0] ^= 1
    other = dataclasses.replace(data, x_train=pixels)
    assert _name(CONFIG, _description(data, CONFIG, vision_transformer)) == run.path.name
    assert _name(CONFIG, _description(other, CONFIG, vision_transformer)) != run.path.name


def test_another_model_is_another_run(run, data, tmp_path):
    other = train(data, CONFIG, run.path.parent, verbose=0, build=attention_vision_transformer)
    assert other.path != run.path and other.model.name == "attention_vision_transformer"
    again = train(data, CONFIG, run.path.parent, verbose=0, build=attention_vision_transformer)
    assert again.path == other.path
    for weight, expected in zip(again.model.weights, other.model.weights, strict=True):
        assert np.array_equal(weight, expected)


def test_damaged_file_is_named(run, data, tmp_path):
    path = tmp_path / run.path.name
    path.mkdir()
    (path / "latest.weights.h5").write_bytes((run.path / "latest.weights.h5").read_bytes()[:3000])
    with pytest.raises(ValueError, match="latest.weights.h5 is damaged.*Delete the folder"):
        train(data, CONFIG, tmp_path, verbose=0)


def test_checkpoint_keeps_the_best(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    checkpoint = Checkpoint(tmp_path / "best.weights.h5", monitor="val_acc", mode="max", save_best_only=True)
    checkpoint.set_model(model)
    for epoch, (value, accuracy) in enumerate([(1.0, 0.2), (2.0, 0.6), (3.0, 0.5), (4.0, 0.6)]):
        model.layers[0].bias.assign([value])
        checkpoint.on_epoch_end(epoch, {"val_acc": accuracy})
    model.load_weights(tmp_path / "best.weights.h5")
    assert float(model.layers[0].bias[0]) == 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["best.weights.h5"]


# === kill -9 ===


@pytest.mark.parametrize(
    "killings",
    [
        # Counted from the moment of resuming: the second epoch, then the first again, then the next but one.
        [("half", "latest", 2), ("before", "latest", 1), ("after", "latest", 2)],
        [("half", "best", 1), ("before", "best", 1), ("after", "best", 1)],
    ],
    ids=["latest", "best"],
)
def test_killed_at_the_worst_moments_a_run_ends_as_if_it_had_not_been(run, data, tmp_path, killings):
    for killing in killings:
        status, output = Forked(train_tiny, tmp_path, *killing).wait()
        assert status == -9, (killing, output)
    assert_same_files(train(data, CONFIG, tmp_path, verbose=0).path, run.path)


def test_killed_at_random_moments(run, data, tmp_path):
    seed = random.randrange(10**9)
    dice = random.Random(seed)
    for _ in range(2):
        begun = time.time()
        process = Forked(train_tiny, tmp_path)
        while process.is_alive() and not any(
            path.stat().st_mtime > begun for path in (tmp_path / run.path.name).glob("[bl]*.h5")
        ):
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 1))
        process.kill()
        status, output = process.wait()
        assert status in (0, -9), (seed, output)
    assert_same_files(train(data, CONFIG, tmp_path, verbose=0).path, run.path)


def test_two_processes_share_one_run(run, tmp_path):
    for process in [Forked(train_tiny, tmp_path) for _ in range(2)]:
        status, output = process.wait()
        assert status == 0, output
    assert_same_files(tmp_path / run.path.name, run.path)
