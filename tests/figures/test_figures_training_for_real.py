"""Figures of the chapter on several devices: they show the numbers they are given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyArrowPatch, Rectangle

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


@pytest.mark.parametrize("devices", [1, 8])
def test_the_batch_is_cut_into_equal_shares_of_a_color_each(devices):
    (axes,) = figures.data_parallel(devices, images_each=4).axes
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    top = max(box.get_y() for box in boxes)
    images = sorted((box for box in boxes if box.get_y() == top), key=Rectangle.get_x)
    colors = [image.get_facecolor() for image in images]
    assert len(images) == 4 * devices and len(set(colors)) == devices
    assert [colors.index(color) // 4 for color in colors] == np.repeat(range(devices), 4).tolist()
    np.testing.assert_allclose(np.diff([image.get_x() for image in images]), images[0].get_width())
    assert [text.get_text() for text in axes.texts[:devices]] == [str(number) for number in range(devices)]
    assert sum(isinstance(patch, FancyArrowPatch) for patch in axes.patches) == 3 * devices


@pytest.mark.parametrize("name", ["devices", "images_each"])
def test_nothing_to_draw(name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        figures.data_parallel(**{"devices": 2, name: 0})


def test_losses_lie_on_each_other_and_their_differences_below():
    one = pd.DataFrame({"epoch": [0, 1, 2], "loss": [2.3, 2.1, 2.0], "val_loss": [2.4, 2.2, 2.1]})
    two = one.assign(loss=one["loss"] + [0, 1e-6, -1e-4])
    above, below = figures.losses_apart(one, two, ("one device", "eight devices")).axes
    drawn = [line.get_ydata().tolist() for line in above.lines]
    for history in (one, two):
        for column in ("loss", "val_loss"):
            assert history[column].tolist() in drawn
    assert [text.get_text() for text in above.figure.legends[0].get_texts()] == [
        f"{name}, {images}" for images in ("training", "validation") for name in ("one device", "eight devices")
    ]
    differences = {line.get_label(): line for line in below.lines}
    np.testing.assert_allclose(differences["training"].get_ydata(), [0, 1e-6, 1e-4], rtol=1e-6, atol=0)
    np.testing.assert_array_equal(differences["validation"].get_ydata(), 0)
    assert differences["training"].get_xdata().tolist() == [1, 2, 3]


def test_losses_of_other_epochs():
    one = pd.DataFrame({"epoch": [0, 1], "loss": [2.3, 2.1], "val_loss": [2.4, 2.2]})
    with pytest.raises(ValueError, match=r"same epochs. Received: \[0, 1\] and \[0\]"):
        figures.losses_apart(one, one[:1], ("one", "other"))
