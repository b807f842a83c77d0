"""Pictures of rounded weights and inputs, of the straight-through estimator, and of learned positions."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap

# Told apart by colour-blind readers too: minus is orange, plus is blue, zero is grey.
MINUS, ZERO, PLUS = "#D55E00", "#BDBDBD", "#0072B2"
SIGNED = LinearSegmentedColormap.from_list("signed", [MINUS, "white", PLUS])


def matrix_product(left, right, product):
    """Draw two matrices and their product as colours.

    Args:
        left: Maps one name to a matrix `[rows, inner]`.
        right: Maps one name to a matrix `[inner, columns]`.
        product: Maps one name to their product `[rows, columns]`.

    Returns:
        A `matplotlib.figure.Figure` with three axes. Each matrix has colours of its own: white is 0, and the
        darkest ones are three standard deviations away.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml import plots
    >>> a, b = np.eye(3), np.ones((3, 2))
    >>> figure = plots.matrix_product({"a": a}, {"b": b}, {"c": a @ b})
    >>> [axes.get_title() for axes in figure.axes]
    ['a', '· b', '= c']
    >>> plt.close(figure)
    """
    pictures = [(name, np.asarray(values)) for part in (left, right, product) for name, values in part.items()]
    widths = [values.shape[1] for _, values in pictures]
    figure, axes = plt.subplots(1, 3, figsize=(7.5, 3.8), width_ratios=widths, layout="constrained")
    for ax, sign, (name, values) in zip(axes, ("", "· ", "= "), pictures, strict=True):
        largest = 3 * np.std(values) or 1
        ax.imshow(values, cmap=SIGNED, vmin=-largest, vmax=largest)
        ax.set(title=sign + name, xticks=[], yticks=[])
        ax.set(xlabel=f"{values.shape[1]} columns", ylabel=f"{values.shape[0]} rows")
    return figure


def matrices(named):
    """Draw small matrices side by side, with each number in its cell.

    Args:
        named: Maps a title to a matrix `[rows, columns]` of numbers. Colour says the sign and, within each
            matrix, the size.

    Returns:
        A `matplotlib.figure.Figure` with one axes a matrix.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml import plots
    >>> figure = plots.matrices({"weights": [[0.8, -0.1]], "ternary": [[1, 0]]})
    >>> [axes.get_title() for axes in figure.axes]
    ['weights', 'ternary']
    >>> plt.close(figure)
    """
    named = {title: np.asarray(matrix) for title, matrix in named.items()}
    columns = [matrix.shape[1] for matrix in named.values()]
    rows = max(matrix.shape[0] for matrix in named.values())
    figure, axes = plt.subplots(
        1,
        len(named),
        figsize=(0.62 * sum(columns) + 0.25 * len(named), 0.5 * rows + 0.5),
        width_ratios=columns,
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, matrix) in zip(axes[0], named.items(), strict=True):
        largest = np.max(np.abs(matrix)) or 1
        ax.imshow(matrix, cmap=SIGNED, vmin=-largest, vmax=largest, aspect="auto")
        for (row, column), value in np.ndenumerate(matrix):
            strong = abs(value) > 0.6 * largest
            # Adding 0 turns -0 into 0.
            ax.text(column, row, f"{value + 0:.3g}", ha="center", va="center", color="white" if strong else "black")
        ax.set_title(title, fontsize="medium")
        ax.set_xticks(np.arange(matrix.shape[1] - 1) + 0.5, [])
        ax.set_yticks(np.arange(matrix.shape[0] - 1) + 0.5, [])
        ax.grid(True, color="white", linewidth=2)
    return figure


def ternary_histogram(w, w_ternary, scale):
    """Draw how often each value occurs in a weight matrix, before and after it is rounded to -1, 0 and 1.

    Args:
        w: Latent float weights, any shape.
        w_ternary: The same shape, rounded to -1, 0 and 1.
        scale: The number with which `w` is about `w_ternary * scale`.

    Returns:
        A `matplotlib.figure.Figure` with two axes, before and after. The colour of a bar before says what its
        weights become.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml import plots
    >>> from mml.ops import absmean_ternarize
    >>> w = np.linspace(-1, 1, 101, dtype="float32")
    >>> figure = plots.ternary_histogram(w, *absmean_ternarize(w))
    >>> [axes.get_title() for axes in figure.axes]
    ['before: latent weights', 'after: ternary weights']
    >>> plt.close(figure)
    """
    w, w_ternary, scale = np.ravel(w), np.ravel(w_ternary), float(scale)
    figure, (before, after) = plt.subplots(1, 2, figsize=(7.5, 3.2), width_ratios=(3, 2), layout="constrained")
    # Half a scale is a whole number of bins, so that no bar holds two colours.
    width = scale / 6
    edges = width * np.arange(np.floor(np.min(w) / width), np.ceil(np.max(w) / width) + 1)
    values = (-1, 0, 1)
    before.hist(
        [w[w_ternary == value] for value in values],
        bins=edges,
        color=(MINUS, ZERO, PLUS),
        label=[f"becomes {value}" for value in values],
        stacked=True,
    )
    for threshold in (-scale / 2, scale / 2):
        before.axvline(threshold, color="black", linestyle="--", linewidth=1)
    before.set(title="before: latent weights", xlabel="weight (dashed: ± half the scale)", ylabel="number of weights")
    before.margins(y=0.2)  # room for the legend
    before.legend(fontsize="small", loc="upper center", ncols=3, columnspacing=1, handlelength=1, framealpha=1)

    counts = [np.count_nonzero(w_ternary == value) for value in values]
    bars = after.bar(range(3), counts, color=(MINUS, ZERO, PLUS))
    after.bar_label(bars, [f"{count / w.size:.0%}" for count in counts])
    after.set_xticks(range(3), values)
    after.set(title="after: ternary weights", xlabel="weight, in units of the scale", ylabel="number of weights")
    after.margins(y=0.12)
    return figure


def rounding_errors(named):
    """Draw what rounding adds to each value, for several kinds of rounding on one scale.

    Args:
        named: Maps a title to a pair of arrays of one shape: exact values, and what they are after rounding.

    Returns:
        A `matplotlib.figure.Figure` with one axes a pair. Both directions are in shares of the largest exact
        value of the pair.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml import plots
    >>> x = np.linspace(-1, 1, 101)
    >>> figure = plots.rounding_errors({"to integers": (x, np.round(x)), "to halves": (x, np.round(2 * x) / 2)})
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(
        1, len(named), figsize=(3.75 * len(named), 3.2), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (title, (exact, rounded)) in zip(axes[0], named.items(), strict=True):
        exact, rounded = np.ravel(exact), np.ravel(rounded)
        largest = np.max(np.abs(exact))
        ax.plot(exact / largest, (rounded - exact) / largest, ".", markersize=2, color=PLUS, rasterized=True)
        ax.set(title=title, xlabel="exact value / largest")
    axes[0, 0].set_ylabel("error / largest value")
    return figure


def ternary_wiring(w_ternary):
    """Draw a ternary matrix as wires: which inputs an output adds, and which it subtracts.

    Args:
        w_ternary: Matrix `[inputs, outputs]` of -1, 0 and 1.

    Returns:
        A `matplotlib.figure.Figure`: inputs on the left, outputs on the right, solid blue where an input is
        added, dashed orange where it is subtracted, nothing where the weight is 0.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml import plots
    >>> figure = plots.ternary_wiring([[1, -1], [0, 1], [1, 0]])
    >>> len(figure.axes[0].lines)
    4
    >>> plt.close(figure)
    """
    w_ternary = np.asarray(w_ternary)
    inputs, outputs = w_ternary.shape
    figure, ax = plt.subplots(figsize=(4.5, 0.7 * max(inputs, outputs) + 0.7), layout="constrained")
    left = np.linspace(1, 0, inputs) if inputs > 1 else np.array([0.5])
    right = np.linspace(0.85, 0.15, outputs) if outputs > 1 else np.array([0.5])
    for (i, j), value in np.ndenumerate(w_ternary):
        if value:
            color, style = (PLUS, "-") if value > 0 else (MINUS, "--")
            ax.plot([0, 1], [left[i], right[j]], color=color, linestyle=style, linewidth=2)
            at = 0.16 + 0.12 * j
            ax.text(
                at, left[i] + at * (right[j] - left[i]), "+" if value > 0 else "−", ha="center", va="center",
                color=color, fontsize="x-large", fontweight="bold",
                bbox={"boxstyle": "circle,pad=0.05", "facecolor": "white", "edgecolor": "none"},
            )  # fmt: skip
    node = {"boxstyle": "circle,pad=0.35", "facecolor": "white", "edgecolor": "black"}
    for i, height in enumerate(left):
        ax.text(0, height, f"$x_{{{i}}}$", ha="center", va="center", bbox=node)
    for j, height in enumerate(right):
        ax.text(1, height, f"$y_{{{j}}}$", ha="center", va="center", bbox=node)
    ax.set(xlim=(-0.15, 1.15), ylim=(-0.15, 1.15))
    ax.axis("off")
    return figure


def straight_through(x, rounded, true_gradient, pretended_gradient):
    """Draw a rounding function, its gradient, and the gradient that training pretends it has.

    Args:
        x: Inputs in rising order, `[points]`.
        rounded: The function's values, `[points]`.
        true_gradient: Its gradient, `[points]`.
        pretended_gradient: The gradient of the straight-through estimator, `[points]`.

    Returns:
        A `matplotlib.figure.Figure` with two axes: function above, gradients below.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml import plots
    >>> x = np.linspace(-2, 2, 9)
    >>> figure = plots.straight_through(x, np.round(x), np.zeros(9), np.ones(9))
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(6, 4.4), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    top.plot(x, x, linestyle="--", color=PLUS, label="pretended, for the gradient only")
    # A step is drawn as a gap, not as a slope that the function does not have.
    steps = np.flatnonzero(np.diff(rounded)) + 1
    top.plot(np.insert(np.asarray(x, float), steps, np.nan), np.insert(np.asarray(rounded, float), steps, np.nan),
             color="black", linewidth=2.5, label="rounded, in the forward pass")  # fmt: skip
    top.set_ylabel("value")
    bottom.plot(x, pretended_gradient, linestyle="--", color=PLUS, label="pretended gradient")
    bottom.plot(x, true_gradient, color=MINUS, linewidth=2.5, label="true gradient")
    bottom.set(xlabel="latent weight, in units of the scale", ylabel="gradient", ylim=(-0.4, 1.4))
    for ax in (top, bottom):
        ax.legend(fontsize="small", loc="upper left" if ax is top else "center left")
    return figure


def latent_descent(losses, latents):
    """Draw a descent with rounded weights: the loss of each way, and the latent weights of the one that learns.

    Args:
        losses: Maps a label to the losses `[steps]` of one way of training.
        latents: Latent weights after each step, `[steps, weights]`, in units of the scale.

    Returns:
        A `matplotlib.figure.Figure` with two axes. In the second the dashed lines are the borders at which a
        rounded weight changes.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml import plots
    >>> figure = plots.latent_descent({"stuck": [1, 1], "learns": [1, 0]}, np.array([[0.2, -0.3], [0.6, -0.3]]))
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.2), layout="constrained")
    for (label, values), color, style in zip(losses.items(), (MINUS, PLUS, "black"), ("--", "-", ":"), strict=False):
        left.plot(values, color=color, linestyle=style, linewidth=2, label=label)
    left.set(title="loss", xlabel="step", ylabel="mean squared error")
    left.legend(fontsize="small")
    for weight, dashes in zip(np.asarray(latents).T, ("-", "-.", ":", (0, (5, 1))), strict=False):
        right.plot(weight, linestyle=dashes, linewidth=2, color=PLUS)
    for border in (-0.5, 0.5):
        right.axhline(border, color="black", linestyle="--", linewidth=1)
    for height, name in ((0.9, "rounded to 1"), (0, "rounded to 0"), (-0.9, "rounded to −1")):
        right.text(
            0.98, height, name, transform=right.get_yaxis_transform(), ha="right", va="center", fontsize="small"
        )
    right.set(title="latent weights", xlabel="step", ylim=(-1.3, 1.3))
    return figure


def ternary_transitions(before, after):
    """Draw how many ternary weights went from which value to which.

    Args:
        before: Weights of -1, 0 and 1, any shape.
        after: The same weights later, the same shape.

    Returns:
        A `matplotlib.figure.Figure`: a table of counts, value before by value after.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml import plots
    >>> figure = plots.ternary_transitions([-1, 0, 0, 1], [-1, 0, 1, 1])
    >>> len(figure.axes[0].texts)
    9
    >>> plt.close(figure)
    """
    before, after = np.ravel(before), np.ravel(after)
    values = (-1, 0, 1)
    counts = [[np.count_nonzero((before == old) & (after == new)) for new in values] for old in values]
    figure, ax = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
    sns.heatmap(counts, annot=True, fmt=",d", cmap="Blues", cbar=False, xticklabels=values, yticklabels=values, ax=ax)
    ax.set(title="number of ternary weights", xlabel="value after training", ylabel="value before training")
    return figure


def position_similarity(similarity, rows, columns):
    """Draw for each position of a raster how similar its vector is to every other's: a grid of maps.

    Args:
        similarity: Cosine similarities `[rows * columns, rows * columns]`, in `[-1, 1]`, positions in raster order.
        rows: Rows of the raster.
        columns: Columns of the raster.

    Returns:
        A `matplotlib.figure.Figure`. The map at place `(r, c)` of the grid has a pixel for each position; that
        of `(r, c)` itself is black, since any vector equals itself.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml import plots
    >>> figure = plots.position_similarity(np.eye(6), rows=2, columns=3)
    >>> figure.axes[0].images[0].get_array().shape
    (7, 13)
    >>> plt.close(figure)
    """
    similarity = np.array(similarity, float)
    np.fill_diagonal(similarity, np.nan)
    largest = np.nanmax(np.abs(similarity)) or 1
    np.fill_diagonal(similarity, 2 * largest)  # above the colour scale
    # One picture of all maps, with a line of empty pixels round each.
    tiles = similarity.reshape(rows, columns, rows, columns)
    picture = np.full((rows * (rows + 1) + 1, columns * (columns + 1) + 1), np.nan)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (rows + 1) + 1, column * (columns + 1) + 1
            picture[top : top + rows, left : left + columns] = tiles[row, column]
    figure, ax = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    cmap = SIGNED.with_extremes(bad="0.6", over="black")
    image = ax.imshow(picture, cmap=cmap, vmin=-largest, vmax=largest, interpolation="nearest")
    ax.set_xticks(np.arange(columns) * (columns + 1) + columns / 2 + 0.5, map(str, range(columns)))
    ax.set_yticks(np.arange(rows) * (rows + 1) + rows / 2 + 0.5, map(str, range(rows)))
    ax.set(xlabel="column of the patch", ylabel="row of the patch")
    ax.grid(False)
    figure.colorbar(image, label="cosine similarity", shrink=0.8)
    return figure


def similarity_by_distance(panels):
    """Draw how similar positions are on average, by how many patches they are apart.

    Args:
        panels: Maps a panel's title to its curves, which map a label to mean similarities at distance 1, 2, ….

    Returns:
        A `matplotlib.figure.Figure` with one axes a panel, on one scale.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml import plots
    >>> figure = plots.similarity_by_distance({"before": {"along a row": [0.3, 0.1], "along a column": [0, 0]}})
    >>> figure.axes[0].lines[1].get_xdata().tolist()
    [1, 2]
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(7.5, 3.3), sharey=True, squeeze=False, layout="constrained")
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        ax.axhline(0, color="black", linewidth=0.8)
        for (label, values), color, marker in zip(curves.items(), (PLUS, MINUS), "os", strict=False):
            ax.plot(np.arange(1, len(values) + 1), values, color=color, marker=marker, linewidth=2, label=label)
        ax.set(title=title, xlabel="patches apart")
    axes[0, 0].set_ylabel("mean cosine similarity")
    axes[0, 0].legend(fontsize="small", loc="upper right")
    return figure
