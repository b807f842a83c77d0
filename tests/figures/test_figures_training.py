"""Figures of the chapter on training: they show the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def test_step_times_draws_each_way_on_a_logarithmic_axis():
    steps = pd.DataFrame({"step": [1, 2, 3], "compiled": [5.0, 0.1, 0.2], "eager": [9.0, 2.0, 3.0]})
    (axes,) = figures.step_times(steps).axes
    assert axes.get_yscale() == "log"
    drawn = [line.get_ydata().tolist() for line in axes.lines if len(line.get_ydata())]
    assert [5.0, 0.1, 0.2] in drawn and [9.0, 2.0, 3.0] in drawn
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["compiled", "eager"]


def test_best_epoch_marks_the_first_of_equals():
    (axes,) = figures.best_epoch(pd.DataFrame({"epoch": [0, 1, 2], "val_acc": [0.2, 0.4, 0.4]})).axes
    marked = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marked] == [(2, 0.4)]


def test_checkpoint_sizes_are_labeled_with_units():
    (axes,) = figures.checkpoint_sizes(pd.Series({"weights": 41_203_268, "random states": 160})).axes
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [41_203_268, 160])
    assert {"41.2 MB", "160 bytes"} <= {text.get_text() for text in axes.texts}
