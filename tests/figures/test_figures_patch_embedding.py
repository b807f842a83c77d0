import numpy as np
import pytest
from matplotlib.colors import to_rgba

from mml_book import figures
from mml_book.figures.quantization import MINUS, PLUS

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def cell_texts(ax):
    return [text.get_text() for text in ax.texts]


def test_matrices_shows_each_number_in_its_cell():
    matrix = np.array([[0.25, -1.5], [100.0, 0.0], [-0.0, 0.1234]])
    (ax,) = figures.matrices({"w": matrix}).axes
    assert cell_texts(ax) == ["0.25", "-1.5", "100", "0", "0", "0.123"]
    places = [text.get_position() for text in ax.texts]
    assert places == [(column, row) for row in range(3) for column in range(2)]


def test_matrices_colors_the_sign_and_takes_a_matrix_of_zeros():
    signs, zeros = figures.matrices({"signs": [[-2, 0, 2]], "zeros": np.zeros((2, 2))}).axes
    image = signs.images[0]
    red, white, blue = image.cmap(image.norm(image.get_array()))[0]
    np.testing.assert_allclose(red, to_rgba(MINUS), atol=0.01)
    np.testing.assert_allclose(white, (1, 1, 1, 1), atol=0.01)
    np.testing.assert_allclose(blue, to_rgba(PLUS), atol=0.01)
    assert cell_texts(zeros) == ["0"] * 4


def test_matrix_product_draws_both_factors_and_the_product():
    left, right = np.random.default_rng(0).normal(size=(4, 3)), np.zeros((3, 2))
    axes = figures.matrix_product({"x": left}, {"w": right}, {"y": left @ right}).axes
    for ax, values in zip(axes, (left, right, left @ right), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), values)
        low, high = ax.images[0].get_clim()
        assert low == -high < 0


def test_similarity_by_distance_starts_at_distance_one_on_a_shared_scale():
    panels = {"before": {"row": [0.1, 0.0], "column": [0.0, 0.2]}, "after": {"row": [0.9, -0.5]}}
    axes = figures.similarity_by_distance(panels).axes
    for ax, curves in zip(axes, panels.values(), strict=True):
        drawn = {line.get_label(): line for line in ax.lines}
        for label, values in curves.items():
            assert list(drawn[label].get_ydata()) == values
            assert list(drawn[label].get_xdata()) == [1, 2]
        assert ax.get_ylim() == axes[0].get_ylim()
