"""A training run that lives in a folder: trained once, resumed after an interruption, loaded when complete."""

import contextlib
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

VALIDATION_BATCH_SIZE = 256  # has no influence on the result, beside rounding


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

    A batch of another size would be compiled anew, which takes longer than many steps, and could not be cut into
    equal shares for several devices. So the last one of an epoch is filled up with images of weight 0, see
    `compile_model`.

    Args:
        x: Images, `[images, ...]`.
        y: Labels, `[images, ...]`.
        batch_size: Images in a batch. With fewer images than that, all of them are one batch.
        seed: Integer of at least 0.
        devices: How many devices share a batch; `batch_size` must be a multiple of it.
        process: Which process this is, counted from 0, where several feed the devices.
        processes: How many there are; each gives its own share of each batch.

    Returns:
        For each index, a triple of images, labels and float32 weights `[batch / processes]`: 1, or 0 for what
        fills up.

    Raises:
        ValueError: If the devices cannot share a batch equally, or the processes the devices.

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

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        seed: int,
        devices: int = 1,
        process: int = 0,
        processes: int = 1,
    ):
        super().__init__()
        if batch_size % devices:
            raise ValueError(
                f"`batch_size` must be a multiple of the {devices} devices that share a batch. "
                f"Received: batch_size={batch_size}"
            )
        if devices % processes:
            raise ValueError(
                f"`devices` must be a multiple of the {processes} processes. Received: devices={devices}"
            )
        self.x, self.y, self.batch_size, self.seed = x, y, batch_size, seed
        self.devices, self.process, self.processes = devices, process, processes
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
        size = min(self.batch_size, _next_multiple(len(self.x), self.devices))
        filled = np.resize(chosen, size)  # from their start again
        weights = (np.arange(size) < len(chosen)).astype("float32")
        share = size // self.processes
        own = slice(self.process * share, (self.process + 1) * share)
        return self.x[filled[own]], self.y[filled[own]], weights[own]


class _LossPerImage(keras.callbacks.Callback):
    """Weigh the last batch's loss by its images; Keras weighs it as if none of them only filled it up."""

    def __init__(self, training, validation):
        super().__init__()
        self.batches = {"loss": training, "val_loss": validation}

    def on_epoch_begin(self, epoch, logs=None):
        self.mean_of_full = {"loss": 0.0, "val_loss": 0.0}  # of the batches before the last one

    def on_train_batch_end(self, batch, logs=None):
        self._keep("loss", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._keep("val_loss", batch, logs)

    def _keep(self, name, batch, logs):
        if batch == len(self.batches[name]) - 2:
            self.mean_of_full[name] = float(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        for name, batches in self.batches.items():
            full, images, mean_of_full = len(batches) - 1, len(batches.x), self.mean_of_full[name]
            images_in_full = full * batches.batch_size
            last = (full + 1) * logs[name] - full * mean_of_full
            logs[name] = (images_in_full * mean_of_full + (images - images_in_full) * last) / images


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
        with _undistributed():
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

    On several devices, where `keras.distribution.set_distribution(keras.distribution.DataParallel())` comes first:
    they share each batch, hold the same weights, and make the same steps as one device would, within rounding. So
    their number is not part of the configuration, and an interrupted run may go on with another one. On several
    hosts, `keras.distribution.initialize` comes before that, with `DataParallel(auto_shard_dataset=False)`; every
    process calls `train` with the same data and the same `directory`, which they must share, and the first of
    them writes the files.

    Under another policy than float32, such as `keras.config.set_dtype_policy("mixed_bfloat16")`, a run is another
    run, in a folder of its own.

    Args:
        data: An `mml.data.ImageDataset`, or any object with such `x_train`, `y_train`, `class_names` and `source`.
        config: A `TrainingConfig`.
        directory: Folder for the folders of runs.
        verbose: As for `keras.Model.fit`.
        build: Function `build(config.model, images=...)` that gives the model; `mml.models` has others.

    Returns:
        A `Run`.

    Raises:
        ValueError: If the data do not fit the configuration, if the devices cannot share a batch equally, if the
            distribution or the dtype policy is one that this cannot work with, if the processes of several hosts
            do not see the same folder, or if a file of the run is damaged.

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
    places = _places(keras.distribution.distribution())
    validation_batch_size = _next_multiple(VALIDATION_BATCH_SIZE, places["devices"])
    batches, validation_batches = (
        ShuffledBatches(data.x_train[part], data.y_train[part], batch_size, config.seed, **places)
        for part, batch_size in (
            (slice(n_train), config.batch_size),
            (slice(n_train, None), validation_batch_size),
        )
    )
    description = _description(data, config, build)
    path = Path(directory) / _name(config, description)
    first = places["process"] == 0  # which writes the files
    path.mkdir(parents=True, exist_ok=True)
    latest = path / "latest.weights.h5"
    with filelock.FileLock(path / "lock") if first else contextlib.nullcontext():
        _gather(places, path.name)  # the first holds the lock
        _gather(places, f"{latest.name}, which is {'there' if latest.exists() else 'not there'}")
        if first:
            with replacing(path / "config.json") as partial:
                partial.write_text(json.dumps(description, indent=2) + "\n")
        keras.utils.set_random_seed(config.seed)
        # The seed's order: normalise by all training images, then keep the last of them for validation.
        model = build(config.model, images=data.x_train)
        compile_model(model, config)
        epochs_done = _restore(model, latest) // len(batches)
        _gather(places, f"epoch {epochs_done}")
        if epochs_done < config.epochs:
            callbacks = [
                keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.shuffle(epoch)),
                _LossPerImage(batches, validation_batches),
            ]
            if first:
                history = _cut_history(path / "history.csv", epochs_done)
                # `latest` comes last: once it is there, so is the rest of its epoch.
                callbacks += [
                    Checkpoint(
                        path / "best.weights.h5",
                        monitor="val_acc",
                        mode="max",
                        save_best_only=True,
                        initial_value_threshold=history["val_acc"].max() if epochs_done else None,
                    ),
                    keras.callbacks.CSVLogger(path / "history.csv", append=True),
                    Checkpoint(latest),
                ]
            model.fit(
                batches,
                epochs=config.epochs,
                initial_epoch=epochs_done,
                validation_data=validation_batches,
                shuffle=False,  # of the batches, by a generator whose state is not saved; they shuffle the images
                verbose=verbose if first else 0,
                callbacks=callbacks,
            )
            _gather(places, "the end")  # the first has written all files
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
    policy = keras.config.dtype_policy()
    if policy.compute_dtype == "float16":
        raise ValueError(
            "The dtype policy must not compute in float16: Keras then leaves out steps whose gradients overflow, and "
            f"the steps say which epoch it is. 'mixed_bfloat16' has no such steps. Received: {policy.name!r}"
        )
    return n_train


def _next_multiple(number, of):
    return -(-number // of) * of


def _places(distribution):
    """Where training happens: what `ShuffledBatches` must know of the devices and processes."""
    if distribution is None:
        return {"devices": 1, "process": 0, "processes": 1}
    if not isinstance(distribution, keras.distribution.DataParallel):
        raise ValueError(f"The distribution must be a `DataParallel`, or none. Received: {distribution}")
    import jax  # only where it is the backend

    places = {
        "devices": distribution.device_mesh.devices.size,
        "process": jax.process_index(),
        "processes": jax.process_count(),
    }
    if places["processes"] > 1 and distribution.auto_shard_dataset:
        raise ValueError(
            "With several processes the distribution must leave each its own share of the images: "
            "`DataParallel(auto_shard_dataset=False)`. Received: auto_shard_dataset=True"
        )
    return places


def _gather(places, value):
    """Wait until all processes are here, and make sure that they agree on this value."""
    if places["processes"] == 1:
        return
    from jax.experimental import multihost_utils

    digest = int.from_bytes(hashlib.sha256(str(value).encode()).digest()[:4], "big")
    if len(set(multihost_utils.process_allgather(np.uint32(digest)).tolist())) > 1:
        raise ValueError(
            "All processes must be given the same data and configuration, and one folder that they share. "
            f"Process {places['process']} is at {value}, another one is not"
        )


def _description(data, config, build):
    digest = hashlib.sha256(data.x_train.tobytes())
    digest.update(data.y_train.tobytes())
    description = {
        **dataclasses.asdict(config),
        "build": build.__name__,
        "data": data.source,
        "data_sha256": digest.hexdigest(),
    }
    policy = keras.config.dtype_policy().name
    if policy != "float32":  # not named there, so that runs from before this was asked keep their folders
        description["dtype_policy"] = policy
    return description


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
            with _undistributed():
                model.load_weights(path)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}. Delete the folder {path.parent} to train anew.") from error
    return int(model.optimizer.iterations)


@contextlib.contextmanager
def _undistributed():
    """Keras makes an optimizer of its own to save or load one, whose variables all processes would have to make."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def _cut_history(path, epochs):
    """Drop a row whose epoch was cut off before its weights were saved; return the others."""
    if not epochs:
        path.unlink(missing_ok=True)
        return pd.DataFrame()
    with replacing(path) as partial:
        partial.write_text("".join(_history_lines(path, epochs)), newline="")
    return _read_history(path, epochs)


def _read_history(path, epochs):
    # Python reads back the very float that it wrote; pandas does so in some versions only.
    lines = _history_lines(path, epochs)
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    return pd.DataFrame(rows).astype({"epoch": int})


def _history_lines(path, epochs):
    with open(path, newline="") as file:  # its line ends as Keras wrote them
        return file.readlines()[: epochs + 1]
