"""Figures of the model card: they show the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def test_accuracy_by_class_puts_the_best_class_first_and_draws_its_interval():
    table = pd.DataFrame(
        {"class": ["cat", "ship"], "accuracy": [0.6, 0.9], "low": [0.5, 0.85], "high": [0.7, 0.92]}, index=[7, 3]
    )
    (axes,) = figures.accuracy_by_class(table).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ship", "cat"]
    points, _, (bars,) = axes.containers[0].lines
    np.testing.assert_allclose(points.get_xydata(), [[0.9, 0], [0.6, 1]])
    ends = [(segment[0, 0], segment[1, 0]) for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [(0.85, 0.92), (0.5, 0.7)])
