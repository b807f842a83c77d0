"""Figures for the chapter on training: step times, the epoch that is kept, and the size of a checkpoint."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import MaxNLocator


def step_times(steps):
    """Draw how long each training step took on a logarithmic axis, with one line per way of running.

    Args:
        steps: A `pandas.DataFrame` with a column `step`, counted from 1, and a column of seconds for each way of
            running.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import pandas as pd
    >>> from mml_book.figures import step_times
    >>> figure = step_times(pd.DataFrame({"step": [1, 2], "compiled": [3.0, 0.1]}))
    """
    long = steps.melt("step", var_name="", value_name="seconds")
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    sns.lineplot(long, x="step", y="seconds", hue="", style="", markers=True, dashes=False, markersize=9, ax=axes)
    axes.set(yscale="log", xlabel="training step", ylabel="seconds (logarithmic)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def best_epoch(history):
    """Draw validation accuracy after each epoch and mark the epoch whose weights are kept.

    Args:
        history: A `pandas.DataFrame` with the columns `epoch`, counted from 0, and `val_acc`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import pandas as pd
    >>> from mml_book.figures import best_epoch
    >>> figure = best_epoch(pd.DataFrame({"epoch": [0, 1, 2], "val_acc": [0.2, 0.4, 0.3]}))
    """
    best = history.loc[history["val_acc"].idxmax()]  # the first if several are equal, as in the checkpoint
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    sns.lineplot(x=history["epoch"] + 1, y=history["val_acc"], marker="o", ax=axes)
    axes.axvline(best["epoch"] + 1, linestyle="--", color="0.5", zorder=0)
    axes.plot(best["epoch"] + 1, best["val_acc"], "o", markersize=14, color="C1", zorder=3)
    axes.annotate(
        "kept", (best["epoch"] + 1, best["val_acc"]), xytext=(10, -24), textcoords="offset points", color="C1"
    )
    axes.set(xlabel="epoch", ylabel="validation accuracy")
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def checkpoint_sizes(sizes):
    """Draw how many bytes each part of a checkpoint takes, on a logarithmic axis.

    Args:
        sizes: A `pandas.Series` of bytes, indexed by name.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import pandas as pd
    >>> from mml_book.figures import checkpoint_sizes
    >>> figure = checkpoint_sizes(pd.Series({"weights": 4_000_000, "random states": 160}))
    """
    figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
    sns.barplot(x=sizes.to_numpy(), y=sizes.index, orient="h", color="C0", ax=axes)
    axes.set(xscale="log", xlabel="bytes (logarithmic)", ylabel="", xlim=(10, sizes.max() * 30))
    axes.bar_label(axes.containers[0], [_with_unit(size) for size in sizes], padding=4)  # type: ignore[arg-type]
    return figure


def _with_unit(size):
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"
