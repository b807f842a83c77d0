"""Figures for the chapter on training on several devices."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import MaxNLocator

from mml.validation import positive_integer


def data_parallel(devices, images_each=4):
    """Draw a training step on several devices. It splits the batch, copies the weights, and averages the gradients.

    Args:
        devices: Number of devices.
        images_each: Number of images that each device gets.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If `devices` or `images_each` is not a positive integer.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book import figures
    >>> figure = figures.data_parallel(2)
    >>> [text.get_text() for text in figure.axes[0].texts if text.get_text().isdigit()]
    ['0', '1']
    >>> plt.close(figure)
    """
    positive_integer("devices", devices)
    positive_integer("images_each", images_each)
    figure, axes = plt.subplots(figsize=(5.5, 4.2), layout="constrained")
    gap, box, size = 0.25, 1.0, 1.0 / images_each
    step = box + gap
    width = devices * step - gap
    rows = {"the batch": 3.25, "weights": 2.0, "gradient": 1.0, "mean": -0.15}
    colors = plt.get_cmap("viridis")(np.linspace(0.1, 0.9, devices))

    def arrow(start, end):
        axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color="0.4", shrinkA=1, shrinkB=1)
        )

    for device, color in enumerate(colors):
        left, middle = device * step, device * step + box / 2
        batch_left = width / 2 + (device - devices / 2) * box
        for image in range(images_each):
            corner = batch_left + image * size, rows["the batch"]
            axes.add_patch(Rectangle(corner, size, 0.42, facecolor=color, edgecolor="white", linewidth=0.8))
        arrow((batch_left + box / 2, rows["the batch"]), (middle, rows["weights"] + 0.55))
        axes.add_patch(Rectangle((left, rows["weights"]), box, 0.55, facecolor="0.88", edgecolor="0.4"))
        axes.text(middle, rows["weights"] + 0.27, str(device), ha="center", va="center")
        arrow((middle, rows["weights"]), (middle, rows["gradient"] + 0.42))
        axes.add_patch(Rectangle((left, rows["gradient"]), box, 0.42, facecolor=color, edgecolor="none", alpha=0.75))
        arrow((middle, rows["gradient"]), (middle, rows["mean"] + 0.42))
    axes.add_patch(Rectangle((0, rows["mean"]), width, 0.42, facecolor="C1", alpha=0.5, edgecolor="none"))
    axes.text(
        width / 2, rows["mean"] + 0.21, "mean of the gradients, for all devices",
        ha="center", va="center",
    )  # fmt: skip
    for text, y in (("batch,\nsplit", 3.46), ("device:\nall weights", 2.28), ("gradient of\nits share", 1.21)):
        axes.text(-0.2, y, text, ha="right", va="center")
    axes.set(xlim=(-0.32 * width - 0.3, width + 0.05), ylim=(-0.3, 3.8))
    axes.axis("off")
    return figure


def losses_apart(first, second, names):
    """Draw the losses of two runs in one plot, and their differences below.

    Args:
        first: History of a run: a `pandas.DataFrame` with the columns `epoch`, counted from 0, `loss`, and
            `val_loss`.
        second: History of another run, with the same epochs.
        names: Names of the two runs.

    Returns:
        A `matplotlib.figure.Figure` with two axes. Differences of exactly 0 are at the bottom of the second axes. Its
        scale is linear below the rounding error of float32 at 1 and logarithmic above.

    Raises:
        ValueError: If the epochs are not the same.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from mml_book import figures
    >>> one = pd.DataFrame({"epoch": [0, 1], "loss": [2.3, 2.1], "val_loss": [2.3, 2.2]})
    >>> figure = figures.losses_apart(one, one, ("one device", "eight"))
    >>> len(figure.axes)
    2
    >>> plt.close(figure)
    """
    if list(first["epoch"]) != list(second["epoch"]):
        raise ValueError(
            "`first` and `second` must have the same epochs. "
            f"Received: {list(first['epoch'])} and {list(second['epoch'])}"
        )
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(5.5, 5.6), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    epochs = first["epoch"] + 1
    rounding = float(np.finfo("float32").eps)
    for color, (column, images) in zip(("C0", "C1"), (("loss", "training"), ("val_loss", "validation")), strict=True):
        above.plot(epochs, first[column], "-", color=color, linewidth=5, alpha=0.35, label=f"{names[0]}, {images}")
        above.plot(epochs, second[column], "o--", color=color, linewidth=1.5, label=f"{names[1]}, {images}")
        below.plot(epochs, (first[column] - second[column]).abs(), "o-", color=color, label=images)
    below.axhline(rounding, linestyle=":", color="0.3")
    below.annotate(
        "rounding error of float32 at 1", (1, rounding), xycoords=("axes fraction", "data"), xytext=(-4, 3),
        textcoords="offset points", ha="right",
    )  # fmt: skip
    below.set_yscale("symlog", linthresh=rounding)
    below.margins(y=0.1)
    below.set_ylim(bottom=-0.1 * rounding)
    below.set(xlabel="epoch", ylabel="difference")
    above.set(ylabel="loss")
    handles, labels = above.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
