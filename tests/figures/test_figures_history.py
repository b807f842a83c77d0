"""Figures of the chapter on history: they show the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def test_scores_have_bars_of_two_standard_errors():
    scores = pd.DataFrame({"score": [0.3, 0.8], "standard error": [0.05, 0.04]}, index=["accuracy", "top-5 accuracy"])
    (axes,) = figures.scores_with_errors(scores, chance=[0.1, 0.5]).axes
    (bars,) = axes.containers[0].lines[2]
    ends = [(segment[0, 0], segment[1, 0]) for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [(0.2, 0.4), (0.72, 0.88)])


def test_confusion_writes_each_count_in_its_field():
    counts = np.array([[3, 1], [0, 4]])
    axes = figures.confusion(counts, ["cat", "dog"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "0", "4"]
    assert axes.get_ylabel() == "true class"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]


@pytest.mark.parametrize("count", [1, 4, 7])
def test_labeled_images_shows_each_image_unchanged(count):
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    figure = figures.labeled_images(images, [f"image {i}" for i in range(count)])
    shown = [axes for axes in figure.axes if axes.images]
    for i, axes in enumerate(shown):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[i])
        assert axes.get_title() == f"image {i}"
    assert len(shown) == count


def test_labeled_images_needs_one():
    with pytest.raises(ValueError, match="at least one image"):
        figures.labeled_images(np.zeros((0, 8, 8, 3), "uint8"), [])


def test_seed_scores_draws_each_run_and_the_error_of_its_sample():
    seeds = pd.DataFrame({"accuracy": [0.2, 0.4, 0.3, 0.3], "test_images": [100, 100, 900, 900]})
    (axes,) = figures.seed_scores(seeds).axes
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(widths, [4 * np.sqrt(0.21 / 100), 4 * np.sqrt(0.21 / 900)])
    dots = [line.get_xdata().tolist() for line in axes.lines if line.get_linestyle() == "None"]
    assert dots == [[0.2, 0.4], [0.3, 0.3]]
