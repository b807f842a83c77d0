"""`mml.training.runs`: runs that survive anything."""

import dataclasses
import functools
import json
import os
import random
import shutil
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest
from forked import Forked
from killed_run import CONFIG, MLGRU, linear_model, tiny_data, train_tiny
from run_files import BEST, LATEST, assert_same_files

from mml.data import ImageDataset
from mml.models import VisionTransformerConfig, attention_vision_transformer, vision_transformer
from mml.training import Run, ShuffledBatches, TrainingConfig, runs, train
from mml.training.runs import _describe, _name


@pytest.fixture(scope="module")
def data():
    return tiny_data()


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """An uninterrupted run."""
    return train(data, CONFIG, tmp_path_factory.mktemp("runs"), verbose=0)


# === What is trained ===


def test_data_that_do_not_fit(data, tmp_path):
    gray = dataclasses.replace(data, x_train=data.x_train[..., :1])
    with pytest.raises(ValueError, match=r"images of shape \(32, 32, 1\)"):
        train(gray, CONFIG, tmp_path)
    with pytest.raises(ValueError, match="in 3 classes"):
        train(dataclasses.replace(data, class_names=("a", "b", "c")), CONFIG, tmp_path)
    with pytest.raises(ValueError, match="`build` must be a named function"):
        train(data, CONFIG, tmp_path, build=lambda config, images: linear_model(config, images))
    for labels in (data.y_train + 10, data.y_train.astype("int64") - 10, data.y_train[1:]):
        with pytest.raises(ValueError, match="one label from 0 to 9 for each training image. Received"):
            train(dataclasses.replace(data, y_train=labels), CONFIG, tmp_path)
    one = ImageDataset(data.x_train[:1], data.y_train[:1], data.x_test, data.y_test, data.class_names, data.source)
    with pytest.raises(ValueError, match="validation_split"):
        train(one, CONFIG, tmp_path)
    assert not list(tmp_path.iterdir())


def test_images_that_fill_up_the_last_batch_do_not_count(data, tmp_path):
    """The same model, trained by Keras on batches of 20, 20 and 5 images."""

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
    result = run.model.evaluate(data.x_train[:5], data.y_train[:5], verbose=0, return_dict=True)
    assert set(result) == {"loss", "acc", "top_5_acc"}


def test_validation_loss_is_the_mean_over_the_images(data, tmp_path, monkeypatch):
    """Five validation images in batches of two, the last one filled up, against Keras on one batch of five."""
    monkeypatch.setattr(runs, "VALIDATION_BATCH_SIZE", 2)

    small = dataclasses.replace(data, x_train=data.x_train[:, :4, :4] / 255)
    config = TrainingConfig(VisionTransformerConfig((4, 4, 3), image_size=4, patch_size=4), epochs=1, batch_size=20)
    run = train(small, config, tmp_path, verbose=0, build=linear_model)
    result = run.model.evaluate(small.x_train[45:], small.y_train[45:], verbose=0, return_dict=True)
    assert run.history["val_loss"][0] == pytest.approx(result["loss"], rel=1e-5)
    assert run.history["val_acc"][0] == pytest.approx(result["acc"])


# === The name of a run ===


def test_numpys_numbers_in_the_models_configuration_describe_the_same_run(data):
    model = dataclasses.replace(CONFIG.model, patch_size=np.int64(4), head_units=(np.int32(4),))
    config = dataclasses.replace(CONFIG, model=model, epochs=np.int64(4))
    ours, theirs = (_describe(data, each, vision_transformer) for each in (config, CONFIG))
    assert json.dumps(ours) == json.dumps(theirs)
    assert _name(config, ours) == _name(CONFIG, theirs)


class Builder:
    """Builds a model in several ways."""

    def __call__(self, config, images):
        return linear_model(config, images)

    def method(self, config, images):
        return linear_model(config, images)

    @staticmethod
    def static(config, images):
        return linear_model(config, images)

    @classmethod
    def of_class(cls, config, images):
        return linear_model(config, images)


def local_function():
    def build(config, images):
        return linear_model(config, images)

    return build


@functools.wraps(linear_model)
def wrapped(config, images):
    """It has the name of another function."""
    return linear_model(config, images)


nameless = lambda config, images: linear_model(config, images)  # noqa: E731


@pytest.mark.parametrize(
    "build",
    [
        nameless,
        functools.partial(linear_model),
        functools.partial(linear_model, images=None),
        local_function(),
        wrapped,
        Builder(),
        Builder().method,
        "vision_transformer",
        None,
    ],
    ids=[
        *("lambda", "partial", "partial with an argument", "local function", "wrapped function"),
        *("callable object", "method", "string", "nothing"),
    ],
)
def test_a_build_without_a_name_of_its_own(data, build):
    with pytest.raises(ValueError, match="`build` must be a named function.*Received: build="):
        _describe(data, CONFIG, build)


def test_builds_of_different_names_are_different_runs(data):
    builds = [linear_model, vision_transformer, attention_vision_transformer, Builder.static, Builder.of_class]
    assert len({_name(CONFIG, _describe(data, CONFIG, build)) for build in builds}) == len(builds)
    assert _describe(data, CONFIG, Builder.static)["build"] == f"{__name__}.Builder.static"


class WiderConfig(VisionTransformerConfig):
    """A configuration of one's own is built as the one that it extends."""


def test_the_configuration_says_which_model_is_built(data, tmp_path):
    fields = {field.name: getattr(CONFIG.model, field.name) for field in dataclasses.fields(CONFIG.model)}
    config = dataclasses.replace(CONFIG, model=WiderConfig(**fields), epochs=1)
    run = train(data, config, tmp_path, verbose=0)
    assert run.model.name == "vision_transformer" and run.path.name.startswith("vit-i8-p4-d4-l1-e1-b20-s7-")
    config = dataclasses.replace(MLGRU, epochs=1)
    run = train(data, config, tmp_path, verbose=0)
    assert run.model.name == "vision_mlgru" and run.path.name.startswith("mlgru-p6-d8-l2-e1-b20-s7-")
    assert json.loads((run.path / "config.json").read_text())["build"].endswith(".vision_mlgru")


def test_other_data_are_another_run(run, data):
    pixels = data.x_train.copy()
    pixels[0, 0, 0, 0] ^= 1
    other = dataclasses.replace(data, x_train=pixels)
    assert _name(CONFIG, _describe(data, CONFIG, vision_transformer)) == run.path.name
    assert _name(CONFIG, _describe(other, CONFIG, vision_transformer)) != run.path.name


def test_another_model_is_another_run(run, data, tmp_path):
    other = train(data, CONFIG, run.path.parent, verbose=0, build=attention_vision_transformer)
    assert other.path != run.path and other.model.name == "attention_vision_transformer"
    again = train(data, CONFIG, run.path.parent, verbose=0, build=attention_vision_transformer)
    assert again.path == other.path
    for weight, expected in zip(again.model.weights, other.model.weights, strict=True):
        assert np.array_equal(weight, expected)


# === What a run leaves ===


def test_history_and_folder(run):
    assert run.history["epoch"].tolist() == [0, 1, 2, 3]
    assert set(run.history.columns) == {
        "epoch", "loss", "acc", "top_5_acc", "val_loss", "val_acc", "val_top_5_acc"
    }  # fmt: skip
    config = json.loads((run.path / "config.json").read_text())
    assert config["epochs"] == 4 and config["model"]["patch_size"] == 4 and "digits" in config["data"]
    assert not [path for path in run.path.iterdir() if path.name.startswith("partial")]


def test_records_are_pythons_numbers_and_history_holds_the_same(run):
    for record in run.records:
        assert type(record["epoch"]) is int
        assert {type(value) for name, value in record.items() if name != "epoch"} == {float}
    assert run.history.to_dict("records") == run.records


def test_only_the_history_needs_pandas(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "pandas"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ImportError, match="`Run.history` needs pandas"):
        Run(None, [{"epoch": 0}], tmp_path).history  # noqa: B018


def test_images_are_normalized_by_all_training_images(run, data):
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
    (run.path / "partial.config.json").write_text("{")
    (run.path / f"partial.{BEST}").write_bytes(b"half")
    again = train(data, CONFIG, run.path.parent)
    assert not list(run.path.glob("partial.*")), "what a killed process left half written"
    assert again.path == run.path
    pd.testing.assert_frame_equal(again.history, run.history, check_exact=True)
    for ours, theirs in zip(again.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_validation_images_the_last_epochs_weights_are_the_result(data, tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIG, validation_split=0)
    run = train(data, config, tmp_path, verbose=0, build=linear_model)
    assert list(run.history.columns) == ["epoch", "acc", "loss", "top_5_acc"]
    assert {path.name for path in run.path.iterdir()} >= {"config.json", "history.csv", LATEST}
    assert not (run.path / BEST).exists()
    assert int(run.model.optimizer.iterations) == 3 * config.epochs  # of all 50 images
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained again"))
    again = train(data, config, tmp_path, verbose=0, build=linear_model)
    assert again.records == run.records
    for ours, theirs in zip(again.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_last_epochs_weights_can_be_kept(data, tmp_path):
    config = dataclasses.replace(CONFIG, seed=1, keep="last")
    run = train(data, config, tmp_path, verbose=0, build=linear_model)
    best = train(data, dataclasses.replace(config, keep="best"), tmp_path, verbose=0, build=linear_model)
    assert run.path != best.path and run.records == best.records
    assert not (run.path / BEST).exists() and (best.path / BEST).exists()
    assert run.history["val_acc"].idxmax() < 3, "the last epoch is not the best"
    assert int(run.model.optimizer.iterations) == 12 > int(best.model.optimizer.iterations)
    result = run.model.evaluate(data.x_train[45:], data.y_train[45:], verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(run.records[-1]["val_loss"], rel=1e-5)
    again = train(data, config, tmp_path, verbose=0, build=linear_model)
    for ours, theirs in zip(again.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_damaged_file_is_named(run, data, tmp_path):
    path = tmp_path / run.path.name
    path.mkdir()
    (path / LATEST).write_bytes((run.path / LATEST).read_bytes()[:3000])
    with pytest.raises(ValueError, match="latest.weights.h5 is missing, damaged.*Delete the folder"):
        train(data, CONFIG, tmp_path, verbose=0)
    shutil.copytree(run.path, path, dirs_exist_ok=True)
    for name in (BEST, "history.csv"):
        content = (path / name).read_bytes()
        for damaged in (None, content[: len(content) // 2]):
            (path / name).unlink()
            if damaged:
                (path / name).write_bytes(damaged)
            with pytest.raises(ValueError, match=f"{name} is missing, damaged.*Delete the folder"):
                train(data, CONFIG, tmp_path, verbose=0)
            (path / name).write_bytes(content)
    assert train(data, CONFIG, tmp_path, verbose=0).records == run.records


def test_latest_gets_its_name_last(data, tmp_path, monkeypatch):
    moved, synced, replace, fsync = [], [], os.replace, os.fsync

    def recorded_fsync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def recorded_replace(source, target):
        assert os.stat(source).st_ino in synced, "its content reaches the disk before it gets its name"
        moved.append(os.path.basename(target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    train(data, dataclasses.replace(CONFIG, epochs=1), tmp_path, verbose=0, build=linear_model)
    assert moved == ["config.json", BEST, "history.csv", LATEST]


# === kill -9 ===


@pytest.mark.parametrize(
    "killings",
    [
        # Counted from the moment of resuming: the second epoch, then the first again, then the next but one.
        [("half", LATEST, 2), ("before", LATEST, 1), ("after", LATEST, 2)],
        [("half", BEST, 1), ("before", BEST, 1), ("after", BEST, 1)],
        [("before", "history.csv", 1), ("after", "history.csv", 2)],
    ],
    ids=["latest", "best", "history"],
)
def test_killed_at_the_worst_moments_a_run_ends_as_if_it_had_not_been(run, data, tmp_path, killings):
    for killing in killings:
        status, output = Forked(train_tiny, tmp_path, *killing).wait()
        assert status == -9, (killing, output)
    assert_same_files(train(data, CONFIG, tmp_path, verbose=0).path, run.path)


def test_killed_with_muon_schedule_and_augmentation_a_run_ends_as_if_it_had_not_been(data, tmp_path):
    """It goes on after 3 of 12 steps, within the warm-up; after 6, before weight decay ends; and after 9."""
    uninterrupted = train(data, MLGRU, tmp_path / "uninterrupted", verbose=0)
    assert not (uninterrupted.path / BEST).exists()
    for killing in [("after", LATEST, 1), ("before", LATEST, 2), ("after", "history.csv", 2)]:
        status, output = Forked(functools.partial(train_tiny, config=MLGRU), tmp_path, *killing).wait()
        assert status == -9, (killing, output)
    resumed = train(data, MLGRU, tmp_path, verbose=0)
    assert_same_files(resumed.path, uninterrupted.path)
    for ours, theirs in zip(resumed.model.variables, uninterrupted.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    assert int(resumed.model.optimizer.iterations) == 12
    result = resumed.model.evaluate(data.x_train[45:], data.y_train[45:], verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(resumed.records[-1]["val_loss"], rel=1e-5), "the last weights"


def test_half_a_checkpoint_that_a_killed_process_left_is_not_taken_for_the_best(run, data, tmp_path):
    """The first epoch is the best one. A process is made to believe that the second is, and dies writing its file."""
    assert run.history["val_acc"].idxmax() == 0
    folder = tmp_path / run.path.name
    assert Forked(train_tiny, tmp_path, "after", LATEST, 1).wait()[0] == -9
    best, history = (folder / BEST).read_bytes(), (folder / "history.csv").read_text()
    (folder / "history.csv").write_text(history.replace(str(run.records[0]["val_acc"]), "0.0"))
    assert Forked(train_tiny, tmp_path, "half", BEST, 1).wait()[0] == -9
    assert (folder / f"partial.{BEST}").stat().st_size < len(best)
    assert (folder / BEST).read_bytes() == best
    (folder / "history.csv").write_text(history)
    assert_same_files(train(data, CONFIG, tmp_path, verbose=0).path, run.path)
    assert (folder / BEST).read_bytes() == best
    assert not list(folder.glob("partial.*"))


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
