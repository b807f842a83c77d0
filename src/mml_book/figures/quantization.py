"""Figures for the chapter on patch embeddings: rounded weights and inputs, and how rounded weights are trained."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from mml_book.figures.charts import COLORS

# Colors that color-blind readers can distinguish: minus is orange, plus is blue, and zero is gray.
MINUS, ZERO, PLUS = "#D55E00", "#BDBDBD", "#0072B2"


def ternary_histogram(w, w_ternary, scale):
    """Draw how often each value occurs in a weight matrix, before and after it is rounded to -1, 0, and 1.

    Args:
        w: Latent float weights, any shape.
        w_ternary: The weights rounded to -1, 0, and 1, in the same shape.
        scale: The scale of the weights. `w` is about `w_ternary * scale`.

    Returns:
        A `matplotlib.figure.Figure` with two axes, before above after. The color of a bar in the first axes shows
        which value its weights become.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> from mml.ops import absmean_ternarize
    >>> w = np.linspace(-1, 1, 101, dtype="float32")
    >>> figure = figures.ternary_histogram(w, *absmean_ternarize(w))
    >>> [axes.get_title() for axes in figure.axes]
    ['before: latent weights', 'after: ternary weights']
    >>> plt.close(figure)
    """
    w, w_ternary, scale = np.ravel(w), np.ravel(w_ternary), float(scale)
    figure, (before, after) = plt.subplots(2, 1, figsize=(5.5, 6), height_ratios=(3, 2), layout="constrained")
    # The thresholds between values, at half the scale, are edges of bins, so that no bar needs two colors.
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
    before.margins(y=0.25)  # room for the legend
    before.legend(loc="upper center", ncols=3, columnspacing=1, handlelength=1, framealpha=1)

    counts = [np.count_nonzero(w_ternary == value) for value in values]
    bars = after.bar(range(3), counts, color=(MINUS, ZERO, PLUS))
    after.bar_label(bars, [f"{count / w.size:.0%}" for count in counts])
    after.set_xticks(range(3), values)
    after.set(title="after: ternary weights", xlabel="weight, in units of the scale", ylabel="number of weights")
    after.margins(y=0.12)
    return figure


def rounding_errors(named):
    """Draw the rounding error of each value, for several kinds of rounding on the same scale.

    Args:
        named: Maps a title to a pair of arrays of the same shape: exact values and rounded values.

    Returns:
        A `matplotlib.figure.Figure` with one axes per pair. Values and errors are relative to the largest exact
        value of the pair.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> x = np.linspace(-1, 1, 101)
    >>> figure = figures.rounding_errors({"to integers": (x, np.round(x)), "to halves": (x, np.round(2 * x) / 2)})
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(
        len(named), 1, figsize=(5.2, 2.6 * len(named)), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (title, (exact, rounded)) in zip(axes[:, 0], named.items(), strict=True):
        exact, rounded = np.ravel(exact), np.ravel(rounded)
        largest = np.max(np.abs(exact))
        ax.plot(exact / largest, (rounded - exact) / largest, ".", markersize=2, color=PLUS, rasterized=True)
        ax.set(title=title, ylabel="error / largest value", xticks=(-1, -0.5, 0, 0.5, 1))
    axes[-1, 0].set_xlabel("exact value / largest")
    return figure


def ternary_wiring(w_ternary):
    """Draw a ternary matrix as wires that show which inputs each output adds and which it subtracts.

    Args:
        w_ternary: Matrix `[inputs, outputs]` of -1, 0, and 1.

    Returns:
        A `matplotlib.figure.Figure` with inputs on the left and outputs on the right. A wire is solid blue where an
        input is added, and dashed orange where it is subtracted. There is no wire where the weight is 0.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.ternary_wiring([[1, -1], [0, 1], [1, 0]])
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
    """Draw a rounding function, its gradient, and the gradient that training uses instead.

    Args:
        x: Inputs in ascending order, `[points]`.
        rounded: The function's values, `[points]`.
        true_gradient: Its gradient, `[points]`.
        pretended_gradient: The gradient of the straight-through estimator, `[points]`.

    Returns:
        A `matplotlib.figure.Figure` with two axes: the function above, and the gradients below.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> x = np.linspace(-2, 2, 9)
    >>> figure = figures.straight_through(x, np.round(x), np.zeros(9), np.ones(9))
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(6, 4.4), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    top.plot(x, x, linestyle="--", color=PLUS, label="pretended, for the gradient only")
    # Draw each jump as a gap, because a line would show a slope that the function does not have.
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
    """Draw the loss of several ways to train rounded weights, and the latent weights of the way that learns.

    Args:
        losses: Maps a label to the losses `[steps]` of one way to train.
        latents: Latent weights after each step, `[steps, weights]`, in units of the scale.

    Returns:
        A `matplotlib.figure.Figure` with two axes. In the second, dashed lines mark the thresholds at which a
        rounded weight changes.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book import figures
    >>> figure = figures.latent_descent({"stuck": [1, 1], "learns": [1, 0]}, np.array([[0.2, -0.3], [0.6, -0.3]]))
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(5.2, 5.6), sharex=True, layout="constrained")
    for (label, values), color, style in zip(losses.items(), (MINUS, PLUS, "black"), ("--", "-", ":"), strict=False):
        above.plot(values, color=color, linestyle=style, linewidth=2, label=label)
    above.set(title="loss", ylabel="mean squared error")
    above.legend()
    for weight, dashes, color in zip(np.asarray(latents).T, ("-", "-.", ":", (0, (5, 1))), COLORS, strict=False):
        below.plot(weight, linestyle=dashes, linewidth=2, color=color)
    below.axhspan(-0.5, 0.5, color="black", alpha=0.07)  # rounded to 0
    for border in (-0.5, 0.5):
        below.axhline(border, color="black", linestyle="--", linewidth=1)
    for height, name in ((0.9, "rounded to 1"), (0, "rounded to 0"), (-0.9, "rounded to −1")):
        below.text(0.98, height, name, transform=below.get_yaxis_transform(), ha="right", va="center")
    below.set(title="latent weights, in units of the scale", xlabel="step", ylim=(-1.3, 1.3))
    return figure


def ternary_transitions(before, after):
    """Draw how many ternary weights changed from each value to each other value.

    Args:
        before: Weights of -1, 0, and 1, any shape.
        after: The same weights later, in the same shape.

    Returns:
        A `matplotlib.figure.Figure` with a table of counts. Rows are values before, and columns are values after.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.ternary_transitions([-1, 0, 0, 1], [-1, 0, 1, 1])
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
