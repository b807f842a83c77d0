"""What the tables of trained models share: where each number comes from, and which rows are still current."""

import dataclasses
import functools
import json
import pkgutil
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pandas as pd

from mml.data import ImageDataset
from mml.files import replacing
from mml.models import Augmentation
from mml.training import TrainingConfig, compile_model, train
from mml.training.runs import MODELS

# Relative tolerance of the loss at each step of a fingerprint. Versions of Keras and JAX round differently, so a few
# ternary weights and 8-bit inputs come out differently. The difference grows with each training step.
TOLERANCES = (0.005, 0.03, 0.1)


def provenance(data: ImageDataset) -> dict[str, str]:
    """Describe the data, the versions, and the device of a row.

    Args:
        data: The images that the model was trained on.

    Returns:
        A dictionary of columns.

    Example:

    >>> from mml.data import load_cifar10
    >>> from mml_book.results.table import provenance
    >>> list(provenance(load_cifar10(0.01, "digits")))
    ['training_data', 'keras', 'jax', 'device']
    """
    return {
        "training_data": data.source,
        "keras": keras.__version__,
        "jax": jax.__version__,
        "device": f"{platform.machine()} {jax.devices()[0].platform}",
    }


@functools.cache
def machine() -> dict[str, str]:
    """Name the processor, and the commit of the packages.

    Returns:
        A dictionary of columns. The commit ends in `+changes` if the packages had uncommitted changes.

    Example:

    >>> from mml_book.results.table import machine
    >>> list(machine())
    ['processor', 'commit']
    """
    import cpuinfo  # installed with pytest-benchmark

    def git(*arguments):
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "../../*.py")
    return {
        "processor": cpuinfo.get_cpu_info().get("brand_raw", platform.machine()),
        "commit": git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else ""),
    }


def fingerprint(config: TrainingConfig, build: Callable[..., keras.Model]) -> str:
    """Train for three seeded steps on synthetic images, and return the loss before each of them.

    The losses change if the mathematics of the model, its initial weights, its augmentation, the loss, or the
    optimizer change. They do not depend on `epochs`, `batch_size`, `seed`, `validation_split`, or `keep`.

    Args:
        config: The recipe.
        build: Function that builds the model, as for `mml.training.train`.

    Returns:
        The losses, separated by spaces.

    Example:

    >>> from mml.models import VisionTransformerConfig, vision_transformer
    >>> from mml.training import TrainingConfig
    >>> from mml_book.results.table import fingerprint
    >>> tiny = VisionTransformerConfig(
    ...     image_size=16, patch_size=8, projection_dim=8, transformer_layers=1, head_units=(8,)
    ... )
    >>> len(fingerprint(TrainingConfig(tiny), vision_transformer).split())
    3
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, *config.model.input_shape)).astype("uint8")
    labels = rng.integers(config.model.num_classes, size=(16, 1))
    keras.utils.set_random_seed(0)
    model = build(config.model, images=images)
    compile_model(model, config, steps=20 * len(TOLERANCES))  # so that a warm-up of 5% takes just these steps
    losses = []
    for _ in TOLERANCES:
        model.reset_metrics()
        losses.append(model.train_on_batch(images, labels, return_dict=True)["loss"])
    return " ".join(f"{float(loss):.4f}" for loss in losses)


def agree(one: str, other: str) -> bool:
    """Return whether two fingerprints stand for the same mathematics, up to the rounding of different versions.

    Args:
        one: A fingerprint.
        other: Another one.

    Returns:
        True if each pair of losses agrees within `TOLERANCES`.

    Example:

    >>> from mml_book.results.table import agree
    >>> agree("2.30 2.20 2.10", "2.30 2.21 2.00"), agree("2.30 2.20 2.10", "2.30 2.00 2.10")
    (True, False)
    """
    first, second = (np.array(each.split(), dtype=float) for each in (one, other))
    return first.shape == second.shape and bool(np.all(np.abs(first - second) <= np.array(TOLERANCES) * second))


def identity(config: TrainingConfig, build: Callable[..., keras.Model] | None = None) -> dict[str, str]:
    """Identify a run, apart from its images.

    Args:
        config: The recipe.
        build: As for `mml.training.train`.

    Returns:
        A dictionary of columns: the recipe as JSON, the name of the function that builds the model, and the
        `fingerprint`.

    Example:

    >>> from mml.models import VisionTransformerConfig
    >>> from mml.training import TrainingConfig
    >>> from mml_book.results.table import identity
    >>> tiny = VisionTransformerConfig(
    ...     image_size=16, patch_size=8, projection_dim=8, transformer_layers=1, head_units=(8,)
    ... )
    >>> identity(TrainingConfig(tiny))["build"]
    'mml.models.transformers.vision_transformer'
    """
    build = build or MODELS[type(config.model)]
    # Fields that do not affect the fingerprint get fixed values, so that the cache computes each fingerprint once.
    short = dataclasses.replace(config, epochs=1, batch_size=1, seed=0, validation_split=0.1, keep="best")
    return {
        "recipe": json.dumps(dataclasses.asdict(config), sort_keys=True),
        "build": f"{build.__module__}.{build.__qualname__}",
        "fingerprint": _fingerprint_once(short, build),
    }


_fingerprint_once = functools.cache(fingerprint)


def is_current(row: Mapping[str, Any], made_by: dict[str, str]) -> bool:
    """Return whether the current code would produce the same row.

    Args:
        row: A row of a table.
        made_by: What `identity` returns for the run.

    Returns:
        True if the recipe and the function that builds the model are the same, and the fingerprints agree.

    Example:

    >>> from mml_book.results.table import is_current
    >>> made_by = {"recipe": "{}", "build": "vision_mlgru", "fingerprint": "2.30 2.20 2.10"}
    >>> is_current({"model": "ternary"} | made_by, made_by), is_current(made_by | {"build": "linear"}, made_by)
    (True, False)
    """
    same = all(row[name] == made_by[name] for name in ("recipe", "build"))
    return same and agree(row["fingerprint"], made_by["fingerprint"])


def read_recipe(row: dict[str, Any]) -> tuple[TrainingConfig, Callable[..., keras.Model]]:
    """Return the recipe of a row, and the function that built its model.

    Args:
        row: A row of a table of `TrainedRows`.

    Returns:
        A pair of both.

    Example:

    >>> import dataclasses, json
    >>> from mml.models import vision_mlgru
    >>> from mml.training import RECIPES
    >>> from mml_book.results.table import read_recipe
    >>> recipe = json.dumps(dataclasses.asdict(RECIPES[0.1]))
    >>> row = {"recipe": recipe, "build": "mml.models.mlgru.vision_mlgru"}
    >>> read_recipe(row) == (RECIPES[0.1], vision_mlgru)
    True
    """
    recipe = json.loads(row["recipe"])
    model = recipe.pop("model")
    augmentation = Augmentation(**model.pop("augmentation"))
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in model.items()}
    (kind,) = (
        kind for kind in MODELS if {field.name for field in dataclasses.fields(kind)} == {*fields, "augmentation"}
    )
    module, _, name = row["build"].rpartition(".")
    build = pkgutil.resolve_name(f"{module}:{name}")
    return TrainingConfig(model=kind(**fields, augmentation=augmentation), **recipe), build


class TrainedRows:
    """The rows of a table, one per run. The file is written after each run.

    A row that the file already holds is kept if it is current: the recipe and the function that builds the model are
    the same, and its `fingerprint` agrees with that of the current code.

    Args:
        path: The file, which need not be there.
        score: Function that takes a trained model and returns its scores, a dictionary of columns.
        **columns: Further columns, the same in each row.

    Example:

    >>> from mml_book.results.table import TrainedRows
    >>> TrainedRows("nowhere.csv", lambda model: {}).rows
    []
    """

    def __init__(self, path: str | Path, score: Callable[[keras.Model], dict[str, Any]], **columns: Any):
        self.path, self.score, self.columns = Path(path), score, columns
        self.rows: list[dict] = pd.read_csv(path).to_dict("records") if self.path.exists() else []

    def add(
        self,
        key: dict[str, Any],
        config: TrainingConfig,
        data: Callable[[], ImageDataset],
        build: Callable[..., keras.Model] | None = None,
    ) -> None:
        """Train a model, score it, and write the table, unless the row is current.

        Args:
            key: The columns that identify the row. A row with the same key is replaced.
            config: The recipe.
            data: Function that returns the images to train on.
            build: As for `mml.training.train`.
        """
        made_by = identity(config, build)
        others = [row for row in self.rows if any(row[column] != key[column] for column in key)]
        if any(row not in others and is_current(row, made_by) for row in self.rows):
            return
        made_on = machine()  # before training, because the repository may change meanwhile
        images = data()
        jax.clear_caches()
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as directory:
            run = train(images, config, directory, verbose=0, build=build)
        seconds = time.perf_counter() - start
        scores = {
            column: round(value, 4) if isinstance(value, float) else value
            for column, value in self.score(run.model).items()
        }
        row = {
            **key,
            **scores,
            "train_accuracy": round(run.records[-1]["acc"], 4),
            "epochs": config.epochs,
            "parameters": sum(int(np.prod(weight.shape)) for weight in run.model.trainable_weights),
            "seconds": round(seconds, 1),
            **self.columns,
            **provenance(images),
            **made_on,
            **made_by,
        }
        self.rows = [*others, row]
        print({**key, **scores, "seconds": round(seconds, 1)}, flush=True)
        with replacing(self.path) as partial:
            pd.DataFrame(self.rows).to_csv(partial, index=False)
