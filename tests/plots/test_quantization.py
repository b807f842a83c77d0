import numpy as np
import pytest
from matplotlib.colors import to_rgba

from mml import plots
from mml.plots.quantization import MINUS, PLUS, ZERO

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def cell_texts(ax):
    return [text.get_text() for text in ax.texts]


def test_matrices_shows_each_number_in_its_cell():
    matrix = np.array([[0.25, -1.5], [100.0, 0.0], [-0.0, 0.1234]])
    (ax,) = plots.matrices({"w": matrix}).axes
    assert cell_texts(ax) == ["0.25", "-1.5", "100", "0", "0", "0.123"]
    places = [text.get_position() for text in ax.texts]
    assert places == [(column, row) for row in range(3) for column in range(2)]


def test_matrices_colours_the_sign_and_takes_a_matrix_of_zeros():
    signs, zeros = plots.matrices({"signs": [[-2, 0, 2]], "zeros": np.zeros((2, 2))}).axes
    image = signs.images[0]
    red, white, blue = image.cmap(image.norm(image.get_array()))[0]
    np.testing.assert_allclose(red, to_rgba(MINUS), atol=0.01)
    np.testing.assert_allclose(white, (1, 1, 1, 1), atol=0.01)
    np.testing.assert_allclose(blue, to_rgba(PLUS), atol=0.01)
    assert cell_texts(zeros) == ["0"] * 4


@pytest.mark.parametrize("seed", range(3))
def test_ternary_histogram_counts_every_weight_once_in_the_colour_of_what_it_becomes(seed):
    w = np.random.default_rng(seed).normal(size=(20, 30))
    scale = np.mean(np.abs(w))
    w_ternary = np.clip(np.round(w / scale), -1, 1)
    before, after = plots.ternary_histogram(w, w_ternary, scale).axes
    expected = [np.sum(w_ternary == value) for value in (-1, 0, 1)]

    for color, count in zip((MINUS, ZERO, PLUS), expected, strict=True):
        bars = [bar for bar in before.patches if bar.get_facecolor() == to_rgba(color) and bar.get_height() > 0]
        assert sum(bar.get_height() for bar in bars) == count
        value = (MINUS, ZERO, PLUS).index(color) - 1
        for bar in bars:  # a bar's weights all become that value
            middle = bar.get_x() + bar.get_width() / 2
            assert np.clip(np.round(middle / scale), -1, 1) == value
    assert [bar.get_height() for bar in after.patches] == expected


def test_rounding_errors_are_shares_of_the_largest_value():
    exact = np.array([[-4.0, 1.2], [0.4, 3.0]])
    (ax,) = plots.rounding_errors({"integers": (exact, np.round(exact))}).axes
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, [-1, 0.3, 0.1, 0.75])
    np.testing.assert_allclose(y, [0, -0.05, -0.1, 0], atol=1e-12)


def test_ternary_wiring_has_a_wire_for_each_weight_that_is_not_zero():
    w_ternary = np.array([[1, -1, 0], [0, 0, -1]])
    (ax,) = plots.ternary_wiring(w_ternary).axes
    labels = {text.get_text(): text.get_position() for text in ax.texts}
    wires = {}
    for line in ax.lines:
        (start, end) = line.get_xydata()
        i = [labels[f"$x_{{{i}}}$"] == tuple(start) for i in range(2)].index(True)
        j = [labels[f"$y_{{{j}}}$"] == tuple(end) for j in range(3)].index(True)
        wires[i, j] = (line.get_color(), line.get_linestyle())
    assert wires == {(0, 0): (PLUS, "-"), (0, 1): (MINUS, "--"), (1, 2): (MINUS, "--")}


def test_ternary_wiring_of_a_single_weight():
    (ax,) = plots.ternary_wiring([[1]]).axes
    assert len(ax.lines) == 1


def test_straight_through_draws_no_slope_where_the_function_jumps():
    x = np.linspace(-2, 2, 41)
    figure = plots.straight_through(x, np.round(x), np.zeros(41), np.ones(41))
    (stairs,) = [line for line in figure.axes[0].lines if "rounded" in line.get_label()]
    drawn = np.diff(stairs.get_ydata())
    assert np.all(drawn[np.isfinite(drawn)] == 0)
    assert set(np.round(x)) == set(stairs.get_ydata()[np.isfinite(stairs.get_ydata())])


def test_latent_descent_draws_each_loss_and_each_weight():
    latents = np.array([[0.1, -0.2], [0.3, -0.6], [0.7, -0.6]])
    losses = {"stuck": [2, 2, 2], "learns": [2, 1, 0]}
    left, right = plots.latent_descent(losses, latents).axes
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == losses
    weights = [line.get_ydata() for line in right.lines if len(line.get_ydata()) == 3]
    np.testing.assert_array_equal(np.transpose(weights), latents)


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (4, 2)])
def test_position_similarity_puts_each_map_at_its_place(rows, columns):
    vectors = np.random.default_rng(0).normal(size=(rows * columns, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = vectors @ vectors.T
    before = similarity.copy()
    image = plots.position_similarity(similarity, rows, columns).axes[0].images[0]
    np.testing.assert_array_equal(similarity, before)  # the argument is left alone
    picture, (lowest, highest) = np.ma.filled(image.get_array(), np.nan), image.get_clim()
    for position in range(rows * columns):
        row, column = divmod(position, columns)
        top, left = row * (rows + 1) + 1, column * (columns + 1) + 1
        tile = picture[top : top + rows, left : left + columns].ravel()
        others = np.arange(rows * columns) != position
        np.testing.assert_allclose(tile[others], similarity[position, others])
        assert np.all((lowest <= tile[others]) & (tile[others] <= highest))
        assert tile[position] > highest  # black


def test_matrix_product_draws_both_factors_and_the_product():
    left, right = np.random.default_rng(0).normal(size=(4, 3)), np.zeros((3, 2))
    axes = plots.matrix_product({"x": left}, {"w": right}, {"y": left @ right}).axes
    for ax, values in zip(axes, (left, right, left @ right), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), values)
        low, high = ax.images[0].get_clim()
        assert low == -high < 0


def test_ternary_transitions_counts_by_value_before_and_after():
    before = np.array([[-1, -1, 0], [0, 1, 1]])
    after = np.array([[-1, 0, 0], [1, 1, 1]])
    (ax,) = plots.ternary_transitions(before, after).axes
    assert cell_texts(ax) == ["1", "1", "0", "0", "1", "1", "0", "0", "2"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["-1", "0", "1"]


def test_similarity_by_distance_starts_at_distance_one_on_a_shared_scale():
    panels = {"before": {"row": [0.1, 0.0], "column": [0.0, 0.2]}, "after": {"row": [0.9, -0.5]}}
    axes = plots.similarity_by_distance(panels).axes
    for ax, curves in zip(axes, panels.values(), strict=True):
        drawn = {line.get_label(): line for line in ax.lines}
        for label, values in curves.items():
            assert list(drawn[label].get_ydata()) == values
            assert list(drawn[label].get_xdata()) == [1, 2]
        assert ax.get_ylim() == axes[0].get_ylim()
