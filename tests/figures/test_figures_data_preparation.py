import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mml_book.figures import channel_histograms, class_counts, image_rows, split_areas

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), "uint8")


def test_each_opens_one_figure_and_returns_it(images):
    draw = [
        lambda: image_rows({"all": images}),
        lambda: split_areas(500, 100),
        lambda: class_counts(np.array([[0], [1]]), ("a", "b")),
        lambda: channel_histograms(images, np.ones(3), np.ones(3)),
    ]
    for number, function in enumerate(draw, start=1):
        figure = function()
        assert len(plt.get_fignums()) == number
        assert figure.number == plt.get_fignums()[-1]
        figure.canvas.draw()


@pytest.mark.parametrize("n_train, n_test", [(500, 100), (5, 1), (50_000, 10_000)])
def test_areas_are_in_proportion_to_the_numbers_of_images(n_train, n_test):
    (axis,) = split_areas(n_train, n_test).axes
    areas = [rectangle.get_width() * rectangle.get_height() for rectangle in axis.patches]
    np.testing.assert_allclose(areas, [50_000, n_train, 10_000, n_test])
    assert axis.get_aspect() == 1
    assert {f"{n_train:,} used", f"{n_test:,} used"} <= {text.get_text() for text in axis.texts}


@pytest.mark.parametrize("name, numbers", [("n_train", (50_001, 1)), ("n_train", (0, 1)), ("n_test", (1, 10_001))])
def test_areas_of_more_than_there_is_are_refused(name, numbers):
    with pytest.raises(ValueError, match=f"`{name}`"):
        split_areas(*numbers)


def test_bars_are_the_counts_and_the_band_is_two_deviations_of_a_binomial():
    labels = np.array([[0]] * 4 + [[1]] * 12 + [[2]] * 32)  # 48 images, 12 per class if even
    (axis,) = class_counts(labels, ("ant", "bee", "cow", "doe")).axes
    assert [bar.get_width() for bar in axis.containers[0]] == [4, 12, 32, 0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["ant", "bee", "cow", "doe"]

    (band,) = [patch for patch in axis.patches if patch.get_label() == "chance"]
    low, high = band.get_x(), band.get_x() + band.get_width()
    deviation = (48 * (1 / 4) * (3 / 4)) ** 0.5
    np.testing.assert_allclose([low, high], [12 - 2 * deviation, 12 + 2 * deviation])


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_name_is_refused(label):
    with pytest.raises(ValueError, match=f"`labels` must hold integers from 0 to 1. Received: .*{label}"):
        class_counts(np.array([[label], [0]]), ("a", "b"))


def test_histograms_hold_every_pixel_before_and_after(images):
    images[..., 1] //= 4  # three channels that differ
    mean, std = images.mean((0, 1, 2)), images.std((0, 1, 2))
    before, after = channel_histograms(images, mean, std).axes
    for axis, edges in ((before, (0, 255)), (after, (-mean / std, (255 - mean) / std))):
        assert len(axis.lines) >= 3
        for channel, line in enumerate(axis.lines[:3]):
            x = line.get_xdata()
            low, high = (np.broadcast_to(edge, 3)[channel] for edge in edges)
            np.testing.assert_allclose([x.min(), x.max()], [low, high], atol=1e-9)
            assert line.get_label() == ("red", "green", "blue")[channel]
    # The share of the pixels in each of the 32 bins of 8 values, counted without a histogram function.
    for channel, line in enumerate(before.lines[:3]):
        values = images[..., channel].ravel() * (32 / 255)
        expected = [np.mean(np.minimum(np.floor(values), 31) == k) for k in range(32)]
        np.testing.assert_allclose(line.get_ydata()[:32], expected, atol=1e-12)


def test_channels_have_colors_that_differ(images):
    axis = channel_histograms(images, np.ones(3), np.ones(3)).axes[0]
    assert len({to_rgb(line.get_color()) for line in axis.lines[:3]}) == 3


@pytest.mark.parametrize("shape, dtype", [((2, 4, 4, 3), "float32"), ((2, 4, 4, 1), "uint8"), ((4, 4, 3), "uint8")])
def test_histograms_refuse_other_images(shape, dtype):
    wrong = np.zeros(shape, dtype)
    with pytest.raises(ValueError, match=r"`images` must be uint8"):
        channel_histograms(wrong, np.ones(3), np.ones(3))
