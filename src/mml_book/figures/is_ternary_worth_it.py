"""Figures for the chapter that weighs a model's accuracy against its costs."""

import itertools
import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mml_book.figures.charts import COLORS, MARKERS


def seed_intervals(values, intervals, xlabel, reference=None):
    """Draw the value for each seed as a dot, and the mean with its interval below the dots.

    Args:
        values: A `pandas.DataFrame` with the columns `panel`, `row`, and `value`, one row per seed. Panels and rows
            are drawn in the order in which they first appear.
        intervals: A `pandas.DataFrame` with the columns `panel`, `row`, `mean`, `low`, and `high`.
        xlabel: What the values measure, with their unit.
        reference: Position of a dashed line in each panel, or None for no line. With a line, values are differences
            from it. All rows then have the same color, because a color stands for a model.

    Returns:
        A `matplotlib.figure.Figure` with one axes per panel, one above the other. Each mean is labeled.

    Raises:
        ValueError: If `values` is empty, or if the panels and rows of the two tables are not the same.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book import figures
    >>> values = pd.DataFrame({"panel": "1% of the data", "row": "ternary", "value": [20.0, 24.0, 22.0]})
    >>> mean = {"panel": "1% of the data", "row": "ternary", "mean": 22.0, "low": 17.0, "high": 27.0}
    >>> figure = figures.seed_intervals(values, pd.DataFrame([mean]), "test accuracy in %")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['22.0']
    >>> plt.close(figure)
    """
    keys = ["panel", "row"]
    drawn, summed = (set(table[keys].itertuples(index=False, name=None)) for table in (values, intervals))
    if not drawn or drawn != summed:
        raise ValueError(
            "`values` and `intervals` must hold the same panels and rows. "
            f"Received: {sorted(drawn)} and {sorted(summed)}"
        )
    panels = list(values["panel"].unique())
    rows = {panel: list(values.loc[values["panel"] == panel, "row"].unique()) for panel in panels}
    looks = zip(COLORS, MARKERS, strict=True) if reference is None else [("0.4", "o")]
    styles = dict(zip(values["row"].unique(), itertools.cycle(looks), strict=False))
    heights = [len(rows[panel]) + 0.7 for panel in panels]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(6.2, 0.75 * sum(heights) + 0.4),
        squeeze=False,
        height_ratios=heights,
        layout="constrained",
    )
    summaries = intervals.set_index(keys)
    for ax, panel in zip(axes[:, 0], panels, strict=True):
        if reference is not None:
            ax.axvline(reference, color="black", linestyle="--", linewidth=1.2)
        for y, row in enumerate(rows[panel]):
            color, marker = styles[row]
            dots = values.loc[(values["panel"] == panel) & (values["row"] == row), "value"]
            ax.plot(dots, np.full(len(dots), y - 0.15), marker, color=color, markersize=7, alpha=0.6, label=row)
            mean, low, high = summaries.loc[(panel, row), ["mean", "low", "high"]].astype(float)
            ax.hlines(y + 0.15, low, high, color=color, linewidth=3)
            ax.plot([mean], [y + 0.15], "|", color="black", markersize=13, markeredgewidth=2)
            ax.annotate(
                f"{mean:.1f}",
                (mean, y + 0.15),
                xytext=(0, -8),
                textcoords="offset points",
                ha="center",
                va="top",
                bbox={"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 0.5},  # covers the reference line
            )
        ax.set(
            yticks=range(len(rows[panel])),
            yticklabels=[textwrap.fill(str(row), 16) for row in rows[panel]],
            ylim=(len(rows[panel]) - 0.35, -0.5),
        )
        ax.set_title(panel, loc="left", fontsize="medium")
        ax.grid(axis="y", visible=False)
    axes[-1, 0].set_xlabel(xlabel)
    return figure


def accuracy_against_costs(points):
    """Draw the accuracy of models against their costs on logarithmic axes, with one panel per cost.

    Args:
        points: A `pandas.DataFrame` with the columns `cost`, `model`, `value`, `accuracy`, `low`, and `high`. Costs
            and models are drawn in the order in which they first appear. A model may have several points per cost,
            for example one for each number format. A line joins them in their order.

    Returns:
        A `matplotlib.figure.Figure` with one axes per cost, one above the other. A bar through each point goes from
        `low` to `high`. Models closer to the top left are better.

    Raises:
        ValueError: If there is no point, if there are more than eight models (there are eight markers), or if a cost
            is not positive (the axis is logarithmic).

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book import figures
    >>> point = {"cost": "file in MB", "model": "packed", "value": 3.1, "accuracy": 40.0, "low": 38.0, "high": 42.0}
    >>> figure = figures.accuracy_against_costs(pd.DataFrame([point]))
    >>> figure.axes[0].get_xlabel()
    'file in MB'
    >>> plt.close(figure)
    """
    costs, models = points["cost"].unique(), points["model"].unique()
    if not 0 < len(models) <= len(MARKERS):
        raise ValueError(f"`points` must hold 1 to {len(MARKERS)} models. Received: models {list(models)}")
    if not (points["value"] > 0).all():
        raise ValueError(f"`points` must hold positive costs. Received: {points['value'].min()}")
    figure, axes = plt.subplots(
        len(costs), 1, figsize=(6.2, 3 * len(costs) + 0.7), sharey=True, squeeze=False, layout="constrained"
    )
    handles = {}
    for ax, cost in zip(axes[:, 0], costs, strict=True):
        panel = points[points["cost"] == cost]
        for model, color, marker in zip(models, COLORS, MARKERS, strict=False):
            shown = panel[panel["model"] == model]
            if shown.empty:
                continue
            # Arrays, because Matplotlib does not take a Series of one value with every version of pandas.
            value, accuracy, lowest, highest = shown[["value", "accuracy", "low", "high"]].to_numpy().T
            (handles[model],) = ax.plot(value, accuracy, f"-{marker}", color=color, markersize=8, label=model)
            ends = accuracy - lowest, highest - accuracy
            ax.errorbar(value, accuracy, ends, fmt="none", ecolor="black", elinewidth=1, capsize=4)
        low, high = panel["value"].min(), panel["value"].max()
        decades = np.log10(high / low)
        subs = (1, 1.5, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2 else (1,)
        ax.set(xscale="log", xlabel=cost, ylabel="accuracy in %", xlim=(low / 1.6, high * 1.6))
        ax.xaxis.set_major_locator(LogLocator(subs=subs))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(
        [handles[model] for model in models],
        list(models),
        loc="outside lower center",
        ncols=min(len(models), 3),
        frameon=False,
    )
    return figure
