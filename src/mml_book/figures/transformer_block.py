"""Figures for the chapter on the transformer block: its recurrence, its gates, and where a model's parameters are."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREEN = (sns.color_palette("colorblind")[index] for index in (0, 3, 2))


def gated_recurrence(forget, candidate, states):
    """Draw a gated linear recurrence of one feature over time.

    Args:
        forget: Forget gate at each step, `[time]`, in `[0, 1]`.
        candidate: Candidate at each step, `[time]`.
        states: State after each step, `[time]`.

    Returns:
        A `matplotlib.figure.Figure` with the gate as bars above, and the candidates as dots and the state as steps
        below.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.gated_recurrence([0.5, 0.5, 0.5], [8, 0, 4], [4, 2, 3])
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    time = np.arange(len(forget))
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(6.5, 4), sharex=True, height_ratios=(2, 3), layout="constrained"
    )
    top.bar(time, forget, color=BLUE, width=0.6)
    top.set(ylabel="forget gate", ylim=(0, 1.05))
    bottom.axhline(0, color="black", linewidth=0.8)
    bottom.plot(time, candidate, "o", color=ORANGE, markersize=8, label="candidate: what comes in")
    bottom.step(time, states, where="mid", color=BLUE, linewidth=2.5, label="state: what is remembered")
    bottom.set(xlabel="step", ylabel="value", xticks=time)
    lowest, highest = bottom.get_ylim()
    bottom.set_ylim(lowest - 0.05 * (highest - lowest), highest + 0.25 * (highest - lowest))  # room for the legend
    bottom.legend(fontsize="small", loc="upper right", ncols=2)
    return figure


def raster_order(image, rows, columns):
    """Draw an image with arrows that show the order in which its patches are read.

    Args:
        image: Pixels `[height, width, channels]`, uint8 or floats in `[0, 1]`.
        rows: Number of rows of patches.
        columns: Number of columns of patches.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> figure = figures.raster_order(np.zeros((8, 12, 3)), rows=2, columns=3)
    >>> len(figure.axes)
    1
    >>> plt.close(figure)
    """
    figure, ax = plt.subplots(figsize=(4.2, 4.2 * rows / columns), layout="constrained")
    ax.imshow(image, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), interpolation="nearest")
    for row in range(rows):
        arrow = {"arrowstyle": "->", "color": "white", "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (columns - 0.8, row), (-0.2, row), arrowprops={**arrow, "color": "black", "linewidth": 3.2})
        ax.annotate("", (columns - 0.8, row), (-0.2, row), arrowprops=arrow)
    for patch, x, y in ((0, 0, 0), (rows * columns - 1, columns - 1, rows - 1)):
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "black"}
        ax.text(x, y, str(patch), ha="center", va="center", fontsize="small", bbox=box)
    ax.set_xticks(np.arange(columns - 1) + 0.5, [])
    ax.set_yticks(np.arange(rows - 1) + 0.5, [])
    ax.grid(True, color="white", linewidth=0.4)
    return figure


def maps_beside_image(image, maps, label, position=None):
    """Draw maps with one number per patch, next to the image that the patches were cut from.

    Args:
        image: Pixels `[height, width, channels]`, uint8 or floats in `[0, 1]`.
        maps: Maps a title to an array `[rows, columns]`, one number per patch. All maps share one color scale, and
            NaN is gray.
        label: What the colors stand for.
        position: `(row, column)` of a patch to frame in the image and in each map.

    Returns:
        A `matplotlib.figure.Figure` with the image, the maps, and the color bar, in this order.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> figure = figures.maps_beside_image(np.zeros((8, 8, 3)), {"gate": np.eye(4)}, "forget gate", position=(1, 2))
    >>> [axes.get_title() for axes in figure.axes][:2]
    ['image', 'gate']
    >>> plt.close(figure)
    """
    rows, columns = next(iter(maps.values())).shape
    count = 1 + len(maps)
    across = 2 if count in (2, 4) else 3
    down = -(-count // across)
    figure, axes = plt.subplots(
        down, across, figsize=(2.5 * across + 0.8, 2.7 * down), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[count:]:
        ax.remove()
    axes = axes.flat[:count]
    axes[0].imshow(image, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), interpolation="nearest")
    axes[0].set_title("image", fontsize="medium")
    limits = {"vmin": min(map(np.nanmin, maps.values())), "vmax": max(map(np.nanmax, maps.values()))}
    cmap = plt.get_cmap("viridis").with_extremes(bad="0.8")
    for ax, (title, values) in zip(axes[1:], maps.items(), strict=True):
        drawn = ax.imshow(values, cmap=cmap, interpolation="nearest", **limits)
        ax.set_title(title, fontsize="medium")
    for ax in axes:
        if position is not None:
            corner = (position[1] - 0.5, position[0] - 0.5)
            ax.add_patch(plt.Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=3.5))
            ax.add_patch(plt.Rectangle(corner, 1, 1, fill=False, edgecolor="white", linewidth=1.5))
        ax.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.9 / down)
    return figure


def swiglu(x, activations, gated):
    """Draw activation functions, and the products of an activated gate with several inputs.

    Args:
        x: Values of the gate in ascending order, `[points]`.
        activations: Maps a label to an activation's values `[points]`.
        gated: Maps a label to gated values `[points]`.

    Returns:
        A `matplotlib.figure.Figure` with two axes.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> x = np.linspace(-2, 2, 9)
    >>> figure = figures.swiglu(x, {"ReLU": np.maximum(x, 0)}, {"up = 2": 2 * np.maximum(x, 0)})
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(2, 1, figsize=(5.2, 5.6), sharex=True, layout="constrained")
    titles = ("activation of the gate", "activation · up")
    for ax, title, curves in zip(axes, titles, (activations, gated), strict=True):
        styles = zip(sns.color_palette("colorblind"), ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1))), strict=False)
        for (name, values), (color, style) in zip(curves.items(), styles, strict=False):
            ax.plot(x, values, color=color, linestyle=style, linewidth=2, label=name)
        ax.set_title(title)
        ax.legend()
    axes[-1].set_xlabel("gate")
    return figure


def through_depth(panels):
    """Draw how quantities change from block to block.

    Args:
        panels: Maps a panel's title to its curves, which map a label to one value for the input and one after
            each block, `[blocks + 1]`.

    Returns:
        A `matplotlib.figure.Figure` with one axes per panel. The first one has the legend.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.through_depth({"size": {"with norm": [1, 1, 1], "without": [1, 2, 4]}})
    >>> len(figure.axes[0].lines)
    2
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(5.2, 2.7 * len(panels)), sharex=True, squeeze=False, layout="constrained"
    )
    for ax, (title, curves) in zip(axes[:, 0], panels.items(), strict=True):
        # Where curves are equal, the smaller marks lie on the larger ones.
        styles = zip((BLUE, ORANGE, GREEN), "osD", (11, 8, 4), ("-", "--", ":"), strict=True)
        for (label, values), (color, marker, size, style) in zip(curves.items(), styles, strict=False):
            ax.plot(values, color=color, marker=marker, markersize=size, linestyle=style, linewidth=2, label=label)
        ax.set(title=title, xticks=range(len(values)))
        ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    axes[-1, 0].set_xlabel("after block")
    axes[0, 0].legend()
    return figure


def parameter_budget(panels):
    """Draw where the parameters are, with one bar per part.

    Args:
        panels: Maps a panel's title to its parts, which map a name to a number of parameters.

    Returns:
        A `matplotlib.figure.Figure` with one axes per panel. Each bar is labeled with its number and share.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.parameter_budget({"model": {"blocks": 300, "head": 700}})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['300 (30.0%)', '700 (70.0%)']
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(5.5, 0.32 * sum(map(len, panels.values())) + 0.8 * len(panels)),
        height_ratios=[len(parts) for parts in panels.values()],
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, parts), color in zip(axes[:, 0], panels.items(), (BLUE, GREEN, ORANGE), strict=False):
        counts = list(parts.values())
        bars = ax.barh(list(parts), counts, color=color)
        total = sum(counts)
        ax.bar_label(bars, [f"{count:,} ({100 * count / total:.1f}%)" for count in counts], padding=4)
        ax.invert_yaxis()
        ax.margins(x=0.75)  # room for the labels
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.set_title(title, loc="left")
        ax.xaxis.set_major_formatter("{x:,.0f}")
    axes[-1, 0].set_xlabel("parameters")
    return figure


def mixing_cost(tokens, costs, marks):
    """Draw how the cost of mixing tokens grows with their number, on logarithmic axes.

    Args:
        tokens: Numbers of tokens in ascending order, `[points]`.
        costs: Maps a label to the cost at each number of tokens, `[points]`.
        marks: Maps a label to a number of tokens to mark.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> n = np.array([10, 100, 1000])
    >>> figure = figures.mixing_cost(n, {"N": n, "N squared": n**2}, {"this book": 144})
    >>> figure.axes[0].get_yscale()
    'log'
    >>> plt.close(figure)
    """
    figure, ax = plt.subplots(figsize=(5.5, 4.2), layout="constrained")
    for (label, values), color, style in zip(costs.items(), (ORANGE, BLUE, GREEN), ("--", "-", ":"), strict=False):
        ax.loglog(tokens, values, color=color, linestyle=style, linewidth=2.5, label=label)
    for label, number in marks.items():
        ax.axvline(number, color="black", linewidth=0.8)
        text = f"{label}\n{number:,} tokens"
        ax.text(number, 1.02, text, transform=ax.get_xaxis_transform(), ha="center", va="bottom")
    ax.set(xlabel="number of tokens", ylabel="operations")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
