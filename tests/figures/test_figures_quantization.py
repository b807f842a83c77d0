import numpy as np
import pytest
from matplotlib.colors import to_rgba

from mml_book import figures
from mml_book.figures.quantization import MINUS, PLUS, ZERO

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def cell_texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("seed", range(3))
def test_ternary_histogram_counts_every_weight_once_in_the_color_of_what_it_becomes(seed):
    w = np.random.default_rng(seed).normal(size=(20, 30))
    scale = np.mean(np.abs(w))
    w_ternary = np.clip(np.round(w / scale), -1, 1)
    before, after = figures.ternary_histogram(w, w_ternary, scale).axes
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
    (ax,) = figures.rounding_errors({"integers": (exact, np.round(exact))}).axes
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, [-1, 0.3, 0.1, 0.75])
    np.testing.assert_allclose(y, [0, -0.05, -0.1, 0], atol=1e-12)


def test_ternary_wiring_has_a_wire_for_each_weight_that_is_not_zero():
    w_ternary = np.array([[1, -1, 0], [0, 0, -1]])
    (ax,) = figures.ternary_wiring(w_ternary).axes
    labels = {text.get_text(): text.get_position() for text in ax.texts}
    wires = {}
    for line in ax.lines:
        (start, end) = line.get_xydata()
        i = [labels[f"$x_{{{i}}}$"] == tuple(start) for i in range(2)].index(True)
        j = [labels[f"$y_{{{j}}}$"] == tuple(end) for j in range(3)].index(True)
        wires[i, j] = (line.get_color(), line.get_linestyle())
    assert wires == {(0, 0): (PLUS, "-"), (0, 1): (MINUS, "--"), (1, 2): (MINUS, "--")}


def test_ternary_wiring_of_a_single_weight():
    (ax,) = figures.ternary_wiring([[1]]).axes
    assert len(ax.lines) == 1


def test_straight_through_draws_no_slope_where_the_function_jumps():
    x = np.linspace(-2, 2, 41)
    figure = figures.straight_through(x, np.round(x), np.zeros(41), np.ones(41))
    (stairs,) = [line for line in figure.axes[0].lines if "rounded" in line.get_label()]
    drawn = np.diff(stairs.get_ydata())
    assert np.all(drawn[np.isfinite(drawn)] == 0)
    assert set(np.round(x)) == set(stairs.get_ydata()[np.isfinite(stairs.get_ydata())])


def test_latent_descent_draws_each_loss_and_each_weight():
    latents = np.array([[0.1, -0.2], [0.3, -0.6], [0.7, -0.6]])
    losses = {"stuck": [2, 2, 2], "learns": [2, 1, 0]}
    left, right = figures.latent_descent(losses, latents).axes
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == losses
    weights = [line.get_ydata() for line in right.lines if len(line.get_ydata()) == 3]
    np.testing.assert_array_equal(np.transpose(weights), latents)


def test_ternary_transitions_counts_by_value_before_and_after():
    before = np.array([[-1, -1, 0], [0, 1, 1]])
    after = np.array([[-1, 0, 0], [1, 1, 1]])
    (ax,) = figures.ternary_transitions(before, after).axes
    assert cell_texts(ax) == ["1", "1", "0", "0", "1", "1", "0", "0", "2"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["-1", "0", "1"]
