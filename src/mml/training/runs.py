"""A training run in its folder: trained once, resumed after an interruption, loaded when complete."""

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
VALIDATION_BATCH_SIZE = 256  # has no influence on the result, apart from rounding


@dataclasses.dataclass(frozen=True)
class Run:
    """A complete training run.

    Args:
        model: The compiled model, with the weights of the epoch that validated best. With `keep="last"`, and without
            validation images, with those of the last epoch.
        records: A dictionary per epoch: the integer `epoch`, counted from 0, and floats. `loss`, `acc` and
            `top_5_acc` are means over the training images. If there are validation images, `val_loss`, `val_acc` and
            `val_top_5_acc` are means over these.
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
        """The records as a `pandas.DataFrame`, a row per epoch. Raises ImportError if pandas is not installed."""
        return require("pandas", "`Run.history`").DataFrame(self.records)


def train(
    data: ImageDataset,
    config: TrainingConfig = TrainingConfig(),
    directory: str | os.PathLike = "runs",
    verbose: str | int = "auto",
    build: Callable[..., keras.Model] | None = None,
) -> Run:
    """Train a model, resume an interrupted run, or load a complete one.

    Each run has a folder in `directory`. Its name comes from the configuration, the name of `build`, the dtype policy
    and a digest of the data. It holds:

    - `config.json`: the configuration, and which data it was;
    - `history.csv`: a row per epoch;
    - `best.weights.h5`: weights, optimizer and random state of the epoch with the best validation accuracy, unless
      the last epoch's weights are the result;
    - `latest.weights.h5`: the same of the last complete epoch. The optimizer's number of steps says which epoch that
      is, so a run resumes from this single file. (Keras's `BackupAndRestore` writes weights and epoch to two files.
      A process killed in between would train an epoch twice.)

    A run that is killed at any moment and called again ends with the same weights and history as if nothing had
    happened, bit for bit on a CPU. At the end of an epoch, the best checkpoint and the history are on the disk before
    `latest.weights.h5` gets its name. So a power failure costs the current epoch only, as far as the file system
    keeps what it has synced, see `mml.files.move_into_place`. If two processes ask for the same run, one of them
    waits and then loads what the other has trained.

    **Several devices.** Call `keras.distribution.set_distribution(keras.distribution.DataParallel())` first. The
    devices share each batch, hold the same weights, and make the same steps as one device would, within rounding.
    Their number is not part of the configuration, so an interrupted run may resume with another one. On several
    hosts, call `keras.distribution.initialize` before that, and use `DataParallel(auto_shard_dataset=False)`. Every
    process calls `train` with the same data and the same shared `directory`. The first of them writes the files.

    Args:
        data: An `mml.data.ImageDataset`, or any object with such `x_train`, `y_train`, `class_names` and `source`.
        config: A `TrainingConfig`. With `keep="last"`, and with `validation_split=0`, which validates nothing, the
            result is the last epoch's weights.
        directory: Folder for the folders of runs.
        verbose: As for `keras.Model.fit`.
        build: Function `build(config.model, images=...)` that returns the model. By default, the function of
            `mml.models` that goes with the configuration: `vision_transformer` or `vision_mlgru`. Its module and name
            stand for it in the run's folder. So it must be what one finds under that name: not a lambda, a
            `functools.partial`, or a function defined in another function, of which many can have the same name.
            A function that you edit keeps its name. Rename it too, or use another `directory`, or `train` will load
            the run of the old one.

    Returns:
        A `Run`.

    Raises:
        ValueError: If `build` has no name of its own, if the data do not fit the configuration, if the devices cannot
            share a batch equally, if the distribution or the dtype policy is one that this cannot work with, if the
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
        agree(place, f"{latest.name}, which is {'there' if latest.exists() else 'not there'}")
        if place.writes_files:
            _prepare(path, description)
        keras.utils.set_random_seed(config.seed)
        # The seed's order: normalise by all training images, then keep the last of them for validation.
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
                shuffle=False,  # Keras would shuffle the batches, by a generator whose state is not saved
                verbose=verbose if place.writes_files else 0,
                callbacks=callbacks,
            )
            agree(place, "the end")  # all files are written
        restore(model, best if keeps_best else latest)
        return Run(model, read_history(path / "history.csv", config.epochs), path)


def _check(data, config):
    """Return the number of images that are trained on."""
    shape, classes = tuple(data.x_train.shape[1:]), len(data.class_names)
    if shape != tuple(config.model.input_shape) or classes != config.model.num_classes:
        raise ValueError(
            f"`data` must hold images of shape {config.model.input_shape} in {config.model.num_classes} classes, as "
            f"`config.model` says. Received: images of shape {shape} in {classes} classes"
        )
    n_train = int(len(data.x_train) * (1 - config.validation_split))
    if n_train == 0 or (config.validation_split and n_train == len(data.x_train)):
        raise ValueError(
            "`validation_split` must leave images on both sides, or be 0. "
            f"Received: validation_split={config.validation_split} of {len(data.x_train)} images"
        )
    policy = keras.config.dtype_policy()
    if policy.compute_dtype == "float16":
        raise ValueError(
            "The dtype policy must not compute in float16: Keras then leaves out steps whose gradients overflow, and "
            f"the steps say which epoch it is. 'mixed_bfloat16' has no such steps. Received: {policy.name!r}"
        )
    return n_train


def _split(data, config, n_train, place):
    """Return the batches to train on and those to validate on, or None instead of the latter."""
    x, y = data.x_train, data.y_train
    batches = ShuffledBatches(x[:n_train], y[:n_train], config.batch_size, config.seed, *place)
    if n_train == len(x):
        return batches, None
    batch_size = math.ceil(VALIDATION_BATCH_SIZE / place.devices) * place.devices
    return batches, ShuffledBatches(x[n_train:], y[n_train:], batch_size, config.seed, *place)


def _describe(data, config, build):
    """Return what determines the run, as JSON can hold it."""
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
            "`build` must be a named function, defined by `def` at the top level of a module: the folder of a run is "
            f"named after it. Received: build={build!r}"
        )
    return f"{module}.{name}"


def _name(config, description):
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return f"{config.model.short_name}-e{config.epochs}-b{config.batch_size}-s{config.seed}-{digest[:8]}"


@contextlib.contextmanager
def _locked(path: Path, place: Place) -> Iterator[None]:
    """Hold the lock of the run in the process that writes its files; the others wait for that one."""
    with filelock.FileLock(path / "lock") if place.writes_files else contextlib.nullcontext():
        agree(place, path.name)
        yield


def _prepare(path, description):
    """Remove what a killed process left half written, and write the configuration."""
    for partial in path.glob(partial_name(path / "*").name):
        partial.unlink()
    with replacing(path / "config.json") as partial:
        partial.write_text(json.dumps(description, indent=2) + "\n")


def _writers(path, epochs_done, best, latest):
    """Return the callbacks that write the files: `latest` comes last, because it makes its epoch count as done."""
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
