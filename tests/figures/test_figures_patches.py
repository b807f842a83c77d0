import matplotlib.pyplot as plt
import numpy as np
import oracle
import pytest
from keras import ops

from mml_book.figures import image_with_grid, numbered_pixels, patch_maps, patch_sizes, patches_apart, there_and_back

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), "uint8")


def picture(axis):
    return np.asarray(axis.images[0].get_array())


def test_each_opens_one_figure_and_returns_it(image):
    patches = oracle.patches(image[None], 2)[0].astype("uint8")
    draw = [
        lambda: image_with_grid(image, 2),
        lambda: patches_apart(patches, 2, 4, 6),
        lambda: there_and_back(image, patches, image, 2),
        lambda: numbered_pixels({"image": np.arange(24).reshape(4, 6)}, 2, 6),
        lambda: patch_sizes(image, [1, 2]),
        lambda: patch_maps({"one": np.ones((2, 3)), "two": np.eye(2)}, image),
    ]
    for number, function in enumerate(draw, start=1):
        figure = function()
        assert len(plt.get_fignums()) == number
        assert figure.number == plt.get_fignums()[-1]
        figure.canvas.draw()


def test_the_grid_lies_on_the_edges_of_the_patches(image):
    (axis,) = image_with_grid(image, 2).axes
    np.testing.assert_array_equal(picture(axis), image)
    assert axis.images[0].get_extent() == [0, 6, 4, 0]  # so that pixel edges are whole numbers
    horizontal = [line.get_ydata()[0] for line in axis.lines if line.get_ydata()[0] == line.get_ydata()[1]]
    vertical = [line.get_xdata()[0] for line in axis.lines if line.get_xdata()[0] == line.get_xdata()[1]]
    assert horizontal == [0, 2, 4]
    assert vertical == [0, 2, 4, 6]


@pytest.mark.parametrize("scale", [1, 1 / 255], ids=["uint8", "float"])
def test_apart_is_the_image_with_gray_between_the_patches(image, scale):
    image = image if scale == 1 else image * scale
    patches = oracle.patches(image[None], 2)[0].astype(image.dtype)
    (axis,) = patches_apart(ops.convert_to_tensor(patches), 2, height=4, width=6).axes
    apart = picture(axis)
    assert apart.shape == (6, 10, 3)  # two pixels between patches
    rows, columns = [0, 1, 4, 5], [0, 1, 4, 5, 8, 9]
    np.testing.assert_allclose(apart[np.ix_(rows, columns)], image, atol=1e-7)
    gray = 128 if scale == 1 else 0.5
    assert (apart[[2, 3]] == gray).all()
    assert (apart[:, [2, 3, 6, 7]] == gray).all()
    assert [text.get_text() for text in axis.texts] == ["0", "2", "3", "5"]


def test_there_and_back_shows_what_it_was_given(image):
    patches = oracle.patches(image[None], 2)[0].astype("uint8")
    restored = image[::-1]
    first, second, third = there_and_back(image, patches, restored, 2).axes
    np.testing.assert_array_equal(picture(first), image)
    np.testing.assert_array_equal(picture(second)[np.ix_([0, 1, 4, 5], [0, 1, 4, 5, 8, 9])], image)
    np.testing.assert_array_equal(picture(third), restored)


def test_pixels_of_a_patch_share_a_color_of_their_own():
    numbers = np.random.default_rng(0).permutation(24).reshape(3, 8)  # of an image of 4x6
    figure = numbered_pixels({"shuffled": numbers}, patch_size=2, width=6)
    figure.canvas.draw()
    (axis,) = figure.axes
    colors = {}
    for number, color in zip(numbers.ravel(), axis.collections[0].get_facecolors(), strict=True):
        row, column = divmod(int(number), 6)
        colors.setdefault((row // 2, column // 2), set()).add(tuple(color))
    assert len(colors) == 6
    assert all(len(found) == 1 for found in colors.values())
    assert len(set.union(*colors.values())) == 6
    assert [text.get_text() for text in axis.texts] == [str(number) for number in numbers.ravel()]


def test_means_fill_their_patches(image):
    axes = patch_sizes(image, [1, 2]).axes
    assert [axis.get_title() for axis in axes[:2]] == ["1×1", "2×2"]
    np.testing.assert_array_equal(picture(axes[0]), image)
    np.testing.assert_array_equal(picture(axes[2]), image)  # a patch of one pixel is its own mean
    expected = np.empty(image.shape)
    for row in range(0, 4, 2):
        for column in range(0, 6, 2):
            for channel in range(3):
                block = image[row : row + 2, column : column + 2, channel]
                expected[row : row + 2, column : column + 2, channel] = block.astype(float).sum() / 4
    np.testing.assert_allclose(picture(axes[3]), expected, atol=0.5)


def test_maps_show_their_values_beside_the_image(image):
    one, two = np.arange(6.0).reshape(2, 3), -np.arange(4.0).reshape(2, 2)
    left, middle, right, *bars = patch_maps({"one": one, "two": two}, image).axes
    np.testing.assert_array_equal(picture(left), image)
    np.testing.assert_array_equal(middle.collections[0].get_array(), one)
    np.testing.assert_array_equal(right.collections[0].get_array(), two)
    assert [bar.get_xlabel() for bar in bars] == ["one", "two"]
    assert middle.yaxis_inverted()  # the first row is on top, as in the image


def test_patches_that_do_not_fill_the_image_are_refused(image):
    for draw in (
        lambda: image_with_grid(image, 4),
        lambda: patches_apart(np.zeros((6, 12)), 4, 4, 6),
        lambda: there_and_back(image, np.zeros((6, 12)), image, 4),
        lambda: numbered_pixels({"image": np.arange(24).reshape(4, 6)}, 4, 6),
        lambda: patch_sizes(image, [2, 4]),
    ):
        with pytest.raises(ValueError, match="multiples of `patch_size`=4"):
            draw()
    assert not plt.get_fignums()


def test_a_map_without_two_axes_is_refused():
    with pytest.raises(ValueError, match=r"maps\['flat'\].shape=\(6,\)"):
        patch_maps({"flat": np.arange(6)})
    assert not plt.get_fignums()
