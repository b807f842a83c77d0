"""Figures for the chapter on costs: time and memory compared with other models, and for more tokens."""

import itertools
import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from mml_book.figures.charts import COLORS, MARKERS


def cost_ratios(ratios):
    """Draw costs as multiples of those of one model, with one row per measure and one dot per contender.

    Args:
        ratios: A `pandas.DataFrame` with the columns `measure`, `contender`, `ratio`, `low`, and `high`. Measures and
            contenders are drawn in the order in which they first appear. A stroke through a dot goes from `low` to
            `high`. If these are NaN, there is no stroke. A row whose ratio is NaN is left out.

    Returns:
        A `matplotlib.figure.Figure` with a logarithmic axis, on which a black line marks 1.

    Raises:
        ValueError: If no row holds a ratio, or if there are more than eight contenders (there are eight markers).

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book import figures
    >>> row = {"measure": "a step", "contender": "another model", "ratio": 4.0, "low": 3.0, "high": 5.0}
    >>> figure = figures.cost_ratios(pd.DataFrame([row]))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['a step']
    >>> plt.close(figure)
    """
    ratios = ratios.dropna(subset="ratio")
    measures, contenders = ratios["measure"].unique(), ratios["contender"].unique()
    if not 0 < len(contenders) <= len(MARKERS):
        raise ValueError(
            f"`ratios` must hold ratios of 1 to {len(MARKERS)} contenders. Received: contenders {list(contenders)}"
        )
    height = 0.55 * len(measures) + 0.25 * len(contenders) + 0.9
    figure, ax = plt.subplots(figsize=(6.2, height), layout="constrained")
    for boundary in np.arange(len(measures) - 1) + 0.5:
        ax.axhline(boundary, color="white", linewidth=2)
    ax.axvline(1, color="black", linewidth=1.2)
    rows = {measure: row for row, measure in enumerate(measures)}
    for index, (contender, color, marker) in enumerate(zip(contenders, COLORS, MARKERS, strict=False)):
        chosen = ratios[ratios["contender"] == contender]
        y = chosen["measure"].map(rows) + 0.6 * ((index + 0.5) / len(contenders) - 0.5)
        spread = chosen["low"].notna() & chosen["high"].notna()
        ax.hlines(y[spread], chosen["low"][spread], chosen["high"][spread], color=color, linewidth=2.5)
        ax.plot(chosen["ratio"], y, marker, color=color, markersize=7, label=contender)
    ax.set(
        xscale="log",
        xlabel="multiple of the cost at the black line",
        yticks=range(len(measures)),
        yticklabels=measures,
        ylim=(len(measures) - 0.5, -0.5),
    )
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}×"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", frameon=False)
    return figure


def steps_and_limit(steps, limit):
    """Draw step times as bars, and the least time that a step could take as a line through them.

    Args:
        steps: A `pandas.DataFrame` of seconds with the columns `median`, `low`, and `high`, indexed by name.
        limit: The least time in seconds.

    Returns:
        A `matplotlib.figure.Figure`. Each bar is labeled with its median and with the ratio of the
        median to the limit.

    Raises:
        ValueError: If `steps` has no row, or if `limit` is not positive.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book import figures
    >>> steps = pd.DataFrame({"median": [0.5], "low": [0.4], "high": [0.6]}, index=["ours"])
    >>> figure = figures.steps_and_limit(steps, limit=0.1)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['the limit: 0.10 s', '0.50 s, 5.0 times the limit']
    >>> plt.close(figure)
    """
    if not len(steps) or not limit > 0:
        raise ValueError(
            f"`steps` must hold a row and `limit` must be positive. Received: {len(steps)} rows, limit={limit}"
        )
    figure, ax = plt.subplots(figsize=(6.2, 0.6 * len(steps) + 1.3), layout="constrained")
    rows = np.arange(len(steps))
    ax.barh(rows, steps["median"], height=0.6, color=COLORS[0])
    ax.hlines(rows, steps["low"], steps["high"], color="black", linewidth=1.5)
    ax.axvline(limit, color=COLORS[1], linestyle="--", linewidth=2)
    ax.annotate(
        f"the limit: {_digits(limit)} s",
        (limit, 1),
        xycoords=ax.get_xaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        color=COLORS[1],
        va="bottom",
    )
    for row, (median, high) in enumerate(zip(steps["median"], steps["high"], strict=True)):
        ax.annotate(
            f"{_digits(median)} s, {_digits(median / limit)} times the limit",
            (max(median, high), row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    longest = max(steps["median"].max(), steps["high"].max(), limit)
    ax.set(
        xlabel="seconds per step",
        xlim=(0, 2.1 * longest),  # room for the labels
        yticks=rows,
        yticklabels=[textwrap.fill(name, 20) for name in steps.index],
        ylim=(len(steps) - 0.5, -0.5),
    )
    ax.grid(axis="y", visible=False)
    return figure


def growth_with_tokens(panels, slopes):
    """Draw how costs grow with the number of tokens, on logarithmic axes with lines of known slopes.

    Args:
        panels: Maps a panel's label to a `pandas.DataFrame` indexed by the number of tokens, with one column per
            curve.
        slopes: Maps a curve's name to the slope of a line to draw through the curve's last point. On such axes, a
            cost proportional to the number of tokens has slope 1, and one proportional to its square has slope 2.

    Returns:
        A `matplotlib.figure.Figure` with one axes per panel, one above the other.

    Raises:
        ValueError: If a value is not positive, because the axes are logarithmic.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book import figures
    >>> seconds = pd.DataFrame({"ours": [1, 2, 4], "attention": [1, 4, 16]}, index=[100, 200, 400])
    >>> figure = figures.growth_with_tokens({"seconds": seconds}, {"ours": 1, "attention": 2})
    >>> figure.axes[0].get_xscale()
    'log'
    >>> plt.close(figure)
    """
    for name, curves in panels.items():
        if (curves <= 0).any(axis=None):
            raise ValueError(f"`panels` must hold positive values. Received: {curves.min().min()} in {name!r}")
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(6.2, 3 * len(panels) + 0.5), sharex=True, squeeze=False, layout="constrained"
    )
    for ax, (name, curves) in zip(axes[:, 0], panels.items(), strict=True):
        tokens = curves.index.to_numpy()
        styles = zip(itertools.cycle(COLORS), itertools.cycle(MARKERS), strict=False)
        for (curve, values), (color, marker) in zip(curves.items(), styles, strict=False):
            ax.loglog(tokens, values, color=color, marker=marker, markersize=7, linewidth=2, label=curve)
            if curve in slopes:
                guide = values.iloc[-1] * (tokens / tokens[-1]) ** slopes[curve]
                ax.loglog(tokens, guide, color=color, linestyle=":", label=f"slope {slopes[curve]}")
        ax.set(ylabel=name)
        ax.set_xticks(tokens, [f"{number:,}" for number in tokens])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes[0, 0].legend()
    axes[-1, 0].set_xlabel("tokens (logarithmic)")
    return figure


def _digits(value):
    return f"{value:.2f}" if value < 1 else f"{value:.1f}"
