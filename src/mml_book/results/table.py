"""What the tables of trained models share: where a number comes from, and rows that are not computed again."""

import dataclasses
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pandas as pd

from mml.data import ImageDataset
from mml.files import replacing
from mml.training import TrainingConfig, train


def provenance(data: ImageDataset) -> dict[str, str]:
    """Say on which data, with what and on what a row was measured.

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


class TrainedRows:
    """The rows of a table, one per run. It is written after each, and a row that it already holds is not run again.

    Args:
        path: The file, which need not be there.
        score: Function from a trained model to the columns that say how good it is.
        **columns: Further columns, the same in each row.

    Example:

    >>> from mml_book.results.table import TrainedRows
    >>> TrainedRows("nowhere.csv", lambda model: {}).rows
    []
    """

    def __init__(self, path: str | Path, score: Callable[[keras.Model], dict[str, float]], **columns: Any):
        self.path, self.score, self.columns = Path(path), score, columns
        self.rows: list[dict] = pd.read_csv(path).to_dict("records") if self.path.exists() else []

    def add(
        self,
        key: dict[str, Any],
        config: TrainingConfig,
        data: Callable[[], ImageDataset],
        build: Callable[..., keras.Model] | None = None,
    ) -> None:
        """Train from an empty compilation cache, score the model and write the table, unless the row is there.

        Args:
            key: The columns that, with the recipe, tell the row from others.
            config: The recipe.
            data: Function that returns the images to train on.
            build: As for `mml.training.train`.
        """
        recipe = json.dumps(dataclasses.asdict(config), sort_keys=True)
        if any(row["recipe"] == recipe and all(row[name] == key[name] for name in key) for row in self.rows):
            return
        images = data()
        jax.clear_caches()
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as directory:
            run = train(images, config, directory, verbose=0, build=build)
        seconds = time.perf_counter() - start
        scores = {name: round(value, 4) for name, value in self.score(run.model).items()}
        self.rows.append(
            {
                **key,
                **scores,
                "train_accuracy": round(run.records[-1]["acc"], 4),
                "epochs": config.epochs,
                "parameters": sum(int(np.prod(weight.shape)) for weight in run.model.trainable_weights),
                "seconds": round(seconds, 1),
                **self.columns,
                **provenance(images),
                "recipe": recipe,
            }
        )
        print({**key, **scores, "seconds": round(seconds, 1)}, flush=True)
        with replacing(self.path) as partial:
            pd.DataFrame(self.rows).to_csv(partial, index=False)
