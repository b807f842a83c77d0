import keras
import numpy as np
import pytest

from mml import layers

WARPS = [
    ("RandomRotation", (0.02,)),
    ("RandomRotation", (0.4,)),
    ("RandomZoom", (0.2, 0.2)),
    ("RandomZoom", (0.2,)),
    ("RandomZoom", ((-0.5, 0.9), (0.0, 0.3))),
]


@pytest.mark.parametrize("shape", [(4, 12, 12, 3), (3, 9, 14, 1), (12, 10, 3)], ids=str)
@pytest.mark.parametrize("name, factors", WARPS, ids=str)
def test_the_pictures_are_those_of_keras(name, factors, shape):
    images = np.random.default_rng(0).uniform(0, 255, size=shape).astype("float32")
    ours, theirs = getattr(layers, name)(*factors, seed=1), getattr(keras.layers, name)(*factors, seed=1)
    expected = np.asarray(theirs(images, training=True))
    assert np.max(np.abs(expected - images)) > 1
    np.testing.assert_allclose(ours(images, training=True), expected, atol=255 * 1e-5)


@pytest.mark.parametrize("name, factors", WARPS[:3:2], ids=str)
def test_half_precision_is_kept(name, factors):
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float16")
    ours, theirs = (getattr(module, name)(*factors, seed=1, dtype="float16") for module in (layers, keras.layers))
    moved = np.asarray(ours(images, training=True))
    assert moved.dtype == np.float16
    np.testing.assert_allclose(moved, theirs(images, training=True), atol=5e-3)


@pytest.mark.parametrize("name, factors", WARPS[:3:2], ids=str)
@pytest.mark.parametrize(
    "option", [{"fill_mode": "constant"}, {"interpolation": "nearest"}, {"data_format": "channels_first"}], ids=str
)
def test_another_way_to_warp_is_refused(name, factors, option):
    with pytest.raises(ValueError, match=next(iter(option.values()))):
        getattr(layers, name)(*factors, **option)
