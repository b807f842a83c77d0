"""Figures for the chapter on history: a run's scores, its mistakes, and how much the seed matters."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import PercentFormatter


def scores_with_errors(scores, chance):
    """Draw scores with error bars of two standard errors, cut off at 0 and 1, and mark the values of a random guess.

    Args:
        scores: A `pandas.DataFrame` with the columns `score` and `standard error`, indexed by name.
        chance: The value of each score for a model that guesses.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import pandas as pd
    >>> from mml_book.figures import scores_with_errors
    >>> scores = pd.DataFrame({"score": [0.3], "standard error": [0.05]}, index=["accuracy"])
    >>> figure = scores_with_errors(scores, chance=[0.1])
    """
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    rows = np.arange(len(scores))
    score, reach = scores["score"], 2 * scores["standard error"]
    bars = np.minimum(reach, [score, 1 - score])  # no score is below 0 or above 1
    axes.errorbar(score, rows, xerr=bars, fmt="o", markersize=9, capsize=5)
    axes.plot(chance, rows, "|", color="0.3", markersize=22, markeredgewidth=2, label="guessing")
    axes.set(yticks=rows, yticklabels=scores.index, xlim=(0, 1.04), ylim=(len(rows) - 0.5, -0.5), xlabel="test score")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside upper right")  # no spot inside is free for all scores
    return figure


def confusion(counts, class_names):
    """Draw a confusion matrix.

    Args:
        counts: Integer array `[classes, classes]`. Rows are the true classes, and columns are the answers.
        class_names: Name of each class.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import numpy as np
    >>> from mml_book.figures import confusion
    >>> figure = confusion(np.array([[3, 1], [0, 4]]), ["cat", "dog"])
    """
    figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    sns.heatmap(
        counts,
        annot=True,
        fmt="d",
        cmap="Blues",
        square=True,
        cbar_kws={"label": "images", "shrink": 0.8},
        xticklabels=class_names,
        yticklabels=class_names,
        ax=axes,
    )
    axes.set(xlabel="model's answer", ylabel="true class")
    axes.tick_params(axis="x", rotation=45)
    return figure


def labeled_images(images, titles):
    """Draw images in rows of four, each with a title.

    Args:
        images: Array `[images, height, width, channels]`, uint8.
        titles: A string for each image.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is no image.

    Example:

    >>> import numpy as np
    >>> from mml_book.figures import labeled_images
    >>> figure = labeled_images(np.zeros((3, 32, 32, 3), "uint8"), ["cat", "dog", "ship"])
    """
    if not len(images):
        raise ValueError("`images` must hold at least one image. Received: none")
    rows = -(-len(images) // 4)
    figure, grid = plt.subplots(rows, 4, figsize=(7, 2.2 * rows), layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, title in zip(grid.flat, images, titles, strict=False):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(title, fontsize=10)
    return figure


def seed_scores(seeds):
    """Draw the accuracies of runs with several seeds, with one row per number of test images.

    The bar behind the dots reaches two standard errors of a sample of that size to either side of the mean.

    Args:
        seeds: A `pandas.DataFrame` with the columns `accuracy` and `test_images`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import pandas as pd
    >>> from mml_book.figures import seed_scores
    >>> figure = seed_scores(pd.DataFrame({"accuracy": [0.25, 0.35], "test_images": [100, 100]}))
    """
    groups = seeds.groupby("test_images")["accuracy"]
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    axes.use_sticky_edges = False  # so that the widest bar ends inside the axes
    for row, (images, accuracy) in enumerate(groups):
        mean = accuracy.mean()
        error = np.sqrt(mean * (1 - mean) / images)
        axes.barh(row, 4 * error, left=mean - 2 * error, height=0.6, color="C0", alpha=0.2)
        axes.plot(accuracy, np.full(len(accuracy), row), "o", color="C0", markersize=9, alpha=0.7)
        axes.plot([mean, mean], [row - 0.3, row + 0.3], color="C0")
    labels = [f"{images:,} test images" for images in groups.groups]
    axes.set(
        yticks=range(len(labels)),
        yticklabels=labels,
        ylim=(len(labels) - 0.4, -0.6),
        xlabel="accuracy, one dot per seed",
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    return figure
