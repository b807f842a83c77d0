"""Figures for the chapter on patch embeddings: matrices, and the similarity of learned positions."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from mml_book.figures.quantization import MINUS, PLUS

SIGNED = LinearSegmentedColormap.from_list("signed", [MINUS, "white", PLUS])


def matrix_product(left, right, product):
    """Draw two matrices and their product as colors.

    Args:
        left: Maps one name to a matrix `[rows, inner]`.
        right: Maps one name to a matrix `[inner, columns]`.
        product: Maps one name to their product `[rows, columns]`.

    Returns:
        A `matplotlib.figure.Figure` with three axes. Each matrix has its own color scale: white is 0, and the
        darkest colors are three standard deviations away from 0.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> a, b = np.eye(3), np.ones((3, 2))
    >>> figure = figures.matrix_product({"a": a}, {"b": b}, {"c": a @ b})
    >>> [axes.get_title() for axes in figure.axes]
    ['a', '· b', '= c']
    >>> plt.close(figure)
    """
    pictures = [(name, np.asarray(values)) for part in (left, right, product) for name, values in part.items()]
    widths = [values.shape[1] for _, values in pictures]
    cell = 4.5 / sum(widths)  # in inches
    height = cell * max(values.shape[0] for _, values in pictures) + 0.9  # the rest is for the labels
    figure, axes = plt.subplots(1, 3, figsize=(5.7, height), width_ratios=widths, layout="constrained")
    for ax, sign, (name, values) in zip(axes, ("", "· ", "= "), pictures, strict=True):
        largest = 3 * np.std(values) or 1
        ax.imshow(values, cmap=SIGNED, vmin=-largest, vmax=largest)
        ax.set(title=sign + name, xticks=[], yticks=[])
        ax.set(xlabel=f"{values.shape[1]} columns", ylabel=f"{values.shape[0]} rows")
    return figure


def matrices(named):
    """Draw small matrices, with the number in each cell.

    Args:
        named: Maps a title to a matrix `[rows, columns]` of numbers. The color shows a number's sign and, within
            each matrix, its size.

    Returns:
        A `matplotlib.figure.Figure` with one axes per matrix, in rows of at most six columns of numbers.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.matrices({"weights": [[0.8, -0.1]], "ternary": [[1, 0]]})
    >>> [axes.get_title() for axes in figure.axes]
    ['weights', 'ternary']
    >>> plt.close(figure)
    """
    named = {title: np.asarray(matrix) for title, matrix in named.items()}
    rows, columns = np.max([matrix.shape for matrix in named.values()], axis=0)
    across = int(np.clip(6 // columns, 1, len(named)))
    down = -(-len(named) // across)
    size = (0.62 * columns + 0.2) * across, (0.5 * rows + 0.5) * down
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat[len(named) :]:
        ax.remove()
    for ax, (title, matrix) in zip(axes.flat, named.items(), strict=False):
        largest = np.max(np.abs(matrix)) or 1
        ax.imshow(matrix, cmap=SIGNED, vmin=-largest, vmax=largest, aspect="auto")
        for (row, column), value in np.ndenumerate(matrix):
            strong = abs(value) > 0.6 * largest
            # Adding 0 turns -0 into 0.
            ax.text(column, row, f"{value + 0:.3g}", ha="center", va="center", color="white" if strong else "black")
        ax.set_title(title)
        ax.set_xticks(np.arange(matrix.shape[1] - 1) + 0.5, [])
        ax.set_yticks(np.arange(matrix.shape[0] - 1) + 0.5, [])
        ax.grid(True, color="white", linewidth=2)
    return figure


def similarity_by_distance(panels):
    """Draw the mean similarity of positions against their distance in patches.

    Args:
        panels: Maps a panel's title to its curves, which map a label to the mean similarities at distances 1, 2, ….

    Returns:
        A `matplotlib.figure.Figure` with one axes per panel, all on the same scale.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.similarity_by_distance({"before": {"along a row": [0.3, 0.1], "along a column": [0, 0]}})
    >>> figure.axes[0].lines[1].get_xdata().tolist()
    [1, 2]
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(5.2, 2.7 * len(panels)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, curves) in zip(axes[:, 0], panels.items(), strict=True):
        ax.axhline(0, color="black", linewidth=0.8)
        for (label, values), color, marker in zip(curves.items(), (PLUS, MINUS), "os", strict=False):
            ax.plot(np.arange(1, len(values) + 1), values, color=color, marker=marker, linewidth=2, label=label)
        ax.set(title=title, ylabel="mean cosine similarity")
    axes[-1, 0].set_xlabel("patches apart")
    axes[0, 0].legend(loc="upper right")
    return figure
