"""The scripts that measured the tables: each writes a table of the same form, here from a small model on noise."""

import subprocess

import numpy as np
import pandas as pd
import pytest

from mml import models
from mml.data import CIFAR10_CLASSES, ImageDataset
from mml.models import VisionTransformerConfig
from mml.training import TrainingConfig
from mml_book.results import inference, real, seeds, worth

MODEL = VisionTransformerConfig(image_size=24, projection_dim=8, num_heads=2, transformer_layers=1, head_units=(8,))
CONFIG = TrainingConfig(MODEL, epochs=2, batch_size=8)
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
