"""Figures of the chapter on packing: they show the numbers they are given."""

import numpy as np
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def texts(items):
    return [item.get_text() for item in items]


def test_packed_byte_shows_digits_powers_and_their_sum():
    (ax,) = figures.packed_byte(np.array([1, 0, -1, 0, 1], "int8")).axes
    shown = texts(ax.texts)
    assert [shown.count(weight) for weight in ("+1", "−1")] == [2, 1]
    assert all(f"× {3**place}" in shown for place in range(5))
    assert shown[-1] == f"byte {2 + 3 + 0 + 27 + 162}"
    assert len(ax.patches) == 5


@pytest.mark.parametrize("weights", [[1, 0, -1, 0], [1, 0, -1, 0, 2]])
def test_packed_byte_refuses_others(weights):
    with pytest.raises(ValueError, match="`weights` must be five integers"):
        figures.packed_byte(weights)


def test_running_sum_adds_subtracts_and_skips():
    figure = figures.running_sum(np.array([100, -20, 3, 7], "int8"), np.array([1, -1, 0, 1], "int8"))
    above, below = figure.axes
    assert texts(figure.legends[0].get_texts()) == ["added (2)", "subtracted (1)", "skipped (1)"]
    heights = [[bar.get_height() for bar in bars] for bars in above.containers]
    assert heights == [[100, 7], [-20], [3]]
    assert below.lines[0].get_ydata().tolist() == [0, 100, 120, 120, 127]
    assert texts(below.texts) == ["127"]


@pytest.mark.parametrize(("x", "weights"), [([1, 2], [1]), ([1, 2], [1, 3]), ([[1]], [[1]])])
def test_running_sum_refuses_others(x, weights):
    with pytest.raises(ValueError, match="`x_quantized` and `weights` must have the same length"):
        figures.running_sum(x, weights)


def test_predictions_beside_shows_the_first_models_classes_for_each_model():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), "uint8")
    first = np.array([[0.1, 0.6, 0.3], [0.5, 0.1, 0.4]])
    second = np.array([[0.2, 0.5, 0.3], [0.3, 0.1, 0.6]])
    figure = figures.predictions_beside(images, {"before": first, "after": second}, ("cat", "dog", "ship"), top=2)
    pictures, bars = figure.axes[::2], figure.axes[1::2]
    for picture, image in zip(pictures, images, strict=True):
        assert np.array_equal(picture.images[0].get_array(), image)
    assert [texts(ax.get_yticklabels()) for ax in bars] == [["dog", "ship"], ["cat", "ship"]]
    widths = [[[bar.get_width() for bar in group] for group in ax.containers] for ax in bars]
    assert widths == [[[0.6, 0.3], [0.5, 0.3]], [[0.5, 0.4], [0.3, 0.6]]]
    assert texts(figure.legends[0].get_texts()) == ["before", "after"]


def test_predictions_beside_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"`predictions` must have shape \(1, 2\). Received: shape \(1, 3\) of 'a'"):
        figures.predictions_beside(np.zeros((1, 8, 8, 3)), {"a": np.zeros((1, 3))}, ("cat", "dog"))
