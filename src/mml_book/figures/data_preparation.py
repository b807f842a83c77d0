"""Figures for the chapter on data preparation: the split, the classes, and the channels before and after scaling."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from mml.data import CIFAR10_TEST, CIFAR10_TRAIN


def split_areas(n_train, n_test):
    """Draw how much of CIFAR-10 is used, as areas proportional to the numbers of images.

    Args:
        n_train: Number of training images used, out of 50,000.
        n_test: Number of test images used, out of 10,000.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If a number of images is not positive, or exceeds the number that CIFAR-10 has.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> from mml_book.figures import split_areas
    >>> figure = split_areas(500, 100)
    >>> plt.close(figure)
    """
    for name, used, whole in (("n_train", n_train, CIFAR10_TRAIN), ("n_test", n_test, CIFAR10_TEST)):
        if not 0 < used <= whole:
            raise ValueError(f"`{name}` must be above 0 and at most {whole:,}. Received: {name}={used}")

    blue = sns.color_palette("colorblind")[0]
    figure, axis = plt.subplots(figsize=(6, 3.8))
    left = 0
    for name, used, whole in (("training", n_train, CIFAR10_TRAIN), ("test", n_test, CIFAR10_TEST)):
        edge, used_edge = whole**0.5, used**0.5
        axis.add_patch(plt.Rectangle((left, 0), edge, edge, facecolor="0.85"))
        axis.add_patch(plt.Rectangle((left, 0), used_edge, used_edge, facecolor=blue))
        axis.text(left, edge + 8, f"{whole:,} {name} images", va="bottom", fontsize=13)
        axis.text(left, -8, f"{used:,} used", va="top", color=blue, fontweight="bold", fontsize=13)
        left += edge + 60
    axis.set(xlim=(0, left + 20), ylim=(-40, CIFAR10_TRAIN**0.5 + 40), aspect="equal")
    axis.axis("off")
    return figure


def class_counts(labels, class_names):
    """Draw how many images each class has, and the range to expect if all classes are equally likely.

    The gray band reaches two standard deviations of a binomial count to either side of the even share. By chance,
    about one bar in twenty ends outside the band.

    Args:
        labels: Labels `[images, 1]`, integers that are indices into `class_names`.
        class_names: Names of the classes.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If a label has no name.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import class_counts
    >>> figure = class_counts(np.array([[0], [1], [1]]), ("cat", "dog"))
    >>> plt.close(figure)
    """
    classes = len(class_names)
    if np.min(labels) < 0 or np.max(labels) >= classes:
        raise ValueError(
            f"`labels` must hold integers from 0 to {classes - 1}. Received: {np.min(labels)} to {np.max(labels)}"
        )

    figure, axis = plt.subplots(figsize=(6, 4.2), layout="constrained")
    counts = np.bincount(np.ravel(labels), minlength=classes)
    even = counts.sum() / classes
    deviation = np.sqrt(even * (1 - 1 / classes))
    sns.barplot(x=counts, y=list(class_names), orient="h", color=sns.color_palette("colorblind")[0], ax=axis)
    low, high = max(even - 2 * deviation, 0), even + 2 * deviation
    axis.axvspan(low, high, color="0.3", alpha=0.3, linewidth=0, label="chance")
    axis.axvline(even, color="0.2", linestyle="--", label="even share")
    axis.tick_params(labelsize=13)
    axis.set_xlabel("training images", fontsize=13)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=13)
    return figure


def channel_histograms(images, mean, std):
    """Draw the distribution of each color channel, before and after normalization.

    Args:
        images: Images `[images, height, width, 3]`, uint8.
        mean: Mean of each channel, `[3]`.
        std: Standard deviation of each channel, `[3]`.

    Returns:
        A `matplotlib.figure.Figure`: on the left the values 0 to 255, on the right `(value - mean) / std`.

    Raises:
        ValueError: If the images are not uint8 with three channels.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import channel_histograms
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), "uint8")
    >>> figure = channel_histograms(images, images.mean((0, 1, 2)), images.std((0, 1, 2)))
    >>> plt.close(figure)
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"`images` must be uint8 of the shape [images, height, width, 3]. Received: {images.dtype} {images.shape}"
        )
    palette = sns.color_palette("colorblind")
    levels = np.arange(256)
    figure, axes = plt.subplots(1, 2, figsize=(6.5, 3.6), sharey=True, layout="constrained")
    # Each line is thinner than the one before it, so that lines of equal channels remain visible inside each other.
    for channel, (name, color, width) in enumerate(
        zip(("red", "green", "blue"), (palette[3], palette[2], palette[0]), (6, 3.5, 1.5), strict=True)
    ):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        for axis, x in zip(axes, (levels, (levels - mean[channel]) / std[channel]), strict=True):
            sns.histplot(
                x=x,
                weights=counts / counts.sum(),
                bins=32,
                element="step",
                fill=False,
                color=color,
                linewidth=width,
                label=name,
                ax=axis,
            )
    for axis, title, label in zip(axes, ("Before", "After"), ("value", "standard deviations"), strict=True):
        axis.tick_params(labelsize=12)
        axis.set_title(title, fontsize=14)
        axis.set_xlabel(label, fontsize=13)
        axis.set_ylabel("share of the pixels", fontsize=13)
    axes[0].set(ylim=(0, None), xticks=(0, 64, 128, 192, 255))
    axes[1].axvline(0, color="0.2", linestyle="--", linewidth=1)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=13)
    return figure
