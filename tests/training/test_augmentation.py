"""`mml.models.augmentation`: the layers that follow from how training varies the images."""

import keras
import numpy as np
import pytest

from mml.models import Augmentation
from mml.models.augmentation import random_layers

N = 500
EVERYTHING = Augmentation(rotation=0.02, zoom=0.2, translation=1 / 8, erasing=1 / 16)


def draw_images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def varied(augmentation, images):
    return keras.ops.convert_to_numpy(keras.Sequential(random_layers(augmentation))(images, training=True))


def test_the_default_mirrors_half_of_the_images_and_does_nothing_else():
    images = draw_images(N, 2, 3, 1)
    result = varied(Augmentation(), images)
    same, other = ((result == each).all(axis=(1, 2, 3)) for each in (images, images[:, :, ::-1]))
    assert np.all(same ^ other)
    assert abs(np.mean(other) - 0.5) < 4 * 0.5 / np.sqrt(N)


def test_nothing_is_varied():
    assert random_layers(Augmentation(flip=False)) == []


def test_translation_shifts_rows_and_columns_by_up_to_its_share():
    rows, columns = np.mgrid[:8, :16]
    images = np.broadcast_to(np.stack([rows, columns], axis=-1), (N, 8, 16, 2)).astype("float32")
    result = varied(Augmentation(flip=False, translation=1 / 4), images)
    down, right = (images[:, 4, 8] - result[:, 4, 8]).T
    assert set(down) == set(range(-2, 3))
    assert set(right) == set(range(-4, 5))


def test_erasing_puts_a_square_of_the_mean_color_into_each_image():
    images = 3 + draw_images(N, 8, 8, 3)
    images[::2] -= 6  # normalized images have negative values too
    erased = varied(Augmentation(flip=False, erasing=1 / 16), images)
    changed = (erased != images).any(axis=-1)
    assert np.all(changed.sum(axis=(1, 2)) == 4)
    assert np.all(changed.any(axis=1).sum(axis=-1) == 2) and np.all(changed.any(axis=2).sum(axis=-1) == 2)
    assert np.all(erased[changed] == 0)
    assert np.all(erased[~changed] == images[~changed])


def test_rotation_and_zoom():
    rotation, zoom = random_layers(Augmentation(flip=False, rotation=0.02, zoom=0.2))
    assert rotation.get_config()["factor"] == (-0.02, 0.02)
    assert (zoom.get_config()["height_factor"], zoom.get_config()["width_factor"]) == (0.2, 0.2)


def test_what_is_erased_is_erased_last():
    """Otherwise a shift could move the square out of the image."""
    names = [layer.name for layer in random_layers(EVERYTHING)]
    assert names == ["random_flip", "random_rotation", "random_zoom", "random_translation", "random_erasing"]


def test_off_in_inference_and_compiled_in_training():
    unchanged = keras.layers.Dense(3, kernel_initializer="identity")  # torch must have something to train
    model = keras.Sequential([keras.Input((8, 8, 3)), *random_layers(EVERYTHING), unchanged])
    model.compile("sgd", "mse")
    assert all(layer.supports_jit for layer in model.layers)
    assert model.jit_compile or keras.backend.backend() != "jax"  # Keras compiles on a CPU only with JAX
    images = draw_images(4, 8, 8, 3)
    np.testing.assert_allclose(model.predict(images, verbose=0), images, rtol=1e-6)
    assert not np.array_equal(keras.ops.convert_to_numpy(model(images, training=True)), images)
    assert model.evaluate(images, images, verbose=0) == pytest.approx(0, abs=1e-12)
    loss = model.fit(images, images, verbose=0).history["loss"]
    assert loss[0] > 0.1


@pytest.mark.parametrize("name", ["rotation", "translation", "erasing"])
@pytest.mark.parametrize("value", [-0.1, 1.1, True, None, "0.1", float("nan"), (0.1, 0.2)])
def test_shares_are_named_when_wrong(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a number from 0 to 1. Received: {name}="):
        Augmentation(**{name: value})


@pytest.mark.parametrize("value", [1, None, "horizontal", 0.5])
def test_flip_is_yes_or_no(value):
    with pytest.raises(ValueError, match="`flip` must be a `bool`. Received: flip="):
        Augmentation(flip=value)


def test_numpys_numbers_are_pythons():
    given = Augmentation(flip=np.False_, zoom=np.float64(0.2), erasing=0)
    assert given == Augmentation(flip=False, zoom=0.2)
    assert type(given.flip) is bool
    assert {type(share) for share in (given.rotation, given.zoom, given.translation, given.erasing)} == {float}
