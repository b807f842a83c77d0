import keras
import numpy as np
import oracle
import pytest

from mml.layers import Patches


@pytest.mark.parametrize("shape", [(2, 6, 6, 3), (1, 4, 10, 1), (3, 8, 2, 2)])
def test_equals_the_formula(shape):
    images = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_array_equal(Patches(2)(images), oracle.patches(images, 2))


@pytest.mark.parametrize("shape", [(2, None, 6, 3), (2, 4, None, 3), (2, None, None, 3)], ids=str)
def test_the_number_of_patches_needs_both_sides(shape):
    assert Patches(2).compute_output_shape(shape) == (2, None, 12)


@pytest.mark.parametrize("batch", [None, 2])
def test_shapes_are_known_before_the_images(batch):
    output = Patches(2)(keras.Input(batch_shape=(batch, 4, 6, 3)))
    assert output.shape == (batch, 6, 12)
    assert Patches(2).compute_output_shape((batch, 4, 6, 3)) == (batch, 6, 12)


@pytest.mark.parametrize("height, width", [(5, 4), (4, 5), (1, 2)])
def test_an_image_that_patches_do_not_fill_is_refused(height, width):
    images = np.zeros((1, height, width, 3), "float32")
    with pytest.raises(ValueError, match=rf"(?s)patch_size.*{height}.*{width}"):
        Patches(2)(images)
    with pytest.raises(ValueError, match=rf"(?s)patch_size.*{height}.*{width}"):
        Patches(2)(keras.Input((height, width, 3)))


def test_the_size_of_the_images_may_be_unknown_before_they_come():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, Patches(2)(inputs))
    assert model.output_shape == (None, None, 12)
    for height, width in [(4, 6), (2, 2)]:
        images = np.random.default_rng(0).normal(size=(3, height, width, 3)).astype("float32")
        np.testing.assert_array_equal(model(images), oracle.patches(images, 2))
    with pytest.raises(ValueError, match=r"(?s)patch_size.*3"):
        model(np.zeros((1, 3, 4, 3), "float32"))


@pytest.mark.parametrize("patch_size", [0, -1, 2.5, "4", None, True])
def test_the_size_must_be_a_positive_integer(patch_size):
    with pytest.raises(ValueError, match=rf"patch_size.*{patch_size}"):
        Patches(patch_size)


def test_an_image_without_batch_is_refused():
    with pytest.raises(ValueError, match="shape|ndim"):
        Patches(2)(np.zeros((4, 4, 3), "float32"))
