"""The random layers: what they draw, recovered from the images, and where they read each pixel."""

import keras
import numpy as np
import pytest
from scipy.stats import chi2

from mml import layers

WARPS = [
    ("RandomRotation", (0.02,)),
    ("RandomRotation", (0.4,)),
    ("RandomZoom", (0.2, 0.2)),
    ("RandomZoom", (0.2,)),
    ("RandomZoom", ((-0.5, 0.9), (0.0, 0.3))),
]
EACH_WARP = [*WARPS[:3:2], ("RandomTranslation", (0.4, (0.2, 0.3)))]
N = 4000


def draw_images(*shape):
    return np.random.default_rng(0).uniform(0, 255, size=shape).astype("float32")


def in_training(layer, images):
    return keras.ops.convert_to_numpy(layer(images, training=True))


def ramps(count, height, width):
    """Images whose two channels say where a pixel is: its column and its row."""
    rows, columns = np.mgrid[:height, :width]
    return np.broadcast_to(np.stack([columns, rows], axis=-1), (count, height, width, 2)).astype("float32")


# Bilinear interpolation reproduces a ramp. So the steps about the middle tell what was drawn.


def drawn_turns(layer, count):
    moved = in_training(layer, ramps(count, 5, 5)).astype("float64")
    cos, sin = (moved[:, 2, 3] - moved[:, 2, 1]).T / 2
    np.testing.assert_allclose(np.hypot(cos, sin), 1, atol=1e-5)
    return np.arctan2(sin, cos) / (2 * np.pi)


def drawn_zooms(layer, count):
    """The height's and the width's."""
    moved = in_training(layer, ramps(count, 7, 7)).astype("float64")
    return moved[:, 4, 3, 1] - moved[:, 3, 3, 1], moved[:, 3, 4, 0] - moved[:, 3, 3, 0]


def assert_uniform(values, lower, upper):
    """Test of Kolmogorov and Smirnov at a level of 0.1%, and that no value follows from the one before."""
    assert lower - 1e-5 <= np.min(values) and np.max(values) <= upper + 1e-5
    ranks = np.sort((values - lower) / (upper - lower))
    steps = np.arange(len(ranks) + 1) / len(ranks)
    distance = max(np.max(steps[1:] - ranks), np.max(ranks - steps[:-1]))
    assert distance < 1.95 / np.sqrt(len(values))
    assert_uncorrelated(values[1:], values[:-1])


def assert_uncorrelated(first, second):
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))


# === What is drawn ===


@pytest.mark.parametrize(
    ("factor", "lower", "upper"),
    [(0.02, -0.02, 0.02), (-0.4, -0.4, 0.4), ((-0.1, 0.3), -0.1, 0.3), ((0.3, 0.2), 0.2, 0.3)],
)
def test_angles_are_uniform_and_independent(factor, lower, upper):
    layer = layers.RandomRotation(factor, seed=1)
    turns = drawn_turns(layer, N)
    assert_uniform(turns, lower, upper)
    assert_uncorrelated(turns, drawn_turns(layer, N))


@pytest.mark.parametrize(
    ("factors", "height", "width"),
    [
        ((0.2, 0.4), (0.8, 1.2), (0.6, 1.4)),
        (((-0.5, 0.9), (0.3, 0.0)), (0.5, 1.9), (1.0, 1.3)),
    ],
)
def test_zooms_are_uniform_and_independent(factors, height, width):
    layer = layers.RandomZoom(*factors, seed=1)
    heights, widths = drawn_zooms(layer, N)
    assert_uniform(heights, *height)
    assert_uniform(widths, *width)
    assert_uncorrelated(heights, widths)
    assert_uncorrelated(heights, drawn_zooms(layer, N)[0])


def test_without_a_factor_of_its_own_the_width_follows_the_height():
    heights, widths = drawn_zooms(layers.RandomZoom(0.2, seed=1), N)
    assert_uniform(heights, 0.8, 1.2)
    np.testing.assert_allclose(widths, heights, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "mirrored"),
    [
        ("horizontal", lambda x: x[:, :, ::-1]),
        ("vertical", lambda x: x[:, ::-1]),
        ("horizontal_and_vertical", lambda x: x[:, ::-1, ::-1]),
    ],
)
def test_half_of_the_images_are_flipped(mode, mirrored):
    images = draw_images(N, 2, 3, 1)
    flipped = in_training(layers.RandomFlip(mode, seed=1), images)
    same, other = ((flipped == each).all(axis=(1, 2, 3)) for each in (images, mirrored(images)))
    assert np.all(same ^ other)
    assert abs(np.mean(other) - 0.5) < 4 * 0.5 / np.sqrt(N)
    assert_uncorrelated(other[1:], other[:-1])


@pytest.mark.parametrize("shape", [(8,), (5, 8), (2, 2, 2, 4)], ids=str)
def test_values_are_dropped_at_the_rate_and_the_others_scaled(shape):
    dropped = in_training(layers.Dropout(0.3, seed=1), np.ones((N, *shape), "float32"))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.7], rtol=1e-6)
    assert abs(np.mean(dropped == 0) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / dropped.size)
    flat = dropped.reshape(-1)
    assert_uncorrelated(flat[1:], flat[:-1])


def test_dropout_of_nothing():
    assert layers.Dropout(0.5)(np.ones((2, 0, 3), "float32"), training=True).shape == (2, 0, 3)


def test_dropout_with_a_noise_shape_drops_whole_rows():
    dropped = in_training(layers.Dropout(0.5, noise_shape=(None, 4, 1), seed=1), np.ones((50, 4, 3), "float32"))
    assert set(np.unique(dropped)) == {0, 2}
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[..., :1], dropped.shape))


def shifted(image, down, right):
    """An image moved by whole pixels, and mirrored beyond its edge: the mirror image repeats the edge."""
    height, width, _ = image.shape
    padded = np.pad(image, [(height, height), (width, width), (0, 0)], mode="symmetric")
    return padded[height - down : 2 * height - down, width - right : 2 * width - right]


def drawn_shifts(layer, image, count):
    """How far each of `count` equal images was moved, down and to the right."""
    height, width, _ = image.shape
    found = {
        shifted(image, down, right).tobytes(): (down, right)
        for down in range(1 - height, height)
        for right in range(1 - width, width)
    }
    assert len(found) == (2 * height - 1) * (2 * width - 1), "no two shifts look alike"
    moved = in_training(layer, np.repeat(image[None], count, axis=0))
    return np.array([found[each.tobytes()] for each in moved]).T


def assert_equally_likely(values, lowest, highest):
    """Pearson's test at a level of 0.1%, and that no value follows from the one before."""
    choices, counts = np.unique(values, return_counts=True)
    np.testing.assert_array_equal(choices, np.arange(lowest, highest + 1))
    expected = len(values) / len(choices)
    assert np.sum((counts - expected) ** 2) / expected < chi2.ppf(0.999, len(choices) - 1)
    assert_uncorrelated(values[1:], values[:-1])


@pytest.mark.parametrize(
    ("factors", "down", "right"),
    [
        ((1 / 4, -1 / 5), (-2, 2), (-2, 2)),
        (((-0.25, 0.5), (0.3, 0.1)), (-2, 4), (1, 3)),
        ((0.3, 0.16), (-2, 2), (-2, 2)),  # of 8 rows and 10 columns: 2.4 and 1.6 pixels
    ],
    ids=str,
)
def test_shifts_are_of_whole_pixels_equally_likely_and_independent(factors, down, right):
    layer = layers.RandomTranslation(*factors, seed=1)
    image = draw_images(8, 10, 1)
    downs, rights = drawn_shifts(layer, image, N)
    assert_equally_likely(downs, *down)
    assert_equally_likely(rights, *right)
    assert_uncorrelated(downs, rights)
    assert_uncorrelated(downs, drawn_shifts(layer, image, N)[0])


def test_one_square_of_each_image_is_erased():
    images = draw_images(N, 16, 16, 2) + 1
    erased = in_training(layers.RandomErasing((1, 1), (1 / 16, 1 / 16), fill_value=0, seed=1), images)
    gone = erased[..., 0] == 0
    np.testing.assert_array_equal(erased, np.where(gone[..., None], 0, images))
    tops, lefts = gone.any(axis=2).argmax(axis=1), gone.any(axis=1).argmax(axis=1)
    rows, columns = np.arange(16)[:, None], np.arange(16)
    top, left = tops[:, None, None], lefts[:, None, None]
    np.testing.assert_array_equal(gone, (top <= rows) & (rows < top + 4) & (left <= columns) & (columns < left + 4))
    # As Keras has it, only a square that starts at 0 exactly would hold the first line.
    for starts in (tops, lefts):
        assert_equally_likely(starts, 1, 12)
    assert_uncorrelated(tops, lefts)


# === Where each pixel comes from ===


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [(4, "dcba"), (3, "cbaa"), (2, "baab"), (1, "aabc"), (0, "abcd"), (-1, "bcdd"), (-2, "cddc"), (-4, "dcba")],
)
def test_a_shifted_image_is_mirrored_beyond_its_edge(pixels, expected):
    line = np.array([[ord(letter) for letter in "abcd"]], "float32")
    factor = (pixels / 4, pixels / 4)
    right = in_training(layers.RandomTranslation(0, factor), line[..., None])
    down = in_training(layers.RandomTranslation(factor, 0), line.T[..., None])
    for moved in (right, down):
        assert "".join(chr(int(value)) for value in moved.ravel()) == expected


@pytest.mark.parametrize("factors", [(0.25, -0.5), (-0.25, 0.75), (0, 0)], ids=str)
def test_shifts_are_those_of_keras(factors):
    images = draw_images(3, 8, 12, 2)
    ranges = [(factor, factor) for factor in factors]
    theirs = keras.layers.RandomTranslation(*ranges, fill_mode="reflect", interpolation="nearest")
    expected = in_training(theirs, images)
    np.testing.assert_array_equal(in_training(layers.RandomTranslation(*ranges), images), expected)
    np.testing.assert_array_equal(
        expected, [shifted(image, int(8 * factors[0]), int(12 * factors[1])) for image in images]
    )


def bilinear(image, columns, rows):
    """Read an image between its pixels, mirrored beyond its edge, in float64."""
    padding = 3 * max(image.shape[:2])
    padded = np.pad(image.astype("float64"), [(padding, padding), (padding, padding), (0, 0)], mode="symmetric")
    columns, rows = columns + padding, rows + padding
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    right_share, bottom_share = (columns - left)[..., None], (rows - top)[..., None]
    upper = padded[top, left] * (1 - right_share) + padded[top, left + 1] * right_share
    lower = padded[top + 1, left] * (1 - right_share) + padded[top + 1, left + 1] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


@pytest.mark.parametrize("factor", [0.02, 1.0])
@pytest.mark.parametrize("shape", [(6, 12, 12, 3), (3, 9, 14, 1)], ids=str)
def test_rotation_turns_about_the_middle(shape, factor):
    images = draw_images(*shape)
    _, height, width, _ = shape
    turns = drawn_turns(layers.RandomRotation(factor, seed=1), len(images))
    moved = in_training(layers.RandomRotation(factor, seed=1), images)
    rows, columns = np.mgrid[:height, :width].astype("float64")
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    for image, turn, actual in zip(images, turns, moved, strict=True):
        # Rows are counted downwards. So this is clockwise, and the image turns counterclockwise.
        cos, sin = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
        from_columns = middle_column + cos * (columns - middle_column) - sin * (rows - middle_row)
        from_rows = middle_row + sin * (columns - middle_column) + cos * (rows - middle_row)
        np.testing.assert_allclose(actual, bilinear(image, from_columns, from_rows), atol=255 * 1e-4)


@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_positive_angles_are_counterclockwise(quarters):
    images = draw_images(2, 6, 6, 3)
    moved = in_training(layers.RandomRotation((quarters / 4, quarters / 4)), images)
    np.testing.assert_allclose(moved, np.rot90(images, quarters, axes=(1, 2)), atol=255 * 1e-5)


@pytest.mark.parametrize("factors", [(0.2,), ((-0.9, 1.0), 0.5)], ids=str)
@pytest.mark.parametrize("shape", [(6, 12, 12, 3), (3, 9, 14, 1)], ids=str)
def test_zoom_is_about_the_middle(shape, factors):
    images = draw_images(*shape)
    _, height, width, _ = shape
    zooms = drawn_zooms(layers.RandomZoom(*factors, seed=1), len(images))
    moved = in_training(layers.RandomZoom(*factors, seed=1), images)
    rows, columns = np.mgrid[:height, :width].astype("float64")
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    for image, height_zoom, width_zoom, actual in zip(images, *zooms, moved, strict=True):
        from_columns = middle_column + width_zoom * (columns - middle_column)
        from_rows = middle_row + height_zoom * (rows - middle_row)
        np.testing.assert_allclose(actual, bilinear(image, from_columns, from_rows), atol=255 * 1e-4)


@pytest.mark.parametrize("name, factors", WARPS, ids=str)
def test_the_images_are_those_of_keras(name, factors):
    images = draw_images(3, 9, 14, 2)
    ours, theirs = getattr(layers, name)(*factors, seed=1), getattr(keras.layers, name)(*factors, seed=1)
    for _ in range(2):
        expected = in_training(theirs, images)
        assert np.max(np.abs(expected - images)) > 1
        np.testing.assert_allclose(in_training(ours, images), expected, atol=255 * 1e-5)


@pytest.mark.parametrize("name, factors", EACH_WARP, ids=str)
def test_one_image_is_moved_like_a_batch_of_one(name, factors):
    images = draw_images(1, 9, 14, 2)
    expected = in_training(getattr(layers, name)(*factors, seed=1), images)
    np.testing.assert_array_equal(in_training(getattr(layers, name)(*factors, seed=1), images[0]), expected[0])


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("RandomFlip", ("horizontal",)),
        ("Dropout", (0.3,)),
        ("RandomErasing", (0.5,)),
        ("RandomErasing", (1.0, 0.3, 7)),
    ],
    ids=str,
)
def test_flips_zeros_and_patches_are_those_of_keras(name, arguments):
    images = draw_images(8, 6, 5, 3)
    ours, theirs = getattr(layers, name)(*arguments, seed=1), getattr(keras.layers, name)(*arguments, seed=1)
    for _ in range(2):
        np.testing.assert_array_equal(in_training(ours, images), in_training(theirs, images))


# === Number types ===


@pytest.mark.parametrize("name, factors", EACH_WARP, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rounds_colors_and_nothing_else(name, factors, dtype):
    # bfloat16 has no odd numbers above 256: with coordinates in it, columns would be mixed up.
    images = draw_images(2, 3, 600, 1) / 255
    expected = in_training(getattr(layers, name)(*factors, seed=1), images)
    moved = getattr(layers, name)(*factors, seed=1, dtype=dtype)(images, training=True)
    assert keras.backend.standardize_dtype(moved.dtype) == dtype
    moved = keras.ops.convert_to_numpy(keras.ops.cast(moved, "float32"))
    np.testing.assert_allclose(moved, expected, atol=2 * 2.0 ** (-12 if dtype == "float16" else -9))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "name, factors", [*EACH_WARP, ("RandomFlip", ("horizontal",)), ("RandomErasing", ())], ids=str
)
def test_whole_numbers_become_floats(name, factors, training):
    images = draw_images(2, 6, 6, 3).astype("uint8")
    layer, same = (getattr(layers, name)(*factors, seed=1) for _ in range(2))
    moved = layer(images, training=training)
    assert keras.backend.standardize_dtype(moved.dtype) == layer(keras.Input((6, 6, 3), dtype="uint8")).dtype
    assert keras.backend.standardize_dtype(moved.dtype) == "float32"
    np.testing.assert_array_equal(moved, same(images.astype("float32"), training=training))


# === State, masks and arguments ===


def after_one_step(package, name, arguments, seed):
    layer = getattr(package, name)(*arguments, seed=seed)
    model = keras.Sequential([keras.Input((6, 6, 3)), layer])
    in_training(layer, draw_images(2, 6, 6, 3))
    return model, layer


RANDOM = [
    *[("Dropout", (0.5,)), ("RandomErasing", ()), ("RandomFlip", ("vertical",)), ("RandomRotation", (0.3,))],
    *[("RandomTranslation", (0.3, 0.2)), ("RandomZoom", (0.3, 0.2))],
]


@pytest.mark.parametrize("name, arguments", RANDOM)
def test_the_random_state_is_saved_with_the_weights(name, arguments, tmp_path):
    images = draw_images(16, 6, 6, 3)
    model, layer = after_one_step(layers, name, arguments, seed=1)
    model.save_weights(tmp_path / "m.weights.h5")
    other, other_layer = after_one_step(layers, name, arguments, seed=2)
    assert np.any(in_training(other_layer, images) != in_training(layer, images))
    other.load_weights(tmp_path / "m.weights.h5")
    model.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(in_training(other_layer, images), in_training(layer, images))


@pytest.mark.parametrize("name, arguments", RANDOM)
def test_weights_without_a_random_state_leave_it_alone(name, arguments, tmp_path):
    images = draw_images(16, 6, 6, 3)
    after_one_step(keras.layers, name, arguments, seed=2)[0].save_weights(tmp_path / "m.weights.h5")
    model, layer = after_one_step(layers, name, arguments, seed=1)
    model.load_weights(tmp_path / "m.weights.h5")
    expected = in_training(after_one_step(layers, name, arguments, seed=1)[1], images)
    np.testing.assert_array_equal(in_training(layer, images), expected)


def test_dropout_passes_a_mask_on():
    x = np.array([[[1.0], [3.0], [0.0], [0.0]]], "float32")
    dropout = layers.Dropout(0.5)
    model = keras.Sequential(
        [keras.Input((4, 1)), keras.layers.Masking(), dropout, keras.layers.GlobalAveragePooling1D()]
    )
    np.testing.assert_allclose(model(x), [[2.0]])  # the mean over the two steps that are not masked


@pytest.mark.parametrize("name, factors", EACH_WARP, ids=str)
@pytest.mark.parametrize(
    "option", [{"fill_mode": "constant"}, {"interpolation": "bicubic"}, {"data_format": "channels_first"}], ids=str
)
def test_another_way_to_warp_is_refused(name, factors, option):
    (argument, value), *_ = option.items()
    with pytest.raises(ValueError, match=rf"{name} supports only .*Received: .*{argument}='{value}'"):
        getattr(layers, name)(*factors, **option)


def test_the_data_format_of_the_configuration_counts(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="Received: .*data_format='channels_first'"):
        layers.RandomRotation(0.1)


@pytest.mark.parametrize(
    "value", [1.1, -1.5, float("nan"), "0.2", None, True, (0.1,), (0.1, 0.2, 0.3), (0, 2)], ids=str
)
def test_factors_out_of_range_are_named(value):
    with pytest.raises(ValueError) as error:
        layers.RandomRotation(value)
    assert str(error.value) == (
        f"`factor` must be one or two numbers in the range [-1, 1]. Received: factor={value!r}"
    )
    with pytest.raises(ValueError, match="`height_factor` must be .* Received: height_factor="):
        layers.RandomZoom(value)
    for name in ("height_factor", "width_factor"):
        with pytest.raises(ValueError, match=rf"`{name}` must be .* in the range \[-1, 1\]. Received: {name}="):
            layers.RandomTranslation(**{"height_factor": 0.1, "width_factor": 0.1, name: value})
    if value is not None:
        with pytest.raises(ValueError, match="`width_factor` must be .* Received: width_factor="):
            layers.RandomZoom(0.1, value)


def test_a_zoom_to_nothing_is_refused():
    for factor in (-1, 1, 1.0, (-1, 0.5)):  # one number stands for a range on both sides of 0
        with pytest.raises(ValueError, match=r"`height_factor` must be .* in the range \(-1, 1\]. Received"):
            layers.RandomZoom(factor)
    assert layers.RandomZoom((-0.5, 1)).height_factor == (-0.5, 1)
    assert layers.RandomRotation(-1).factor == (-1, 1)


@pytest.mark.parametrize("name, factors", EACH_WARP, ids=str)
def test_what_is_no_image_is_refused(name, factors):
    with pytest.raises(ValueError, match="expected min_ndim=3, found ndim=2"):
        getattr(layers, name)(*factors)(np.ones((4, 4), "float32"))
