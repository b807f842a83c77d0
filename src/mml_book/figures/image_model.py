"""Figures for the chapter on a model made for images: its windows, shifts, and scans, its training, and its gates."""

import matplotlib.pyplot as plt
import numpy as np
from keras import ops
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mml.ops import patch_grid, patchify
from mml_book.figures.charts import COLORS, MARKERS


def overlapping_windows(image, patch_size, strides, positions):
    """Draw an image with frames around some of its overlapping patches, and these patches next to it.

    Args:
        image: Image `[height, width, channels]`, uint8, or floats from 0 to 1.
        patch_size: Edge of a patch in pixels.
        strides: Distance from one patch to the next, in pixels.
        positions: `(row, column)` of up to eight patches in the grid that `mml.ops.patchify` makes with
            `padding="same"`.

    Returns:
        A `matplotlib.figure.Figure`. The axes of the image are in pixels.

    Raises:
        ValueError: If there are no positions or more than eight, or if a position is not in the grid.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> figure = figures.overlapping_windows(np.zeros((8, 8, 3)), 6, 2, positions=[(1, 1), (1, 2)])
    >>> len(figure.axes)
    3
    >>> plt.close(figure)
    """
    height, width, channels = image.shape
    rows, columns = patch_grid(height, width, patch_size, strides, "same")
    inside = all(0 <= row < rows and 0 <= column < columns for row, column in positions)
    if not inside or not 0 < len(positions) <= len(COLORS):
        raise ValueError(
            f"`positions` must hold 1 to {len(COLORS)} positions in a grid of {rows} x {columns} patches. "
            f"Received: positions={positions}"
        )
    patches = ops.convert_to_numpy(patchify(image[None], patch_size, strides, "same"))[0]
    patches = patches.reshape(rows, columns, patch_size, patch_size, channels)
    # The zeros are split between both sides. If their number is odd, the extra one is at the end.
    above = max(0, (rows - 1) * strides + patch_size - height) // 2
    left = max(0, (columns - 1) * strides + patch_size - width) // 2

    figure = plt.figure(figsize=(6.2, 4.2), layout="constrained")
    whole, cut = figure.subfigures(1, 2, squeeze=False, width_ratios=(3, 1))[0]
    ax = whole.subplots()
    ax.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
    ax.set(
        xticks=range(0, width + 1, 8),
        yticks=range(0, height + 1, 8),
        xlabel="column of pixels",
        ylabel="row of pixels",
    )
    ax.grid(visible=False)
    for axis, (row, column), color in zip(
        cut.subplots(len(positions), 1, squeeze=False)[:, 0], positions, COLORS, strict=False
    ):
        corner = (column * strides - left, row * strides - above)
        for edge, linewidth in (("white", 4), (color, 2.2)):
            ax.add_patch(plt.Rectangle(corner, patch_size, patch_size, fill=False, ec=edge, lw=linewidth))
        axis.imshow(patches[row, column], interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"patch ({row}, {column})", fontsize="small")
        for spine in axis.spines.values():
            spine.set(visible=True, edgecolor=color, linewidth=3.5)
    return figure


def token_shift(origins, grid, position):
    """Draw the tokens of an image and the features of one token, with colors that show where the features come from.

    Args:
        origins: For each feature, the number of the token that it comes from, in raster order, `[features]`.
        grid: Numbers of rows and columns of tokens.
        position: `(row, column)` of the token whose features are drawn.

    Returns:
        A `matplotlib.figure.Figure` with two axes. Each token that contributes features has its own color, and its
        features have the same color.

    Raises:
        ValueError: If features come from more than eight tokens, because there are eight colors.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.token_shift([0, 2, 1, 1], grid=(1, 3), position=(0, 1))
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    origins = np.asarray(origins, "int64")
    rows, columns = grid
    own = position[0] * columns + position[1]
    givers = [own, *(token for token in dict.fromkeys(origins.tolist()) if token != own)]
    if len(givers) > len(COLORS):
        raise ValueError(
            f"`origins` must hold at most {len(COLORS)} different tokens. Received: {sorted(set(givers))}"
        )
    colors = dict(zip(givers, COLORS, strict=False))

    figure, (tokens, features) = plt.subplots(
        2, 1, figsize=(5.2, 1.1 * rows + 1.9), height_ratios=(rows, 0.9), layout="constrained"
    )
    for token in range(rows * columns):
        row, column = divmod(token, columns)
        color = colors.get(token, "white")
        tokens.add_patch(plt.Rectangle((column + 0.04, row + 0.04), 0.92, 0.92, facecolor=color, edgecolor="0.5"))
        ink = "white" if token in colors else "0.4"
        tokens.text(column + 0.5, row + 0.5, token, ha="center", va="center", color=ink, fontsize="large")
    tokens.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", title="tokens of the image")
    width = 1 / len(origins)
    for index, token in enumerate(origins.tolist()):
        features.add_patch(plt.Rectangle((index * width, 0), width, 1, facecolor=colors[token], edgecolor="white"))
        features.text((index + 0.5) * width, 0.5, token, ha="center", va="center", color="white", fontsize="small")
    features.set(xlim=(0, 1), ylim=(0, 1), title=f"features of token {own} after the shift")
    for ax in (tokens, features):
        ax.axis("off")
    return figure


def visiting_orders(orders):
    """Draw the order in which scans visit the tokens of an image, with one panel per scan.

    Args:
        orders: Maps a title to an integer array `[rows, columns]`: when each token is visited, counted from 0.

    Returns:
        A `matplotlib.figure.Figure` with one axes per scan and one for the color bar. A line follows each scan.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> figure = figures.visiting_orders({"right": np.array([[0, 1], [2, 3]]), "down": np.array([[0, 2], [1, 3]])})
    >>> [ax.get_title() for ax in figure.axes][:2]
    ['right', 'down']
    >>> plt.close(figure)
    """
    down = -(-len(orders) // 2)
    figure, grid = plt.subplots(down, 2, figsize=(6.2, 2.7 * down + 0.2), squeeze=False, layout="constrained")
    for ax in grid.flat[len(orders) :]:
        ax.remove()
    axes = grid.flat[: len(orders)]
    for ax, (title, order) in zip(axes, orders.items(), strict=True):
        drawn = ax.imshow(order, cmap="viridis", vmin=0, vmax=order.size - 1)
        y, x = np.unravel_index(np.argsort(order, axis=None), order.shape)
        ax.plot(x, y, color="white", linewidth=0.8)
        for number in (0, -1):
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "black"}
            text = "first" if number == 0 else "last"
            ax.text(x[number], y[number], text, ha="center", va="center", fontsize="x-small", bbox=box)
        ax.set(xticks=[], yticks=[], title=title)
        ax.grid(visible=False)
    figure.colorbar(drawn, ax=list(axes), label="when the token is visited")
    return figure


def learning_rate(rates, marks):
    """Draw the learning rate over the steps of a run, with some of the steps marked.

    Args:
        rates: The learning rate at each step, `[steps]`.
        marks: Maps a label to a step.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.learning_rate([0, 0.5, 1, 0.5, 0], {"end of the warm-up": 2})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['end of the warm-up']
    >>> plt.close(figure)
    """
    figure, ax = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
    ax.plot(rates, color=COLORS[0], linewidth=2.5)
    for (label, step), color, style in zip(marks.items(), COLORS[1:], ("--", ":", "-.", "-"), strict=False):
        ax.axvline(step, color=color, linestyle=style, linewidth=1.8, label=label)
    ax.set(xlabel="step", ylabel="learning rate")
    ax.legend(fontsize="small")
    return figure


def runs_beside(histories, chance):
    """Draw the accuracy of several runs after each epoch, on training images and on validation images.

    Args:
        histories: Maps a name to a `pandas.DataFrame` with the columns `epoch`, counted from 0, `acc`, and `val_acc`.
        chance: Accuracy of a model that guesses.

    Returns:
        A `matplotlib.figure.Figure` with one color per run. Lines are solid for validation and dashed for training.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book import figures
    >>> history = pd.DataFrame({"epoch": [0, 1], "acc": [0.1, 0.3], "val_acc": [0.2, 0.25]})
    >>> figure = figures.runs_beside({"new": history}, chance=0.1)
    >>> len(figure.axes[0].lines)
    3
    >>> plt.close(figure)
    """
    figure, ax = plt.subplots(figsize=(6.2, 3.9), layout="constrained")
    for (name, history), color, marker in zip(histories.items(), COLORS, MARKERS, strict=False):
        epochs = history["epoch"] + 1
        sparse = max(1, len(epochs) // 10)  # markers distinguish the runs without color
        for column, style, images in (("val_acc", "-", "validation"), ("acc", "--", "training")):
            label = f"{name}, {images}"
            ax.plot(epochs, history[column], style, color=color, marker=marker, markevery=sparse, label=label)
    ax.axhline(chance, linestyle=":", color="0.3", label="guessing")
    ax.set(xlabel="epoch", ylabel="accuracy", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def trials(differences, noise):
    """Draw how far trials are above or below the base model, and shade the differences that chance alone explains.

    Args:
        differences: A `pandas.Series` of the differences in percentage points, indexed by the name of the trial.
        noise: Largest difference that chance alone explains, in percentage points.

    Returns:
        A `matplotlib.figure.Figure` with one labeled dot per trial, in the order of `differences`.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book import figures
    >>> figure = figures.trials(pd.Series({"6 blocks": 1.5, "no smoothing": -0.25}), noise=1.0)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['+1.5', '-0.2']
    >>> plt.close(figure)
    """
    figure, ax = plt.subplots(figsize=(5.5, 0.32 * len(differences) + 1), layout="constrained")
    rows = np.arange(len(differences))
    ax.axvspan(-noise, noise, color="0.85", label="within chance")
    ax.axvline(0, color="black", linestyle="--", linewidth=1.2)
    ax.hlines(rows, 0, differences, color=COLORS[0], linewidth=1.5)
    ax.plot(differences, rows, MARKERS[0], color=COLORS[0], markersize=7)
    for row, difference in zip(rows, differences, strict=True):
        ax.annotate(
            f"{difference:+.1f}",
            (difference, row),
            xytext=(7 if difference >= 0 else -7, 0),
            textcoords="offset points",
            horizontalalignment="left" if difference >= 0 else "right",
            verticalalignment="center",
        )
    ax.set(yticks=rows, yticklabels=differences.index, ylim=(len(rows) - 0.5, -0.5))
    ax.set_xlabel("difference in percentage points")
    ax.margins(x=0.25)  # room for the labels
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def time_constants(panels, marks):
    """Draw the time constants of forget gates before and after training, with one panel per block.

    Args:
        panels: Maps a panel's title to a pair of arrays `[features]`: the time constants before and after training,
            in tokens.
        marks: Maps a label to a number of tokens, which a line marks.

    Returns:
        A `matplotlib.figure.Figure` with logarithmic axes, two panels in a row. Features are sorted by their time
        constants after training.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.time_constants({"block 1": ([2.0, 4.0], [3.0, 3.5])}, {"one row": 8})
    >>> figure.axes[0].get_yscale()
    'log'
    >>> plt.close(figure)
    """
    down, across = -(-len(panels) // 2), min(2, len(panels))
    figure, grid = plt.subplots(
        down, across, figsize=(6.2, 2.5 * down + 0.6), squeeze=False, sharey=True, layout="constrained"
    )
    for ax, (title, (before, after)) in zip(grid.flat, panels.items(), strict=False):
        order = np.argsort(after, kind="stable")
        ax.plot(np.asarray(after)[order], MARKERS[0], color=COLORS[1], markersize=3.5, label="after training")
        ax.plot(np.asarray(before)[order], color=COLORS[0], linewidth=2, label="before")
        for (label, tokens), style in zip(marks.items(), ("--", ":", "-."), strict=False):
            ax.axhline(tokens, color="0.3", linestyle=style, linewidth=1.2, label=label)
        ax.set(yscale="log")
        ax.set_title(title, fontsize="medium")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    for ax in grid[:, 0]:
        ax.set_ylabel("tokens")
    for ax in grid[-1]:
        ax.set_xlabel("feature, sorted")
    for ax in grid.flat[len(panels) :]:
        ax.remove()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure
