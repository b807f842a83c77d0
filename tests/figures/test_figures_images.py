import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import ops

from mml_book.figures import image_rows

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), "uint8")


def pictures(figure):
    """The arrays that a figure shows, one for each of its axes that shows one."""
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def test_rows_show_the_images_in_order_beside_their_label(images):
    figure = image_rows({"two": images[:2], "five": images[2:]})
    np.testing.assert_array_equal(np.stack(pictures(figure)), images)
    assert len(figure.axes) == 10
    assert [figure.axes[0].get_ylabel(), figure.axes[5].get_ylabel()] == ["two", "five"]
    assert [bool(axis.images) for axis in figure.axes] == [True] * 2 + [False] * 3 + [True] * 5


def test_rows_take_tensors_and_a_row_without_images(images):
    figure = image_rows({"none": images[:0], "one": ops.convert_to_tensor(images[:1])})
    np.testing.assert_array_equal(np.stack(pictures(figure)), images[:1])


def test_a_gray_image_of_one_channel_spans_black_to_white():
    figure = image_rows({"dark": np.full((1, 2, 2, 1), 10, "uint8"), "light": np.full((1, 2, 2, 1), 0.9)})
    assert [axis.images[0].get_clim() for axis in figure.axes] == [(0, 255), (0, 1)]


@pytest.mark.parametrize("rows", [{}, {"none": np.zeros((0, 4, 4, 3))}])
def test_rows_without_any_image_are_refused(rows):
    with pytest.raises(ValueError, match="rows.*at least one image"):
        image_rows(rows)


def test_rows_refuse_a_single_image(images):
    with pytest.raises(ValueError, match=r"rows\['one'\].shape=\(5, 4, 3\)"):
        image_rows({"one": images[0]})
    assert not plt.get_fignums()
