"""Charts of several chapters: they show the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def texts(items):
    return [item.get_text() for item in items]


def test_learning_curve_draws_both_lines_and_chance():
    long = pd.DataFrame(
        {"epoch": [1, 2, 1, 2], "value": [2.4, 2.1, 2.2, 2.3], "images": ["training"] * 2 + ["validation"] * 2}
    )
    (axes,) = figures.learning_curve(long, "loss", chance=np.log(10)).axes
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert [2.4, 2.1] in drawn and [2.2, 2.3] in drawn and [np.log(10)] * 2 in drawn
    assert {"training", "validation", "guessing"} == {text.get_text() for text in axes.get_legend().get_texts()}


def test_stacked_bars_puts_pieces_end_to_end_and_labels_the_sum():
    table = pd.DataFrame({"ternary": [40.0, 2.0], "rest": [1.0, 0.5]}, index=["float", "packed"])
    figure = figures.stacked_bars(table, "megabytes", "{:.1f} MB".format)
    (ax,) = figure.axes
    pieces = [[(bar.get_x(), bar.get_width()) for bar in bars] for bars in ax.containers]
    assert pieces == [[(0, 40), (0, 2)], [(40, 1), (2, 0.5)]]
    assert texts(ax.texts) == ["41.0 MB", "2.5 MB"]
    assert texts(ax.get_yticklabels()) == ["float", "packed"] and ax.get_ylim() == (1.5, -0.5)
    assert texts(figure.legends[0].get_texts()) == ["ternary", "rest"]
    assert len({bars[0].get_hatch() for bars in ax.containers}) == 2, "distinct without color"


def test_stacked_bars_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="a sum above 0, and at most 8 columns"):
        figures.stacked_bars(pd.DataFrame({"a": [0.0]}), "x", str)
    with pytest.raises(ValueError, match="at most 8 columns"):
        figures.stacked_bars(pd.DataFrame(np.ones((1, 9))), "x", str)
