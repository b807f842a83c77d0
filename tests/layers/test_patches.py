import keras
import numpy as np
import oracle
import pytest

from mml.layers import Patches


@pytest.mark.parametrize("shape", [(2, 6, 6, 3), (1, 4, 10, 1), (3, 8, 2, 2)])
def test_equals_the_formula(shape):
    images = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_array_equal(Patches(2)(images), oracle.patches(images, 2))


@pytest.mark.parametrize("strides", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_overlapping_patches_equal_the_formula(strides, padding):
    images = np.random.default_rng(0).normal(size=(2, 6, 9, 2)).astype("float32")
    layer = Patches(3, strides, padding)
    expected = oracle.patches(images, 3, strides, padding)
    np.testing.assert_array_equal(layer(images), expected)
    assert layer.compute_output_shape(images.shape) == layer(keras.Input((6, 9, 2), 2)).shape == expected.shape


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


@pytest.mark.parametrize("strides", [0, -1, 2.5, "4", True])
def test_strides_must_be_a_positive_integer(strides):
    with pytest.raises(ValueError, match=rf"`strides` must be a positive integer.*{strides}"):
        Patches(2, strides)


@pytest.mark.parametrize("padding", ["full", "SAME", None, 1])
def test_another_padding_is_refused(padding):
    with pytest.raises(ValueError, match=rf"`padding` must be 'valid' or 'same'. Received: padding={padding!r}"):
        Patches(2, padding=padding)


def test_without_padding_a_patch_fits_into_an_image():
    images = np.zeros((1, 4, 3, 1), "float32")
    with pytest.raises(ValueError, match="as large as a patch of `patch_size`=4. Received: height=4, width=3"):
        Patches(4, 1)(images)
    assert Patches(4, 1, "same")(images).shape == (1, 12, 16)


def test_a_mask_over_pixels_ends_here():
    assert Patches(2, 1).compute_mask(np.zeros((2, 4, 4, 1)), np.ones((2, 4), "bool")) is None


def test_an_image_without_batch_is_refused():
    with pytest.raises(ValueError, match="shape|ndim"):
        Patches(2)(np.zeros((4, 4, 3), "float32"))
