"""Figures of the chapter on costs: they show the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def texts(items):
    return [item.get_text() for item in items]


def ratio_rows(*rows):
    return pd.DataFrame(rows, columns=["measure", "contender", "ratio", "low", "high"])


RATIOS = ratio_rows(
    ("a step", "peer", 4.0, 3.0, 5.0),
    ("a step", "float", 0.5, 0.4, 0.8),
    ("a run", "float", 2.0, 2.5, 3.0),  # the ratio of medians may lie outside the spread of ratios
    ("a run", "peer", np.nan, np.nan, np.nan),
)


def test_cost_ratios_puts_each_dot_in_its_row_with_its_spread():
    figure = figures.cost_ratios(RATIOS)
    (ax,) = figure.axes
    assert ax.get_xscale() == "log"
    assert texts(ax.get_yticklabels()) == ["a step", "a run"]
    dots = {line.get_label(): line for line in ax.lines if line.get_label() in ("peer", "float")}
    assert texts(figure.legends[0].get_texts()) == ["peer", "float"]
    assert dots["peer"].get_xdata().tolist() == [4.0]
    assert dots["float"].get_xdata().tolist() == [0.5, 2.0]
    assert np.round(dots["peer"].get_ydata()).tolist() == [0]
    assert np.round(dots["float"].get_ydata()).tolist() == [0, 1]
    assert dots["peer"].get_ydata()[0] < dots["float"].get_ydata()[0], "beside each other, the first one above"
    strokes = [segment[:, 0].tolist() for lines in ax.collections for segment in lines.get_segments()]
    assert strokes == [[3.0, 5.0], [0.4, 0.8], [2.5, 3.0]]
    assert any(list(line.get_xdata()) == [1, 1] for line in ax.lines), "ours"
    low, high = ax.get_xlim()
    assert low < 0.4 and high > 5


def test_cost_ratios_draws_a_dot_without_a_stroke_where_there_is_no_spread():
    figure = figures.cost_ratios(
        ratio_rows(("a step", "peer", 4.0, np.nan, np.nan), ("a run", "peer", 2.0, 1.5, 3.0))
    )
    (ax,) = figure.axes
    (dots,) = (line for line in ax.lines if line.get_label() == "peer")
    assert dots.get_xdata().tolist() == [4.0, 2.0]
    strokes = [segment[:, 0].tolist() for lines in ax.collections for segment in lines.get_segments()]
    assert strokes == [[1.5, 3.0]]


def test_cost_ratios_distinguishes_contenders_without_color():
    ratios = ratio_rows(*(("a step", name, 2.0, 2.0, 2.0) for name in "abcde"))
    (ax,) = figures.cost_ratios(ratios).axes
    assert len({line.get_marker() for line in ax.lines if line.get_label() in "abcde"}) == 5


@pytest.mark.parametrize("names", ["", "abcdefghi"])
def test_cost_ratios_refuses_what_it_cannot_draw(names):
    with pytest.raises(ValueError, match="`ratios` must hold ratios of 1 to 8 contenders"):
        figures.cost_ratios(ratio_rows(*(("a step", name, 2.0, 2.0, 2.0) for name in names)))


def test_steps_and_limit_labels_each_bar_with_seconds_and_multiples_of_the_limit():
    steps = pd.DataFrame(
        {"median": [0.5, 1.25], "low": [0.4, 1.0], "high": [0.6, 1.5]},
        index=["this book", "a transformer of equal size"],
    )
    (ax,) = figures.steps_and_limit(steps, limit=0.25).axes
    assert [bar.get_width() for bar in ax.patches] == [0.5, 1.25]
    assert texts(ax.get_yticklabels()) == ["this book", "a transformer of\nequal size"]
    assert texts(ax.texts) == ["the limit: 0.25 s", "0.50 s, 2.0 times the limit", "1.2 s, 5.0 times the limit"]
    (spread,) = ax.collections
    assert [segment[:, 0].tolist() for segment in spread.get_segments()] == [[0.4, 0.6], [1.0, 1.5]]
    assert [list(line.get_xdata()) for line in ax.lines] == [[0.25, 0.25]]
    assert ax.get_xlim()[0] == 0, "bars begin at nothing"


@pytest.mark.parametrize(("rows", "limit"), [(0, 0.1), (1, 0.0), (1, float("nan"))])
def test_steps_and_limit_refuses_what_it_cannot_draw(rows, limit):
    steps = pd.DataFrame({"median": [0.5], "low": [0.4], "high": [0.6]})[:rows]
    with pytest.raises(ValueError, match="`limit` must be positive"):
        figures.steps_and_limit(steps, limit)


def test_growth_with_tokens_draws_curves_and_slopes_that_end_where_they_do():
    seconds = pd.DataFrame({"ours": [3.0, 4.0, 8.0], "attention": [1.0, 5.0, 16.0]}, index=[100, 200, 400])
    figure = figures.growth_with_tokens({"seconds": seconds, "megabytes": 2 * seconds}, {"ours": 1, "attention": 2})
    assert [ax.get_ylabel() for ax in figure.axes] == ["seconds", "megabytes"]
    for factor, ax in enumerate(figure.axes, start=1):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
        assert all(line.get_xdata().tolist() == [100, 200, 400] for line in ax.lines)
        np.testing.assert_allclose(drawn["ours"], factor * seconds["ours"])
        np.testing.assert_allclose(drawn["attention"], factor * seconds["attention"])
        np.testing.assert_allclose(drawn["slope 1"], factor * np.array([2, 4, 8]))
        np.testing.assert_allclose(drawn["slope 2"], factor * np.array([1, 4, 16]))
    assert texts(figure.axes[-1].get_xticklabels()) == ["100", "200", "400"]


def test_growth_with_tokens_draws_no_slope_that_is_not_asked_for():
    (ax,) = figures.growth_with_tokens({"seconds": pd.DataFrame({"ours": [1, 2]}, index=[100, 1200])}, {}).axes
    assert [line.get_label() for line in ax.lines] == ["ours"]
    assert texts(ax.get_xticklabels()) == ["100", "1,200"]


def test_growth_with_tokens_refuses_what_has_no_logarithm():
    with pytest.raises(ValueError, match="must hold positive values.*0.*'seconds'"):
        figures.growth_with_tokens({"seconds": pd.DataFrame({"ours": [0, 2]}, index=[100, 200])}, {})
