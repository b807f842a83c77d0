"""Charts for several chapters, and the colors and markers that charts share."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import MaxNLocator

COLORS = [sns.color_palette("colorblind")[index] for index in (0, 3, 2, 4, 7, 1, 9, 5)]
MARKERS = "osD^vP*X"
HATCHES = ("", "///", "...", "xx", "\\\\", "++", "oo", "--")


def learning_curve(long, name, chance):
    """Draw one quantity after each epoch, with one line per set of images, and mark the value of a random guess.

    Args:
        long: A `pandas.DataFrame` with the columns `epoch`, `value`, and `images`, one row per point.
        name: Label of the quantity.
        chance: The value of the quantity for a model that guesses.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import pandas as pd
    >>> from mml_book.figures import learning_curve
    >>> long = pd.DataFrame({"epoch": [1, 2], "value": [2.4, 2.1], "images": ["training", "training"]})
    >>> figure = learning_curve(long, "loss", chance=2.3)
    """
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    sns.lineplot(long, x="epoch", y="value", hue="images", style="images", markers=True, markersize=9, ax=axes)
    axes.axhline(chance, linestyle=":", color="0.3", label="guessing")
    axes.set(xlabel="epoch", ylabel=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def stacked_bars(table, xlabel, label):
    """Draw one bar per row of a table, with one segment per column, and its total next to it.

    Args:
        table: A `pandas.DataFrame` of nonnegative numbers.
        xlabel: What the numbers measure.
        label: Function that turns the total of a row into the text next to its bar.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the table has no row with a sum above 0, or more than eight columns.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book.figures import stacked_bars
    >>> table = pd.DataFrame({"weights": [40, 2], "rest": [1, 1]}, index=["float", "packed"])
    >>> figure = stacked_bars(table, "megabytes", "{:.0f} MB".format)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['41 MB', '3 MB']
    >>> plt.close(figure)
    """
    total = table.sum(axis=1)
    if not (total > 0).any() or len(table.columns) > len(COLORS):
        raise ValueError(
            f"`table` must have a row with a sum above 0, and at most {len(COLORS)} columns. "
            f"Received: sums {list(total)} of the columns {list(table.columns)}"
        )
    figure, ax = plt.subplots(figsize=(6.2, 0.6 * len(table) + 1.9), layout="constrained")
    start = np.zeros(len(table))
    rows = np.arange(len(table))
    for (name, piece), color, hatch in zip(table.items(), COLORS, HATCHES, strict=False):
        ax.barh(
            rows, piece, left=start, height=0.65, color=color, hatch=hatch, edgecolor="white", linewidth=0, label=name
        )
        start = start + piece.to_numpy()
    for row, value in enumerate(total):
        ax.annotate(label(value), (value, row), xytext=(5, 0), textcoords="offset points", va="center")
    ax.set(
        xlabel=xlabel,
        xlim=(0, 1.25 * total.max()),  # room for the labels
        yticks=rows,
        yticklabels=table.index,
        ylim=(len(table) - 0.5, -0.5),
    )
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
