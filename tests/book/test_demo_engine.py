"""The packed model in JavaScript, as a browser runs it, gives what Keras gives."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from mml.layers import DenseMML, Patches, RMSNorm
from mml.layers.grid_scan_mml import DIRECTIONS
from mml.models import VisionMLGRUConfig, VisionTransformerConfig, vision_mlgru, vision_transformer
from mml.packing import load_packed, save_packed

ENGINE = Path(__file__).parents[2] / "book" / "_static" / "demo" / "mml.js"
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js; on Debian: apt install nodejs")

# Reads a model and pictures of one float32 after another. Prints the logits of each with the median time they took
# and, since that repeats the computation, the probabilities of the first ten.
RUN = """
import { readFileSync } from "node:fs";
import { loadModel } from "./mml.mjs";
const [file, numbers] = ["model", "pictures"].map((name) => new Uint8Array(readFileSync(name)).buffer);
try {
  const model = await loadModel(file);
  const size = model.inputShape[0] * model.inputShape[1] * model.inputShape[2];
  const pictures = new Float32Array(numbers);
  const results = { classNames: model.classNames, inputShape: model.inputShape, logits: [], probabilities: [] };
  const times = [];
  for (let start = 0; start < pictures.length; start += size) {
    const picture = pictures.subarray(start, start + size);
    const begin = performance.now();
    results.logits.push([...model.logits(picture)]);
    times.push(performance.now() - begin);
    if (start < 10 * size) {
      results.probabilities.push([...model.predict(Uint8Array.from(picture))]);
    }
  }
  results.milliseconds = times.sort((a, b) => a - b)[times.length >> 1];
  console.log(JSON.stringify(results));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
"""

SMALL = VisionTransformerConfig(
    input_shape=(8, 10, 3),
    num_classes=4,
    image_size=12,
    patch_size=6,
    projection_dim=8,
    transformer_layers=2,
    num_heads=2,
    head_units=(16, 8),
)
SMALL_MLGRU = VisionMLGRUConfig(
    input_shape=(10, 14, 3),
    num_classes=4,
    patch_size=4,
    stem_units=12,
    merge_size=3,
    embedding_dim=20,
    ffn_dim=24,
    num_blocks=2,
    directions=DIRECTIONS,
)


@pytest.fixture
def run(tmp_path):
    shutil.copy(ENGINE, tmp_path / "mml.mjs")  # so that Node.js takes it for a module, as a page does
    (tmp_path / "run.mjs").write_text(RUN)

    def run(pictures):
        (tmp_path / "pictures").write_bytes(np.asarray(pictures, "<f4").tobytes())
        done = subprocess.run(["node", "run.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return run


def pictures(config, count):
    # Smooth ones, as photographs are: of noise, all logits are alike.
    rng = np.random.default_rng(0)
    height, width, channels = config.input_shape
    coarse = rng.uniform(0, 255, (count, 4, 4, channels))
    fine = coarse.repeat(-(-height // 4), axis=1).repeat(-(-width // 4), axis=2)[:, :height, :width]
    return np.clip(np.rint(fine + rng.normal(0, 10, fine.shape)), 0, 255).astype("float32")


def trained(config):
    """A model whose every weight has left its initial value; those of a large head, as in training, only slightly."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    build = vision_mlgru if isinstance(config, VisionMLGRUConfig) else vision_transformer
    model = build(config, pictures(config, 32))
    for weight in model.trainable_weights:
        step = 0.05 if weight.shape[0] < 200 else 0.001
        weight.assign(np.asarray(weight) + step * rng.standard_normal(weight.shape).astype("float32"))
    return model


def assert_agrees(results, expected, typical, largest):
    """Differences of the logits, as a share of their spread, are small.

    A value at a boundary may be rounded to the step beside it, and the more layers follow, the more values.
    """
    logits = np.array(results["logits"])
    spread = np.std(expected)
    difference = np.abs(logits - expected) / spread
    assert np.median(difference) < typical and np.max(difference) < largest
    best = np.sort(expected, axis=-1)
    certain = best[:, -1] - best[:, -2] > 2 * np.max(difference) * spread
    assert np.mean(certain) > 0.5
    np.testing.assert_array_equal(np.argmax(logits, -1)[certain], np.argmax(expected, -1)[certain])
    assert np.mean(np.argmax(logits, -1) == np.argmax(expected, -1)) > 0.97
    logits = logits[:10]
    exponentials = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    probabilities = exponentials / np.sum(exponentials, axis=-1, keepdims=True)
    np.testing.assert_allclose(results["probabilities"], probabilities, atol=1e-5)


@pytest.mark.parametrize("per_feature_gain", [False, True])
@pytest.mark.parametrize("rest", ["float32", "float16"])
def test_a_small_model_predicts_what_it_does_in_keras(run, tmp_path, rest, per_feature_gain):
    config = dataclasses.replace(SMALL, per_feature_gain=per_feature_gain)
    names = ["a", "b", "ç", "d"]
    save_packed(trained(config), tmp_path / "model", names, rest)
    x = pictures(config, 200)
    results = run(x)
    assert results["classNames"] == names and results["inputShape"] == [8, 10, 3]
    assert_agrees(results, load_packed(tmp_path / "model").predict(x, verbose=0), typical=1e-3, largest=0.5)


@pytest.mark.parametrize(
    "config, rest",
    [
        *((dataclasses.replace(SMALL_MLGRU, directions=(direction,)), "float32") for direction in DIRECTIONS),
        (dataclasses.replace(SMALL_MLGRU, num_blocks=4), "float16"),
        (dataclasses.replace(SMALL_MLGRU, input_shape=(13, 9, 1), patch_size=3, merge_size=2), "float32"),
        (dataclasses.replace(SMALL_MLGRU, patch_size=1, merge_size=1, embedding_dim=7, num_blocks=1), "float32"),
    ],
    ids=[*DIRECTIONS, "all directions", "odd sides", "no overlap, no shift"],
)
def test_a_model_made_for_images_predicts_what_it_does_in_keras(run, tmp_path, config, rest):
    save_packed(trained(config), tmp_path / "model", rest=rest)
    x = pictures(config, 200)
    results = run(x)
    assert results["inputShape"] == list(config.input_shape)
    assert_agrees(results, load_packed(tmp_path / "model").predict(x, verbose=0), typical=1e-4, largest=0.1)


@pytest.mark.parametrize(
    "config", [VisionTransformerConfig(), VisionMLGRUConfig()], ids=["vision_transformer", "vision_mlgru"]
)
def test_a_model_of_the_book_predicts_what_it_does_in_keras(run, tmp_path, config):
    save_packed(trained(config), tmp_path / "model", rest="float16")
    x = pictures(config, 40)
    results = run(x)
    assert results["classNames"] is None
    assert_agrees(results, load_packed(tmp_path / "model").predict(x, verbose=0), typical=0.01, largest=0.2)
    print(f"{type(config).__name__}: {results['milliseconds']:.1f} ms per image")
    assert results["milliseconds"] < 1000


def test_overlapping_patches_without_padding_and_a_mean_without_a_norm(run, tmp_path):
    layers = [Patches(3, strides=2), RMSNorm(), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(4)]
    model = keras.Sequential([keras.Input((8, 10, 3)), *layers])
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.standard_normal(weight.shape))
    save_packed(model, tmp_path / "model")
    x = pictures(SMALL, 20)
    np.testing.assert_allclose(run(x)["logits"], model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.fixture
def small_file(tmp_path):
    save_packed(vision_transformer(SMALL), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "do not match its checksum"),
        (lambda raw: raw[:-1], "do not match its checksum"),
        (lambda raw: raw[:100], "not a packed model, or its header is damaged"),
        (lambda raw: b"", "not a packed model, or its header is damaged"),
        (lambda raw: b"<!DOCTYPE html><title>404</title>", "not a packed model, or its header is damaged"),
        (lambda raw: raw.replace(b'"version":"1"', b'"version":"2"'), "Received: 'mml packed model', '2'"),
    ],
    ids=["a byte changed", "a byte lost", "most lost", "empty", "a page", "another version"],
)
def test_what_is_no_packed_model_is_refused(run, small_file, damage, message):
    small_file.write_bytes(damage(small_file.read_bytes()))
    assert message in run([])["error"]


def test_a_picture_of_another_size_is_refused(run, small_file):
    assert run(np.zeros(7))["error"] == "The picture must have 8 x 10 x 3 numbers. Received: 7"


@pytest.mark.parametrize(
    "layers, message",
    [
        ([keras.layers.Conv2D(2, 3, name="odd")], "The layer odd is a Conv2D, which is not supported here."),
        ([Patches(2), DenseMML(3, activation="gelu", name="odd")], "The layer odd has the activation gelu"),
        ([keras.layers.Resizing(4, 4, interpolation="nearest", name="odd")], "The layer odd must be bilinear"),
        ([Patches(2), RMSNorm(use_bias=True, name="odd")], "The layer odd must have no bias."),
        ([Patches(2), keras.layers.GlobalAveragePooling1D(keepdims=True, name="odd")], "The layer odd must average"),
    ],
    ids=["convolution", "activation", "interpolation", "bias", "pooling"],
)
def test_a_layer_that_it_does_not_know_is_named(run, tmp_path, layers, message):
    save_packed(keras.Sequential([keras.Input((8, 8, 3)), *layers]), tmp_path / "model")
    assert message in run([])["error"]


@pytest.mark.parametrize(
    "known, unknown, message",
    [
        (
            "squared_relu",
            "squared_gelu",
            "The layer stem has the activation mml>squared_gelu, which is not supported here.",
        ),
        ("same", "full", "The layer patches must have the padding 'valid' or 'same'. Received: full"),
        ("left", "away", "The layer block_1 must scan right, left, down, or up. Received: away"),
        ("[5,7,12]", "[5,6,12]", "The layer reshape must get 5 x 6 x 12 numbers. Received: 420"),
    ],
    ids=["activation", "padding", "direction", "shape"],
)
def test_a_setting_that_it_does_not_know_is_named(run, tmp_path, known, unknown, message):
    save_packed(vision_mlgru(SMALL_MLGRU), tmp_path / "model")
    raw = (tmp_path / "model").read_bytes()
    assert known.encode() in raw
    raw = raw.replace(known.encode(), unknown.encode())  # of the same length, and with a checksum that fits
    raw = re.sub(rb'"sha256":"\w{64}"', b'"sha256":"%s"' % (b"0" * 64), raw)
    digest = hashlib.sha256(raw).hexdigest().encode()
    (tmp_path / "model").write_bytes(raw.replace(b"0" * 64, digest, 1))
    assert run([])["error"] == message
