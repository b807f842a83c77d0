"""Figure for the model card: the accuracy of the model on each class."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter


def accuracy_by_class(table):
    """Draw the accuracy of each class with its interval, the best class first.

    Args:
        table: A `pandas.DataFrame` with the columns `class`, `accuracy`, `low`, and `high`, with one row per class.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import pandas as pd
    >>> from mml_book.figures import accuracy_by_class
    >>> table = pd.DataFrame({"class": ["cat", "ship"], "accuracy": [0.6, 0.9], "low": [0.5, 0.8], "high": [0.7, 1]})
    >>> figure = accuracy_by_class(table)
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['ship', 'cat']
    """
    table = table.sort_values("accuracy", ascending=False)
    rows = np.arange(len(table))
    figure, ax = plt.subplots(figsize=(6.2, 0.35 * len(table) + 1.2), layout="constrained")
    errors = np.array([table["accuracy"] - table["low"], table["high"] - table["accuracy"]])
    ax.errorbar(table["accuracy"], rows, xerr=errors, fmt="o", markersize=8, capsize=4)
    ax.set(yticks=rows, yticklabels=table["class"], ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy", xlim=(None, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    return figure
