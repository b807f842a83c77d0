"""Figures that weigh accuracy against costs: they show the numbers they are given."""

import numpy as np
import pandas as pd
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def texts(items):
    return [item.get_text() for item in items]


def segments(ax):
    return [segment.tolist() for lines in ax.collections for segment in lines.get_segments()]


VALUES = pd.DataFrame(
    [
        ("few", "ternary", 20.0),
        ("few", "a float model of equal size", 30.0),
        ("few", "ternary", 24.0),
        ("many", "ternary", 40.0),
    ],
    columns=["panel", "row", "value"],
)
INTERVALS = pd.DataFrame(
    [
        ("many", "ternary", 40.0, 36.0, 44.0),  # the order is that of the values
        ("few", "a float model of equal size", 30.0, 29.0, 31.0),
        ("few", "ternary", 22.04, 15.0, 29.0),
    ],
    columns=["panel", "row", "mean", "low", "high"],
)


def test_seed_intervals_draws_dots_means_and_intervals_in_the_order_of_the_values():
    figure = figures.seed_intervals(VALUES, INTERVALS, "accuracy in %")
    few, many = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["few", "many"]
    assert texts(few.get_yticklabels()) == ["ternary", "a float model of\nequal size"]
    assert texts(many.get_yticklabels()) == ["ternary"]
    assert (few.get_xlabel(), many.get_xlabel()) == ("", "accuracy in %")
    dots = {line.get_label(): line for line in few.lines if not line.get_label().startswith("_")}
    assert dots["ternary"].get_xdata().tolist() == [20, 24]
    assert dots["a float model of equal size"].get_xdata().tolist() == [30]
    means = [line.get_xdata()[0] for line in few.lines if line.get_marker() == "|"]
    assert means == [22.04, 30]
    assert texts(few.texts) == ["22.0", "30.0"]
    assert [[x for x, _ in segment] for segment in segments(few)] == [[15, 29], [29, 31]]
    assert [[x for x, _ in segment] for segment in segments(many)] == [[36, 44]]
    top, bottom = few.get_ylim()
    assert top > bottom, "the first row is the upper one"


def test_seed_intervals_gives_a_row_the_same_look_in_each_panel_and_another_one_to_another_row():
    few, many = figures.seed_intervals(VALUES, INTERVALS, "accuracy in %").axes
    looks = [
        {line.get_label(): (line.get_color(), line.get_marker()) for line in ax.lines if line.get_marker() != "|"}
        for ax in (few, many)
    ]
    assert looks[0]["ternary"] == looks[1]["ternary"]
    assert looks[0]["ternary"][1] != looks[0]["a float model of equal size"][1], "without color, too"


def test_seed_intervals_marks_the_reference_in_each_panel_and_does_not_color_differences_like_models():
    for ax in figures.seed_intervals(VALUES, INTERVALS, "points", reference=0).axes:
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert {line.get_color() for line in dots} == {"0.4"}
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert [list(line.get_xdata()) for line in dashed] == [[0, 0]]
        assert ax.get_xlim()[0] < 0


@pytest.mark.parametrize(("values", "intervals"), [(VALUES[:0], INTERVALS[:0]), (VALUES, INTERVALS[1:])])
def test_seed_intervals_refuses_tables_that_do_not_fit(values, intervals):
    with pytest.raises(ValueError, match="must hold the same panels and rows"):
        figures.seed_intervals(values, intervals, "accuracy in %")


def point_rows(*rows):
    return pd.DataFrame(rows, columns=["cost", "model", "value", "accuracy", "low", "high"])


POINTS = point_rows(
    ("MB", "packed", 3.0, 40.0, 38.0, 42.0),
    ("MB", "float", 41.0, 41.0, 40.0, 43.0),
    ("MB", "float", 10.0, 39.0, 38.0, 39.5),
    ("ms", "float", 8.0, 41.0, 39.0, 43.0),
    ("ms", "attention", 1200.0, 30.0, 28.0, 32.0),
)


def lines_by_model(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_accuracy_against_costs_puts_each_model_at_its_cost_and_accuracy():
    figure = figures.accuracy_against_costs(POINTS)
    drawn = [{model: line.get_xydata().tolist() for model, line in lines_by_model(ax).items()} for ax in figure.axes]
    assert drawn == [
        {"packed": [[3, 40]], "float": [[41, 41], [10, 39]]},
        {"float": [[8, 41]], "attention": [[1200, 30]]},
    ]
    assert [ax.get_xlabel() for ax in figure.axes] == ["MB", "ms"]
    assert [segments(ax) for ax in figure.axes] == [
        [[[3, 38], [3, 42]], [[41, 40], [41, 43]], [[10, 38], [10, 39.5]]],
        [[[8, 39], [8, 43]], [[1200, 28], [1200, 32]]],
    ]
    assert texts(figure.legends[0].get_texts()) == ["packed", "float", "attention"]
    assert {ax.get_xscale() for ax in figure.axes} == {"log"}
    assert len({ax.get_ylim() for ax in figure.axes}) == 1, "heights can be compared between panels"
    low, high = figure.axes[1].get_xlim()
    assert low < 8 and high > 1200


def test_accuracy_against_costs_gives_a_model_the_same_look_in_each_panel():
    figure = figures.accuracy_against_costs(POINTS)
    looks = {
        (model, line.get_color(), line.get_marker())
        for ax in figure.axes
        for model, line in lines_by_model(ax).items()
    }
    assert len(looks) == 3
    assert len({marker for _, _, marker in looks}) == 3, "without color, too"


@pytest.mark.parametrize("names", ["", "abcdefghi"])
def test_accuracy_against_costs_refuses_what_it_has_no_marker_for(names):
    with pytest.raises(ValueError, match="must hold 1 to 8 models"):
        figures.accuracy_against_costs(point_rows(*(("MB", name, 1.0, 40.0, 39.0, 41.0) for name in names)))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_accuracy_against_costs_refuses_what_has_no_logarithm(value):
    with pytest.raises(ValueError, match="must hold positive costs"):
        figures.accuracy_against_costs(point_rows(("MB", "packed", value, 40.0, 39.0, 41.0)))
