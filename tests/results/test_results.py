"""The scripts that measured the tables: each writes a table of the same form, here from a small model on noise."""

import dataclasses
import subprocess

import keras
import numpy as np
import pandas as pd
import pytest

import mml.presets
from mml import models
from mml.data import CIFAR10_CLASSES, ImageDataset
from mml.models import VisionMLGRUConfig, VisionTransformerConfig
from mml.training import RECIPES, TrainingConfig
from mml_book.results import image_model, inference, preset, real, search, seeds, worth

MODEL = VisionTransformerConfig(image_size=24, projection_dim=8, num_heads=2, transformer_layers=1, head_units=(8,))
CONFIG = TrainingConfig(MODEL, epochs=2, batch_size=8)
RECIPE = dataclasses.replace(
    RECIPES[0.1],
    model=VisionMLGRUConfig(stem_units=4, embedding_dim=8, ffn_dim=8, num_blocks=1),
    epochs=2,
    batch_size=8,
)
BUILD = {
    "ternary": models.vision_transformer,
    "float": models.float_vision_transformer,
    "attention": models.attention_vision_transformer,
}


def load_noise(split, source):
    assert source == "cifar10", "no table may be measured on anything else"
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 32, 32, 3)).astype("uint8"), rng.integers(10, size=(20, 1)).astype("uint8")
    return ImageDataset(x, y, x[:10], y[:10], CIFAR10_CLASSES, "Noise.")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a script with a smaller model, data and numbers, in an empty folder; return its table."""
    monkeypatch.chdir(tmp_path)

    def run(script, **constants):
        kept = []
        constants |= {"keep_freed_memory": lambda: kept.append(True)}
        for name, value in constants.items():
            monkeypatch.setattr(script, name, value)
        script.main("table.csv")
        assert kept, "JAX keeps freed memory, as in the chapters"
        assert list(tmp_path.glob("*.csv")) == [tmp_path / "table.csv"]
        return pd.read_csv("table.csv")

    return run


def assert_same_columns(table, name):
    committed = pd.read_csv(f"{seeds.__file__.removesuffix('seeds.py')}{name}.csv")
    assert list(table.columns) == list(committed.columns)
    assert table.dtypes.to_dict() == committed.dtypes.to_dict()


def test_seeds(run):
    small = {"TrainingConfig": lambda: CONFIG, "load_cifar10": load_noise}
    table = run(seeds, SEEDS=range(2), TEST_IMAGES=(5, 10), **small)
    assert_same_columns(table, "seeds")
    assert list(zip(table["seed"], table["test_images"], strict=True)) == [(0, 5), (0, 10), (1, 5), (1, 10)]
    hits = table["accuracy"] * table["test_images"]
    np.testing.assert_allclose(hits, hits.round(), atol=1e-3)
    assert (table["top_5_accuracy"] >= table["accuracy"]).all()


def test_worth(run):
    small = {"TrainingConfig": lambda: CONFIG, "load_cifar10": load_noise}
    table = run(worth, SEEDS={0.01: range(1)}, TEST_IMAGES=10, **small)
    assert_same_columns(table, "worth")
    assert list(table["model"]) == list(BUILD)


def test_real(run, tmp_path):
    table = run(real, CONFIG=CONFIG, TEST_IMAGES=10, DIRECTORY=tmp_path / "runs", load_cifar10=load_noise)
    assert_same_columns(table, "real")
    assert list(table["part"]) == ["training", "validation", "training", "validation", "test"]
    assert list(table["epoch"])[:4] == [1, 1, 2, 2]
    validation = table[table["part"] == "validation"].set_index("epoch")["accuracy"]
    assert validation[table["epoch"].iloc[-1]] == validation.max(), "tested with the weights that validated best"


def test_inference(run, monkeypatch, capsys):
    def in_this_process(command, **options):
        assert command[2] == "memory"
        capsys.readouterr()
        inference.memory(*command[3:])
        return subprocess.CompletedProcess(command, 0, capsys.readouterr().out, "")

    monkeypatch.setattr(inference.subprocess, "run", in_this_process)
    build = {name: lambda build=build: build(MODEL) for name, build in BUILD.items()}
    table = run(inference, BUILD=build, BATCHES=(2,), ROUNDS=2)
    assert_same_columns(table, "inference")
    table = table.set_index("model")
    assert list(table.index) == ["packed", *BUILD]
    assert (table["low"] <= table["milliseconds"]).all() and (table["milliseconds"] <= table["high"]).all()
    assert table.loc["packed", "weights_mb"] < table.loc["ternary", "weights_mb"]
    assert table["file_mb"].idxmin() == "packed"


def test_search(run, monkeypatch):
    small = {"load_cifar10": load_noise, "TRAINING_IMAGES": 10, "VALIDATION_IMAGES": 5}
    small["BASE"] = dataclasses.replace(RECIPE, validation_split=0)
    trials = [{}, {"ffn_dim": 12, "augmentation": {"erasing": 0.25}}, {"state": "float", "learning_rate": 1e-3}]
    table = run(search, TRIALS=trials[:2], **small)
    assert list(table["changes"]) == ["{}", '{"augmentation": {"erasing": 0.25}, "ffn_dim": 12}']
    assert table["parameters"][1] > table["parameters"][0]
    hits = table["val_accuracy"] * 5
    np.testing.assert_allclose(hits, hits.round(), atol=1e-3)

    again = run(search, TRIALS=trials, **small)
    pd.testing.assert_frame_equal(again[:2], table)  # not run again, or the seconds would differ
    assert len(again) == 3


@pytest.mark.parametrize("name", ["accuracy", "ablation"])
def test_image_model(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    builds = {variant: build for variant, (_, build) in image_model.VARIANTS.items()}
    few = {variant: (RECIPE, builds[variant]) for variant in ("whole", "without positions")}
    for constant, value in {
        "load_cifar10": load_noise,
        "TEST_IMAGES": 10,
        "SEEDS": {0.1: range(2)},
        "ABLATION_SEEDS": range(1),
        "RECIPES": {0.1: RECIPE},
        "VARIANTS": few,
    }.items():
        monkeypatch.setattr(image_model, constant, value)
    getattr(image_model, name)("table.csv")
    table = pd.read_csv("table.csv")
    getattr(image_model, name)("table.csv")
    pd.testing.assert_frame_equal(pd.read_csv("table.csv"), table)  # nothing is run again
    if name == "accuracy":
        assert_same_columns(table, "image_model_accuracy")
        assert list(zip(table["split"], table["seed"], strict=True)) == [(0.1, 0), (0.1, 1)]
    else:
        assert list(table["variant"]) == list(few)
        assert table["parameters"][0] - table["parameters"][1] == 64 * RECIPE.model.embedding_dim


def test_each_variant_lacks_what_its_name_says():
    images, config = load_noise(0.1, "cifar10").x_train, RECIPE.model
    weights = {weight.path.split("/", 1)[1]: weight for weight in models.vision_mlgru(config, images).weights}

    def changed(build):
        return {weight.path.split("/", 1)[1]: weight for weight in build(config, images).weights}

    positions = "positions/embeddings"
    assert set(weights) - set(changed(image_model.without_positions)) == {f"embedding/{positions}"}
    assert changed(image_model.without_pooling)["head/kernel"].shape == (64 * config.embedding_dim, 10)
    bias = "mixer/recurrence/gates/bias"
    assert np.any(np.asarray(weights[f"block_0/{bias}"]) != 0)
    np.testing.assert_array_equal(changed(image_model.without_spread_biases)[f"block_0/{bias}"], 0)

    model = image_model.without_shift(config, images)
    keras.utils.set_random_seed(0)
    (block,) = (layer for layer in model.layers if layer.name == "block_0")
    x = np.random.default_rng(0).normal(size=(2, 64, config.embedding_dim)).astype("float32")
    mixed = x + np.asarray(block.mixer(x))
    np.testing.assert_allclose(block(x), mixed + np.asarray(block.ffn(mixed)), rtol=1e-4, atol=1e-5)


def test_preset(run, monkeypatch, tmp_path):
    folder = tmp_path / "presets"
    folder.mkdir()
    monkeypatch.setattr(mml.presets, "FOLDER", folder)
    config = dataclasses.replace(RECIPE, validation_split=0)
    data = dataclasses.replace(load_noise(1.0, "cifar10"), y_test=np.arange(10, dtype="uint8")[:, None])
    table = run(preset, CONFIG=config, load_cifar10=lambda split, source: data, TEST_IMAGES=(10,))
    assert_same_columns(table, "preset")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("cifar10.json", "cifar10.safetensors", "cifar10.weights.h5")
    ]
    described = mml.presets._read(folder / "cifar10.json")
    assert described.model == config.model and described.test_images == 10
    tested = table[table["part"] == "test, first 10"]
    assert tested["accuracy"].iloc[0] == pytest.approx(described.accuracy, abs=1e-4)
    monkeypatch.setitem(mml.presets.PRESETS, "cifar10", described)
    images = load_noise(0.1, "cifar10").x_test.astype("float32")
    latent, packed = (mml.presets.from_preset("cifar10", trainable) for trainable in (True, False))
    np.testing.assert_allclose(packed.predict(images, verbose=0), latent.predict(images, verbose=0), atol=1e-2)
