"""The models that come with the package: their files against each other, and against what is said of them."""

import os

import keras
import numpy as np
import pytest
from quick_compilation import optimized

from mml.data import load_cifar10
from mml.packing import pack, read_packed
from mml.presets import PRESETS, from_preset

every_preset = pytest.mark.parametrize("name", sorted(PRESETS))


def images(name, count=4):
    return np.random.default_rng(0).integers(0, 256, (count, *PRESETS[name].model.input_shape)).astype("float32")


def test_there_is_a_model_for_cifar10():
    assert "cifar10" in PRESETS


@every_preset
def test_the_files_are_as_they_are_described(name):
    preset = PRESETS[name]
    packed = read_packed(preset.packed_path)
    assert packed.size == preset.packed_bytes == preset.packed_path.stat().st_size <= 400_000
    assert packed.class_names == preset.class_names
    assert preset.weights_path.stat().st_size <= 3_000_000


@every_preset
def test_the_packed_model_is_ready_to_predict(name):
    model = from_preset(name)
    assert model.trainable_weights == []
    assert model.predict(images(name), verbose=0).shape == (4, len(PRESETS[name].class_names))


@every_preset
def test_both_files_hold_one_model(name):
    latent = from_preset(name, trainable=True)
    packed = from_preset(name)
    with optimized():
        expected = latent.predict(images(name), verbose=0)
        np.testing.assert_array_equal(packed.predict(images(name), verbose=0), expected)
    for ours, theirs in zip(pack(latent).get_weights(), packed.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@every_preset
def test_the_latent_weights_can_be_trained_further(name):
    model = from_preset(name, trainable=True)
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images(name), np.arange(4), verbose=0)
    assert all(np.any(np.array(weight) != old) for weight, old in zip(model.trainable_weights, before, strict=True))


@every_preset
def test_nothing_outside_the_last_layer_is_float_in_the_packed_model(name):
    dense = [layer for layer in from_preset(name)._flatten_layers() if type(layer) is keras.layers.Dense]
    assert [layer.name for layer in dense] == ["head"]


@pytest.mark.skipif("CIFAR10_NPZ" not in os.environ, reason="needs the test images of CIFAR-10")
def test_the_accuracy_is_what_is_said():
    preset = PRESETS["cifar10"]
    data = load_cifar10(preset.test_images / 10_000, "cifar10")
    logits = from_preset("cifar10").predict(data.x_test, batch_size=256, verbose=0)
    right = np.mean(logits.argmax(axis=-1) == data.y_test[:, 0])
    # Another processor rounds differently, which decides an image or two.
    assert abs(right - preset.accuracy) <= 2 / preset.test_images


def test_another_name_is_refused():
    with pytest.raises(ValueError, match=r"`name` must be one of \['cifar10'\]. Received: name='imagenet'"):
        from_preset("imagenet")
