"""Figures of a model made for images: they show the pixels, tokens and numbers they are given, where they belong."""

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def texts(items):
    return [item.get_text() for item in items]


def rgba(color):
    return matplotlib.colors.to_rgba(color)


# === Overlapping windows ===


def test_overlapping_windows_cuts_out_the_pixels_that_it_frames():
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    positions = [(1, 2), (2, 3)]  # within the image: two pixels of zeros lie above and to the left of it
    figure = figures.overlapping_windows(image, 6, 2, positions)
    whole, *cut = figure.axes
    corners = [patch.get_xy() for patch in whole.patches]
    assert corners == [(2, 0), (2, 0), (4, 2), (4, 2)], "each frame has an outline"
    for ax, (x, y) in zip(cut, corners[::2], strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), image[y : y + 6, x : x + 6])
    assert {(patch.get_width(), patch.get_height()) for patch in whole.patches} == {(6, 6)}
    for ax, frame in zip(cut, whole.patches[1::2], strict=True):
        assert {spine.get_edgecolor() for spine in ax.spines.values()} == {frame.get_edgecolor()}


def test_overlapping_windows_shows_zeros_beyond_the_edges():
    figure = figures.overlapping_windows(np.ones((8, 8, 3)), 6, 2, [(0, 3)])
    whole, cut = figure.axes
    assert whole.patches[0].get_xy() == (4, -2)
    expected = np.ones((6, 6, 3))
    expected[:2] = 0  # above
    expected[:, 4:] = 0  # to the right
    np.testing.assert_array_equal(cut.images[0].get_array(), expected)


@pytest.mark.parametrize("positions", [[], [(4, 0)], [(0, -1)], [(0, 0)] * 9])
def test_overlapping_windows_names_the_positions_that_there_are(positions):
    with pytest.raises(ValueError, match="`positions` must hold 1 to 8 positions in a grid of 4 x 4 patches"):
        figures.overlapping_windows(np.zeros((8, 8, 3)), 6, 2, positions)


# === Token shift ===


def test_token_shift_gives_a_feature_the_color_of_the_token_that_it_comes_from():
    figure = figures.token_shift([3, 5, 1, 7, 4, 4, 4, 4], grid=(3, 3), position=(1, 1))
    tokens, features = figure.axes
    assert texts(tokens.texts) == [str(number) for number in range(9)]
    assert texts(features.texts) == ["3", "5", "1", "7", "4", "4", "4", "4"]
    of_token = [patch.get_facecolor() for patch in tokens.patches]
    for patch, origin in zip(features.patches, (3, 5, 1, 7, 4, 4, 4, 4), strict=True):
        assert patch.get_facecolor() == of_token[origin]
    assert len({of_token[token] for token in (1, 3, 4, 5, 7)}) == 5
    assert {of_token[token] for token in (0, 2, 6, 8)} == {rgba("white")}
    row, column = 1, 2
    x, y = tokens.patches[3 * row + column].get_xy()
    assert (int(x), int(y)) == (column, row)
    assert tokens.get_ylim() == (3, 0), "the first row is on top"


def test_token_shift_has_eight_colors():
    with pytest.raises(ValueError, match=r"`origins` must hold at most 8 different tokens. Received: \[0, 1, 2, 3"):
        figures.token_shift(range(9), grid=(1, 9), position=(0, 0))


# === Visiting orders ===


def test_visiting_orders_draws_a_line_through_the_tokens_in_the_order_of_the_scan():
    down_and_up = np.array([[0, 5], [1, 4], [2, 3]])
    figure = figures.visiting_orders({"a": down_and_up, "b": np.arange(6).reshape(3, 2), "c": down_and_up})
    panels = figure.axes[:3]
    assert [ax.get_title() for ax in panels] == ["a", "b", "c"]
    (line,) = panels[0].lines
    path = [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1)]
    assert list(zip(line.get_ydata(), line.get_xdata(), strict=True)) == path
    np.testing.assert_array_equal(panels[0].images[0].get_array(), down_and_up)
    ends = {text.get_text(): text.get_position() for text in panels[0].texts}
    assert ends == {"first": (0, 0), "last": (1, 0)}
    assert len(figure.axes) == 4, "three panels and a color bar"
    assert {ax.images[0].get_clim() for ax in panels} == {(0, 5)}


# === The run ===


def test_learning_rate_draws_each_step_and_marks_some():
    (ax,) = figures.learning_rate([0, 1, 0.5], {"peak": 1, "end": 2}).axes
    rate, peak, end = ax.lines
    assert list(rate.get_ydata()) == [0, 1, 0.5]
    assert [list(line.get_xdata()) for line in (peak, end)] == [[1, 1], [2, 2]]
    assert peak.get_linestyle() != end.get_linestyle()
    assert texts(ax.get_legend().get_texts()) == ["peak", "end"]


def test_runs_beside_draws_runs_of_different_lengths_from_epoch_1_on():
    short = pd.DataFrame({"epoch": [0, 1], "acc": [0.1, 0.2], "val_acc": [0.3, 0.4]})
    long = pd.DataFrame({"epoch": range(30), "acc": np.linspace(0, 1, 30), "val_acc": np.linspace(0, 0.5, 30)})
    (ax,) = figures.runs_beside({"old": short, "new": long}, chance=0.1).axes
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["old, validation", "old, training", "new, validation", "new, training", "guessing"]
    assert list(lines["old, validation"].get_xdata()) == [1, 2]
    assert list(lines["old, validation"].get_ydata()) == [0.3, 0.4]
    assert list(lines["new, training"].get_ydata()) == list(long["acc"])
    assert lines["guessing"].get_ydata()[0] == 0.1
    same_run = lines["old, validation"], lines["old, training"]
    assert same_run[0].get_color() == same_run[1].get_color()
    assert same_run[0].get_linestyle() != same_run[1].get_linestyle()
    assert lines["new, training"].get_marker() != lines["old, training"].get_marker()


# === Trials ===


def test_trials_places_each_dot_at_its_difference_and_shades_what_chance_explains():
    figure = figures.trials(pd.Series({"wider": 1.26, "deeper": -3.1}), noise=0.8)
    (ax,) = figure.axes
    dots = ax.lines[1]
    assert list(dots.get_xdata()) == [1.26, -3.1]
    assert texts(ax.get_yticklabels()) == ["wider", "deeper"]
    assert list(dots.get_ydata()) == list(ax.get_yticks())
    assert texts(ax.texts) == ["+1.3", "-3.1"]
    (band,) = ax.patches
    assert (band.get_x(), band.get_width()) == (-0.8, 1.6)


# === Forget gates ===


def test_time_constants_sorts_features_by_what_they_are():
    panels = {
        "one": ([4.0, 2.0, 8.0], [40.0, 20.0, 80.0]),
        "two": ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]),
        "three": ([1.0], [1.0]),
    }
    figure = figures.time_constants(panels, {"a row": 8})
    one, two, three = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["one", "two", "three"]
    lines = {line.get_label(): line for line in one.lines}
    assert list(lines["before"].get_ydata()) == [2, 4, 8]
    assert list(lines["after training"].get_ydata()) == [20, 40, 80]
    assert list(lines["a row"].get_ydata()) == [8, 8]
    assert [list(line.get_ydata()) for line in two.lines[:2]] == [[1, 2, 3], [3, 2, 1]]
    assert {ax.get_yscale() for ax in figure.axes} == {"log"}
    assert one.get_ylim() == three.get_ylim(), "blocks can be compared"
