"""The files that a run writes at the end of an epoch, and how they are read back."""

import csv
import os
from pathlib import Path
from typing import Any

import keras

from mml.files import move_into_place, partial_name, replacing
from mml.training.devices import undistributed


class Checkpoint(keras.callbacks.ModelCheckpoint):
    """Keras's `ModelCheckpoint` of weights, optimizer, and random state, with a file that is always complete.

    At the end of an epoch, it writes to `partial.….weights.h5` and then moves that file into place (see
    `mml.files.move_into_place`). So a killed process leaves the file of an earlier epoch. It may also leave a partial
    file, which is removed at the end of the next epoch.

    Args:
        path: The file, `….weights.h5`.
        **kwargs: As for `ModelCheckpoint`, except for `save_weights_only` and `save_freq`.

    Example:

    >>> from mml.training import Checkpoint
    >>> best = Checkpoint("best.weights.h5", monitor="val_acc", mode="max", save_best_only=True)
    """

    def __init__(self, path: str | os.PathLike, **kwargs: Any):
        self.path, self.partial = Path(path), partial_name(path)
        literal = str(self.partial).replace("{", "{{").replace("}", "}}")  # Keras would fill in the braces
        super().__init__(literal, save_weights_only=True, save_freq="epoch", **kwargs)

    def on_epoch_end(self, epoch, logs=None):
        self.partial.unlink(missing_ok=True)
        with undistributed():
            super().on_epoch_end(epoch, logs)
        if self.partial.exists():
            move_into_place(self.partial, self.path)


def restore(model: keras.Model, path: str | os.PathLike) -> int:
    """Load what a `Checkpoint` saved: weights, optimizer, and random state.

    Args:
        model: The compiled model.
        path: The file.

    Returns:
        The number of steps that the optimizer has taken.

    Raises:
        ValueError: If the file is missing or damaged, or belongs to a different model.

    Example:

    >>> import tempfile
    >>> import keras, numpy as np
    >>> from mml.training import compile_model
    >>> from mml.training.checkpoints import restore
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    >>> compile_model(model)
    >>> metrics = model.train_on_batch(np.ones((2, 4)), np.zeros(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save_weights(f"{folder}/latest.weights.h5")
    ...     restore(model, f"{folder}/latest.weights.h5")
    1
    """
    model.optimizer.build(model.trainable_variables)
    try:
        with undistributed():
            model.load_weights(path)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise _damaged(Path(path), error) from error
    return int(model.optimizer.iterations)


class HistoryFile(keras.callbacks.Callback):
    """Callback that writes the metrics of all epochs so far to a CSV file, one row per epoch.

    Unlike Keras's `CSVLogger`, it replaces the file at each epoch, so that the file is complete and on disk (see
    `mml.files.replacing`). Without validation images, there are no columns for them.

    Args:
        path: The file.
        records: The rows of the previous epochs, from `read_history`; empty for a new run.

    Example:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from mml.training.checkpoints import HistoryFile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     HistoryFile(f"{folder}/history.csv", []).on_epoch_end(0, {"loss": 2.5, "acc": 0.1})
    ...     Path(f"{folder}/history.csv").read_text().split()
    ['epoch,acc,loss', '0,0.1,2.5']
    """

    def __init__(self, path: str | os.PathLike, records: list[dict[str, float]]):
        super().__init__()
        self.path, self.records = Path(path), list(records)

    def on_epoch_end(self, epoch, logs=None):
        self.records.append({"epoch": epoch, **dict(sorted(logs.items()))})
        with replacing(self.path) as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, self.records[0])
            writer.writeheader()
            writer.writerows(self.records)


def read_history(path: str | os.PathLike, epochs: int) -> list[dict[str, float]]:
    """Read the first rows of a `HistoryFile`, exactly as they were written.

    A later row belongs to an epoch that was interrupted before its weights were saved.

    Args:
        path: The file.
        epochs: Number of rows. With 0, there need not be a file.

    Returns:
        A list with a dictionary per epoch: floats by the names of the metrics, and the integer `epoch`.

    Raises:
        ValueError: If the file is missing or damaged.

    Example:

    >>> import tempfile
    >>> from mml.training.checkpoints import HistoryFile, read_history
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     HistoryFile(f"{folder}/history.csv", []).on_epoch_end(0, {"loss": 2.5, "acc": 0.1})
    ...     read_history(f"{folder}/history.csv", 1)
    [{'epoch': 0, 'acc': 0.1, 'loss': 2.5}]
    """
    if not epochs:
        return []
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))[:epochs]
        records = [{name: float(value) for name, value in row.items()} | {"epoch": int(row["epoch"])} for row in rows]
        found = [record["epoch"] for record in records]
        if found != list(range(epochs)):
            raise ValueError(f"it must have a row for each of {epochs} epochs, in order, but has rows for {found}")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(Path(path), error) from error
    return records


def _damaged(path, error):
    return ValueError(
        f"{path} is missing, damaged, or from another model: {type(error).__name__}: {error}. "
        f"Delete the folder {path.parent} to start over."
    )
