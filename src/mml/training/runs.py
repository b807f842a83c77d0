"""A training run in its folder: trained once, resumed after an interruption, and loaded when complete."""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import keras

from mml.data import ImageDataset
from mml.files import make_folder, partial_name, replacing
from mml.models import VisionMLGRUConfig, VisionTransformerConfig, vision_mlgru, vision_transformer
from mml.optional import require
from mml.training.batches import ShuffledBatches
from mml.training.checkpoints import Checkpoint, HistoryFile, read_history, restore
from mml.training.devices import Place, agree, current_place
from mml.training.recipe import TrainingConfig, compile_model

if TYPE_CHECKING:
    import pandas

MODELS: dict[type, Callable[..., keras.Model]] = {
    VisionTransformerConfig: vision_transformer,
    VisionMLGRUConfig: vision_mlgru,
}
VALIDATION_BATCH_SIZE = 256  # does not affect the result, apart from rounding


@dataclasses.dataclass(frozen=True)
class Run:
    """A complete training run.

    Args:
        model: The compiled model with the weights of the epoch that has the best validation accuracy. With
            `keep="last"`, or without validation images, it has the weights of the last epoch.
        records: A dictionary per epoch: the integer `epoch`, counted from 0, and floats. `loss`, `acc`, and
            `top_5_acc` are means over the training images. If there are validation images, `val_loss`, `val_acc`,
            and `val_top_5_acc` are means over them.
        path: The folder that holds the run.

    Example:

    >>> from pathlib import Path
    >>> import keras
    >>> from mml.training import Run
    >>> run = Run(keras.Sequential(), [{"epoch": 0, "val_acc": 0.2}, {"epoch": 1, "val_acc": 0.3}], Path("runs"))
    >>> float(run.history["val_acc"].max())
    0.3
    """

    model: keras.Model
    records: list[dict[str, float]]
    path: Path

    @property
    def history(self) -> "pandas.DataFrame":
        """The records as a `pandas.DataFrame`, one row per epoch. Raises ImportError if pandas is not installed."""
        return require("pandas", "`Run.history`").DataFrame(self.records)


def train(
    data: ImageDataset,
    config: TrainingConfig = TrainingConfig(),
    directory: str | os.PathLike = "runs",
    verbose: str | int = "auto",
    build: Callable[..., keras.Model] | None = None,
) -> Run:
    """Train a model, resume an interrupted run, or load a complete one.

    Each run has a folder in `directory`. Its name comes from the configuration, the name of `build`, the dtype
    policy, and a digest of the data. The folder holds:

    - `config.json`: the configuration and a description of the data;
    - `history.csv`: one row per epoch;
    - `best.weights.h5`: weights, optimizer, and random state of the epoch with the best validation accuracy.
      There is none if the last epoch's weights are the result;
    - `latest.weights.h5`: the same for the last complete epoch. The optimizer's number of steps tells which epoch
      that is, so a run resumes from this single file. (Keras's `BackupAndRestore` writes the weights and the epoch to
      two files. A process killed in between would train an epoch twice.)

    You can kill a run at any moment and call `train` again. The run ends with the same weights and history as an
    uninterrupted one, bit for bit on a CPU. At the end of an epoch, the best checkpoint and the history are on disk
    before `latest.weights.h5` gets its name. So a power failure costs only the current epoch, as long as the file
    system keeps what it has synced (see `mml.files.move_into_place`). If two processes ask for the same run, one of
    them waits and then loads what the other has trained.

    Checkpoints hold the state of the random layers of `mml.layers`, but not that of Keras's own. So with Keras's
    `Dropout`, for example inside its `MultiHeadAttention`, a resumed run draws different numbers. Note also that
    `train` sets the global seeds of Python, NumPy, and the backend, even if it only loads a run.

    **Several devices.** Call `keras.distribution.set_distribution(keras.distribution.DataParallel())` first. The
    devices share each batch, hold the same weights, and take the same steps as one device would, within rounding.
    The number of devices is not part of the configuration, so an interrupted run may resume with a different number.
    On several hosts, call `keras.distribution.initialize` before `set_distribution`, and use
    `DataParallel(auto_shard_dataset=False)`. Every process calls `train` with the same data and the same shared
    `directory`. The first process writes the files.

    Args:
        data: An `mml.data.ImageDataset`, or any object with the same attributes `x_train`, `y_train`,
            `class_names`, and `source`.
        config: A `TrainingConfig`. With `keep="last"`, or without validation (`validation_split=0`), the result is
            the last epoch's weights.
        directory: Folder that holds the run folders.
        verbose: As for `keras.Model.fit`.
        build: Function `build(config.model, images=...)` that returns the model. By default, the function of
            `mml.models` that matches the configuration: `vision_transformer` or `vision_mlgru`. The name of the
            run's folder depends on its module and name, so Python must find this same function under that name. A
            lambda, a `functools.partial`, or a function defined in another function is not allowed, because many of
            them can have the same name. If you edit the function, also rename it or use another `directory`.
            Otherwise, `train` loads the run of the old function. For the same reason, two scripts or notebooks that
            each define a function of the same name need different directories.

    Returns:
        A `Run`.

    Raises:
        ValueError: If `build` cannot be found under its name, if the data do not fit the configuration, if the
            devices cannot share a batch equally, if the distribution or the dtype policy is not supported, if the
            processes of several hosts do not see the same folder, or if a file of the run is missing or damaged.

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
    if build is None:
        build = next(build for kind, build in MODELS.items() if isinstance(config.model, kind))
    n_train = _check(data, config)
    keeps_best = config.keep == "best" and n_train < len(data.x_train)
    place = current_place()
    batches, validation_batches = _split(data, config, n_train, place)
    description = _describe(data, config, build)
    path = Path(directory) / _name(config, description)
    latest, best = path / "latest.weights.h5", path / "best.weights.h5"
    make_folder(path)
    with _locked(path, place):
        agree(place, f"{latest.name} {'exists' if latest.exists() else 'does not exist'}")
        if place.writes_files:
            _prepare(path, description)
        keras.utils.set_random_seed(config.seed)
        # As in chapter 1, normalize by all training images, then hold out the last of them for validation.
        model = build(config.model, images=data.x_train)
        compile_model(model, config, steps=config.epochs * len(batches))
        epochs_done = restore(model, latest) // len(batches) if latest.exists() else 0
        agree(place, f"epoch {epochs_done}")
        if epochs_done < config.epochs:
            callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.shuffle(epoch))]
            if place.writes_files:
                callbacks += _writers(path, epochs_done, best if keeps_best else None, latest)
            model.fit(
                batches,
                epochs=config.epochs,
                initial_epoch=epochs_done,
                validation_data=validation_batches,
                shuffle=False,  # Keras would shuffle the batches with a generator whose state is not saved
                verbose=verbose if place.writes_files else 0,
                callbacks=callbacks,
            )
            agree(place, "the end")  # all files are written
        restore(model, best if keeps_best else latest)
        return Run(model, read_history(path / "history.csv", config.epochs), path)


def _check(data, config):
    """Return the number of images to train on."""
    shape, classes = tuple(data.x_train.shape[1:]), len(data.class_names)
    if shape != tuple(config.model.input_shape) or classes != config.model.num_classes:
        raise ValueError(
            f"`data` must hold images of shape {config.model.input_shape} in {config.model.num_classes} classes, as "
            f"`config.model` specifies. Received: images of shape {shape} in {classes} classes"
        )
    n_train = int(len(data.x_train) * (1 - config.validation_split))
    if n_train == 0 or (config.validation_split and n_train == len(data.x_train)):
        raise ValueError(
            "`validation_split` must be 0, or leave at least one image for training and one for validation. "
            f"Received: validation_split={config.validation_split} with {len(data.x_train)} images"
        )
    labels, images = data.y_train, len(data.x_train)
    if len(labels) != images or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"`data` must hold one label from 0 to {classes - 1} for each training image. "
            f"Received: {len(labels)} labels from {labels.min()} to {labels.max()} for {images} images"
        )
    policy = keras.config.dtype_policy()
    if policy.compute_dtype == "float16":
        raise ValueError(
            "The dtype policy must not compute in float16, because Keras then skips steps whose gradients overflow, "
            "and the number of steps would no longer tell which epoch the run has reached. Use 'mixed_bfloat16'. "
            f"Received: {policy.name!r}"
        )
    return n_train


def _split(data, config, n_train, place):
    """Return the batches to train on, and the batches to validate on or None."""
    x, y = data.x_train, data.y_train
    batches = ShuffledBatches(x[:n_train], y[:n_train], config.batch_size, config.seed, *place)
    if n_train == len(x):
        return batches, None
    batch_size = math.ceil(VALIDATION_BATCH_SIZE / place.devices) * place.devices
    return batches, ShuffledBatches(x[n_train:], y[n_train:], batch_size, config.seed, *place)


def _describe(data, config, build):
    """Return what determines the run, in a form that JSON can hold."""
    digest = hashlib.sha256(data.x_train.tobytes())
    digest.update(data.y_train.tobytes())
    description = {
        **dataclasses.asdict(config),
        "build": _qualified_name(build),
        "data": data.source,
        "data_sha256": digest.hexdigest(),
    }
    policy = keras.config.dtype_policy().name
    if policy != "float32":
        description["dtype_policy"] = policy
    return keras.tree.map_structure(lambda value: value.item() if hasattr(value, "item") else value, description)


def _qualified_name(build):
    """Return the name under which exactly this function can be found, so that no two functions share a run."""
    module, name = getattr(build, "__module__", None), getattr(build, "__qualname__", None)
    try:
        found = pkgutil.resolve_name(f"{module}:{name}")
    except (AttributeError, ImportError, ValueError):
        found = None
    if found is None or found != build:
        raise ValueError(
            "`build` must be a named function, defined with `def` at the top level of a module, because the name "
            f"of the run's folder depends on it. Received: build={build!r}"
        )
    return f"{module}.{name}"


def _name(config, description):
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return f"{config.model.short_name}-e{config.epochs}-b{config.batch_size}-s{config.seed}-{digest[:8]}"


@contextlib.contextmanager
def _locked(path: Path, place: Place) -> Iterator[None]:
    """Hold the lock of the run in the process that writes its files, while the other processes wait for it."""
    with filelock.FileLock(path / "lock") if place.writes_files else contextlib.nullcontext():
        agree(place, path.name)
        yield


def _prepare(path, description):
    """Remove what a killed process left half-written, and write the configuration."""
    for partial in path.glob(partial_name(path / "*").name):
        partial.unlink()
    with replacing(path / "config.json") as partial:
        partial.write_text(json.dumps(description, indent=2) + "\n")


def _writers(path, epochs_done, best, latest):
    """Return the callbacks that write the files. `latest` comes last because it marks its epoch as done."""
    history = HistoryFile(path / "history.csv", read_history(path / "history.csv", epochs_done))
    if best is None:
        return [history, Checkpoint(latest)]
    accuracies = [record["val_acc"] for record in history.records]
    keep_best = Checkpoint(
        best,
        monitor="val_acc",
        mode="max",
        save_best_only=True,
        initial_value_threshold=max(accuracies, default=None),
    )
    return [keep_best, history, Checkpoint(latest)]
