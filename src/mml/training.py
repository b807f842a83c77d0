"""A training run that lives in a folder: trained once, resumed after an interruption, loaded when complete."""

import csv
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import keras
import numpy as np
import pandas as pd

from mml.data import ImageDataset
from mml.files import replacing
from mml.models import VisionTransformerConfig, vision_transformer
from mml.validation import positive_integer

VALIDATION_BATCH_SIZE = 256  # has no influence on the result; a batch of another size is compiled anew


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What determines a training run, beside the data; the defaults are the book's recipe.

    Args:
        model: The model's `VisionTransformerConfig`.
        epochs: Passes over the training images.
        batch_size: Images in a step.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decay of the weights, for each step and unit of learning rate.
        validation_split: Share of the training images, taken from their end, that is kept for validation.
        seed: Seed of initial weights, shuffling, augmentation and dropout; an integer of at least 0.

    Raises:
        ValueError: If a value is out of its range.

    Example:

    >>> from mml.training import TrainingConfig
    >>> TrainingConfig(epochs=20).learning_rate
    0.001

    Reference:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, arXiv:1711.05101, algorithm 2.
    """

    model: VisionTransformerConfig = VisionTransformerConfig()
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    validation_split: float = 0.1
    seed: int = 42

    def __post_init__(self):
        positive_integer("epochs", self.epochs)
        positive_integer("batch_size", self.batch_size)
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be positive. Received: learning_rate={self.learning_rate!r}")
        if not self.weight_decay >= 0:
            raise ValueError(f"`weight_decay` must not be negative. Received: weight_decay={self.weight_decay!r}")
        if not 0 < self.validation_split < 1:
            raise ValueError(
                f"`validation_split` must be between 0 and 1. Received: validation_split={self.validation_split!r}"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"`seed` must be an integer of at least 0. Received: seed={self.seed!r}")


@dataclasses.dataclass(frozen=True)
class Run:
    """A complete training run.

    Args:
        model: The compiled model, with the weights of the epoch that validated best.
        history: A `pandas.DataFrame`, a row an epoch: `epoch` from 0, then loss, accuracy and top-5 accuracy on
            training images (`loss`, `acc`, `top_5_acc`) and on validation images (`val_loss`, …).
        path: The folder that holds it.

    Example:

    >>> from pathlib import Path
    >>> import keras, pandas as pd
    >>> from mml.training import Run
    >>> run = Run(keras.Sequential(), pd.DataFrame({"epoch": [0, 1], "val_acc": [0.2, 0.3]}), Path("runs"))
    >>> float(run.history["val_acc"].max())
    0.3
    """

    model: keras.Model
    history: pd.DataFrame
    path: Path


class ShuffledBatches(keras.utils.PyDataset):
    """Batches in an order that follows from seed and epoch alone, so that a resumed run sees the same ones.

    A batch of another size would be compiled anew, which takes longer than many steps. So the last one of an
    epoch is filled up with images of weight 0, see `compile_model`.

    Args:
        x: Images, `[images, ...]`.
        y: Labels, `[images, ...]`.
        batch_size: Images in a batch. With fewer images than that, all of them are one batch.
        seed: Integer of at least 0.

    Returns:
        For each index, a triple of images, labels and float32 weights `[batch]`: 1, or 0 for what fills up.

    Example:

    >>> import numpy as np
    >>> from mml.training import ShuffledBatches
    >>> batches = ShuffledBatches(np.arange(5), np.arange(5), batch_size=2, seed=0)
    >>> batches.shuffle(epoch=3)
    >>> sorted(np.concatenate([x[weights > 0] for x, y, weights in batches]).tolist())
    [0, 1, 2, 3, 4]
    >>> batches[2][2].tolist()
    [1.0, 0.0]
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, batch_size: int, seed: int):
        super().__init__()
        self.x, self.y, self.batch_size, self.seed = x, y, batch_size, seed
        self.shuffle(epoch=0)

    def shuffle(self, epoch: int) -> None:
        """Put the images in the order of an epoch.

        Args:
            epoch: Which one, counted from 0.
        """
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.x))

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        size = min(self.batch_size, len(self.x))
        filled = np.resize(chosen, size)  # from their start again
        return self.x[filled], self.y[filled], (np.arange(size) < len(chosen)).astype("float32")


class _LossPerImage(keras.callbacks.Callback):
    """Weigh the last batch's loss by its images; Keras weighs it as if none of them only filled it up."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.mean_of_full = 0.0  # of the batches before the last one

    def on_train_batch_end(self, batch, logs=None):
        if batch == len(self.batches) - 2:
            self.mean_of_full = float(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        full, images = len(self.batches) - 1, len(self.batches.x)
        images_in_full = full * self.batches.batch_size
        last = (full + 1) * logs["loss"] - full * self.mean_of_full
        logs["loss"] = (images_in_full * self.mean_of_full + (images - images_in_full) * last) / images


class Checkpoint(keras.callbacks.ModelCheckpoint):
    """Keras's `ModelCheckpoint` of weights, optimizer and random state, moved into place when it is complete.

    Args:
        path: The file, `….weights.h5`.
        **kwargs: As for `ModelCheckpoint`.

    Example:

    >>> from mml.training import Checkpoint
    >>> best = Checkpoint("best.weights.h5", monitor="val_acc", mode="max", save_best_only=True)
    """

    def __init__(self, path: str | os.PathLike, **kwargs: Any):
        self.path = Path(path)
        partial = self.path.with_name(f"partial.{self.path.name}")
        super().__init__(str(partial), save_weights_only=True, **kwargs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if os.path.exists(self.filepath):
            os.replace(self.filepath, self.path)


def compile_model(model: keras.Model, config: TrainingConfig = TrainingConfig()) -> None:
    """Compile a classifier with the book's optimizer, loss and metrics.

    Loss and metrics are means over the images, by their weights where there are any.

    Args:
        model: A Keras model that gives logits.
        config: A `TrainingConfig`.

    Example:

    >>> import keras
    >>> from mml.training import compile_model
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    >>> compile_model(model)
    >>> type(model.optimizer).__name__
    'AdamW'
    """
    model.compile(
        optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight"),
        weighted_metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="acc"),
            keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5_acc"),
        ],
    )


def train(
    data: ImageDataset,
    config: TrainingConfig = TrainingConfig(),
    directory: str | os.PathLike = "runs",
    verbose: str | int = "auto",
    build: Callable[..., keras.Model] = vision_transformer,
) -> Run:
    """Train a vision transformer, go on with an interrupted run, or load a complete one.

    A run has a folder of its own in `directory`, named by its configuration, with a digest of that and of the
    data. It holds:

    - `config.json`: the configuration and what data it was;
    - `history.csv`: a row an epoch;
    - `best.weights.h5`: weights, optimizer and random state of the epoch with the best validation accuracy;
    - `latest.weights.h5`: the same of the last epoch that is complete. The number of steps that the optimizer
      has made says which one that is, so that this single file, moved into place in one step, is all that a
      run starts again from. (Keras's `BackupAndRestore` writes weights and epoch to two files, one after the
      other; a process killed in between would train an epoch twice.)

    Killed at any moment and called again, it ends with the same weights and history, bit for bit on a CPU, as
    if it had not been killed. Two processes that ask for the same run do not disturb each other: one waits and
    then loads what the other trained.

    Args:
        data: An `mml.data.ImageDataset`, or any object with such `x_train`, `y_train`, `class_names` and `source`.
        config: A `TrainingConfig`.
        directory: Folder for the folders of runs.
        verbose: As for `keras.Model.fit`.
        build: Function `build(config.model, images=...)` that gives the model; `mml.models` has others.

    Returns:
        A `Run`.

    Raises:
        ValueError: If the data do not fit the configuration, or if a file of the run is damaged.

    Example:

    >>> import tempfile
    >>> from mml.data import load_cifar10
    >>> from mml.models import VisionTransformerConfig
    >>> from mml.training import TrainingConfig, train
    >>> data = load_cifar10(0.001, source="digits")
    >>> tiny = VisionTransformerConfig(
    ...     image_size=16, patch_size=8, projection_dim=8, transformer_layers=1, head_units=(8,)
    ... )
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     run = train(data, TrainingConfig(tiny, epochs=1), directory, verbose=0)
    >>> list(run.history.columns)
    ['epoch', 'acc', 'loss', 'top_5_acc', 'val_acc', 'val_loss', 'val_top_5_acc']
    """
    n_train = _check(data, config)
    description = _description(data, config, build)
    path = Path(directory) / _name(config, description)
    path.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path / "lock"):
        with replacing(path / "config.json") as partial:
            partial.write_text(json.dumps(description, indent=2) + "\n")
        keras.utils.set_random_seed(config.seed)
        # The seed's order: normalise by all training images, then keep the last of them for validation.
        model = build(config.model, images=data.x_train)
        compile_model(model, config)
        batches = ShuffledBatches(data.x_train[:n_train], data.y_train[:n_train], config.batch_size, config.seed)
        epochs_done = _restore(model, path / "latest.weights.h5") // len(batches)
        history = _read_history(path / "history.csv", epochs_done)
        if epochs_done < config.epochs:
            model.fit(
                batches,
                epochs=config.epochs,
                initial_epoch=epochs_done,
                validation_data=(data.x_train[n_train:], data.y_train[n_train:]),
                validation_batch_size=VALIDATION_BATCH_SIZE,
                shuffle=False,  # of the batches, by a generator whose state is not saved; they shuffle the images
                verbose=verbose,
                # `latest` comes last: once it is there, so is the rest of its epoch.
                callbacks=[
                    keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.shuffle(epoch)),
                    _LossPerImage(batches),
                    Checkpoint(
                        path / "best.weights.h5",
                        monitor="val_acc",
                        mode="max",
                        save_best_only=True,
                        initial_value_threshold=history["val_acc"].max() if epochs_done else None,
                    ),
                    keras.callbacks.CSVLogger(path / "history.csv", append=True),
                    Checkpoint(path / "latest.weights.h5"),
                ],
            )
            history = _read_history(path / "history.csv", config.epochs)
        _restore(model, path / "best.weights.h5")
    return Run(model, history, path)


def _check(data, config):
    """Return the number of images that are trained on."""
    shape, classes = tuple(data.x_train.shape[1:]), len(data.class_names)
    if shape != tuple(config.model.input_shape) or classes != config.model.num_classes:
        raise ValueError(
            f"`data` must hold images of shape {config.model.input_shape} in {config.model.num_classes} classes, as "
            f"`config.model` says. Received: images of shape {shape} in {classes} classes"
        )
    n_train = int(len(data.x_train) * (1 - config.validation_split))
    if not 0 < n_train < len(data.x_train):
        raise ValueError(
            "`validation_split` must leave images on both sides. "
            f"Received: validation_split={config.validation_split} of {len(data.x_train)} images"
        )
    return n_train


def _description(data, config, build):
    digest = hashlib.sha256(data.x_train.tobytes())
    digest.update(data.y_train.tobytes())
    return {
        **dataclasses.asdict(config),
        "build": build.__name__,
        "data": data.source,
        "data_sha256": digest.hexdigest(),
    }


def _name(config, description):
    model = config.model
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return (
        f"vit-i{model.image_size}-p{model.patch_size}-d{model.projection_dim}-l{model.transformer_layers}"
        f"-e{config.epochs}-b{config.batch_size}-s{config.seed}-{digest[:8]}"
    )


def _restore(model, path):
    """Load weights, optimizer and random state where the file is there; return the optimizer's steps."""
    if path.exists():
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(path)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}. Delete the folder {path.parent} to train anew.") from error
    return int(model.optimizer.iterations)


def _read_history(path, epochs):
    """Read the rows of complete epochs; drop a row whose epoch was cut off before its weights were saved."""
    if not epochs:
        path.unlink(missing_ok=True)
        return pd.DataFrame()
    lines = path.read_text().splitlines(keepends=True)[: epochs + 1]
    with replacing(path) as partial:
        partial.write_text("".join(lines))
    # Python reads back the very float that it wrote; pandas does so in some versions only.
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    return pd.DataFrame(rows).astype({"epoch": int})
