"""Figures for the chapter on packed models: their bytes, their sums, and their predictions."""

import matplotlib.pyplot as plt
import numpy as np

from mml_book.figures.charts import COLORS, HATCHES

MINUS, ZERO, PLUS = COLORS[1], "0.75", COLORS[0]


def packed_byte(weights):
    """Draw how five ternary weights become one byte, a sum of base-three digits times powers of three.

    Args:
        weights: Five integers, each -1, 0, or 1.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If `weights` is anything else.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book.figures import packed_byte
    >>> figure = packed_byte([1, 0, -1, 0, 1])
    >>> figure.axes[0].texts[-1].get_text()
    'byte 194'
    >>> plt.close(figure)
    """
    weights = [int(weight) for weight in weights]
    if len(weights) != 5 or not set(weights) <= {-1, 0, 1}:
        raise ValueError(f"`weights` must be five integers, each -1, 0, or 1. Received: {weights}")
    figure, ax = plt.subplots(figsize=(6.2, 3.4), layout="constrained")
    for row, label in enumerate(("weight", "digit", "factor", "product")):
        ax.text(-0.7, -row, label, ha="right", va="center", fontsize=13)
    terms = [(weight + 1) * 3**place for place, weight in enumerate(weights)]
    for place, weight in enumerate(weights):
        color = {-1: MINUS, 0: ZERO, 1: PLUS}[weight]
        ax.add_patch(plt.Rectangle((place - 0.42, -0.38), 0.84, 0.76, facecolor=color))
        ink = "black" if weight == 0 else "white"
        ax.text(place, 0, f"{weight:+d}".replace("+0", "0").replace("-", "−"), color=ink, ha="center", va="center")
        for row, text in enumerate((f"{weight + 1}", f"× {3**place}", f"{terms[place]}"), start=1):
            ax.text(place, -row, text, ha="center", va="center", fontsize=13)
        if place:
            ax.text(place - 0.5, -3, "+", ha="center", va="center", fontsize=13)
    for drawn in ax.texts:
        drawn.set_fontsize(14)
    ax.text(2, -4.2, f"byte {sum(terms)}", ha="center", va="center", fontsize=16, fontweight="bold")
    ax.set(xlim=(-2, 4.6), ylim=(-4.7, 0.6))
    ax.axis("off")
    return figure


def running_sum(x_quantized, weights):
    """Draw one output of a ternary product as a sum in which each input is added, subtracted, or skipped.

    Args:
        x_quantized: Integers `[features]`.
        weights: Integers `[features]`, each -1, 0, or 1.

    Returns:
        A `matplotlib.figure.Figure` with the inputs above, colored by what happens to them, and the running sum
        below.

    Raises:
        ValueError: If the two differ in length, or if a weight is not -1, 0, or 1.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book.figures import running_sum
    >>> figure = running_sum([5, -3, 2], [1, -1, 0])
    >>> [line.get_ydata()[-1] for line in figure.axes[1].lines][0].item()
    8
    >>> plt.close(figure)
    """
    x_quantized, weights = np.asarray(x_quantized, "int64"), np.asarray(weights, "int64")
    if x_quantized.ndim != 1 or x_quantized.shape != weights.shape or not np.isin(weights, (-1, 0, 1)).all():
        raise ValueError(
            "`x_quantized` and `weights` must have the same length, and weights must be -1, 0, or 1. "
            f"Received: shapes {x_quantized.shape} and {weights.shape}"
        )
    features = np.arange(len(weights))
    sums = np.concatenate([[0], np.cumsum(x_quantized * weights)])
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.2, 5), sharex=True, layout="constrained")
    for weight, label, color in ((1, "added", PLUS), (-1, "subtracted", MINUS), (0, "skipped", ZERO)):
        chosen = weights == weight
        above.bar(features[chosen], x_quantized[chosen], color=color, width=0.85, label=f"{label} ({chosen.sum()})")
    above.set(ylabel="8-bit input")
    above.margins(y=0.1)
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    below.step(np.arange(len(sums)) - 0.5, sums, where="post", color="black")
    below.axhline(0, color="0.5", linewidth=1)
    below.annotate(
        f"{sums[-1]:,}", (len(features) - 0.5, sums[-1]), xytext=(4, 0), textcoords="offset points", va="center"
    )
    below.set(xlabel="feature", ylabel="running sum", xlim=(-1, 1.1 * len(features)))
    return figure


def predictions_beside(images, predictions, class_names, top=3):
    """Draw images next to the probabilities that several models give to their most probable classes.

    Args:
        images: Images `[images, height, width, channels]`, uint8.
        predictions: Maps a model's name to probabilities `[images, classes]`. The figure shows the classes that are
            most probable according to the first model.
        class_names: Names of the classes.
        top: Number of classes to show.

    Returns:
        A `matplotlib.figure.Figure` with two axes per image.

    Raises:
        ValueError: If the numbers of images or classes differ.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import predictions_beside
    >>> probabilities = np.array([[0.2, 0.8]])
    >>> images = np.zeros((1, 8, 8, 3), "uint8")
    >>> figure = predictions_beside(images, {"a": probabilities, "b": probabilities}, ("cat", "dog"))
    >>> [label.get_text() for label in figure.axes[1].get_yticklabels()]
    ['dog', 'cat']
    >>> plt.close(figure)
    """
    predictions = {name: np.asarray(values) for name, values in predictions.items()}
    expected = (len(images), len(class_names))
    for name, values in predictions.items():
        if values.shape != expected:
            raise ValueError(f"`predictions` must have shape {expected}. Received: shape {values.shape} of {name!r}")
    first = next(iter(predictions.values()))
    figure, axes = plt.subplots(
        len(images),
        2,
        figsize=(6.2, 1.5 * len(images) + 0.6),
        width_ratios=(1, 2.6),
        squeeze=False,
        layout="constrained",
    )
    thickness = 0.8 / len(predictions)
    for row, (picture, bars) in enumerate(axes):
        picture.imshow(images[row], cmap="gray", vmin=0, vmax=255)
        picture.axis("off")
        classes = np.argsort(-first[row], kind="stable")[:top]
        for index, ((name, values), color, hatch) in enumerate(
            zip(predictions.items(), COLORS, HATCHES, strict=False)
        ):
            y = np.arange(len(classes)) + (index + 0.5) * thickness - 0.4
            bars.barh(y, values[row, classes], thickness, color=color, hatch=hatch, edgecolor="white", label=name)
        bars.set(
            xlim=(0, 1),
            yticks=range(len(classes)),
            yticklabels=[class_names[index] for index in classes],
            ylim=(len(classes) - 0.5, -0.5),
        )
        bars.grid(axis="y", visible=False)
        bars.tick_params(labelbottom=row == len(images) - 1)
    axes[-1, 1].set_xlabel("probability")
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure
