"""One contender in a process of its own, which measures what its standard input asks for.

    python tests/benchmarks/worker.py CONTENDER CONFIG_JSON DATA_NPZ [--keep-memory]

CONFIG_JSON holds the fields of an `mml.training.TrainingConfig`, DATA_NPZ those of an `mml.data.ImageDataset`. Each
line of input is one of the words below. The answer is one line of JSON with what was measured.

The process of `ours` calls `mml.memory.keep_freed_memory`, as the chapters do. A contender as published does not.
With `--keep-memory` it gets that setting too, but still does not import `mml`.

`first_step`: the seconds to build the model (`build`), those from there to the end of the first training step, which
traces and compiles (`first_step`), and those to save and to load weights and optimizer (`checkpoint_save`,
`checkpoint_load`).

`training_step`, `prediction_step`: the seconds of one step of that model (`seconds`).

`whole_run`: the seconds of the seed's training cell and of all that comes before it, such as building the model
(`whole_run`). The cell trains all epochs, validates, and keeps the best epoch's weights. For ours, this is
`mml.training.train`, which also saves the latest epoch's weights. The peer saves none, because it cannot on current
Keras.

The peer as published trains two epochs, and each of the others counts as the second one. Five epochs would take a
quarter of an hour. They would also end the process: at each step JAX compiles operations again, and each of these
takes up memory maps. In the third epoch there are more than Linux usually allows (vm.max_map_count).

`first_step` and `whole_run` also give the peak of the process's memory in bytes (`peak_memory`).
"""

import argparse
import importlib
import importlib.util
import json
import resource
import runpy
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import contenders
import jax
import keras
import numpy as np

EPOCHS_AS_PUBLISHED = 2
CHECKPOINTS = 5  # times that one is saved and loaded; the median counts
PACKAGES = {"ours": "mml.training", "peer": "keras_mml", "peer_jit": "keras_mml"}


class Measurements:
    """What is measured of one contender, with a method per word.

    Args:
        name: The contender's.
        config: What `read_config` returns.
        data: What `read_data` returns.
    """

    def __init__(self, name, config, data):
        self.name, self.config, self.data = name, config, data
        self.model = None
        self.x, self.y = data.x_train[: config.batch_size], data.y_train[: config.batch_size]

    def first_step(self):
        start = time.perf_counter()
        self.model = contenders.BUILDERS[self.name](self.config.model, self.data.x_train)
        built = time.perf_counter()
        contenders.compile_contender(self.name, self.model, self.config)
        self._train()
        stepped = time.perf_counter()
        measured = {"build": built - start, "first_step": stepped - built, "peak_memory": peak_memory()}
        with tempfile.TemporaryDirectory() as directory:
            return measured | checkpoint(self.model, Path(directory) / "checkpoint.weights.h5")

    def training_step(self):
        start = time.perf_counter()
        self._train()
        return {"seconds": time.perf_counter() - start}

    def prediction_step(self):
        start = time.perf_counter()
        self.model.predict_on_batch(self.x)  # returns a NumPy array, so the step is done
        return {"seconds": time.perf_counter() - start}

    def whole_run(self):
        with tempfile.TemporaryDirectory() as directory:
            measured = self._run_of_ours(directory) if self.name == "ours" else self._run_of_another(directory)
        return measured | {"peak_memory": peak_memory()}

    def _train(self):
        self.model.train_on_batch(self.x, self.y)
        jax.block_until_ready([variable.value for variable in self.model.variables])

    def _run_of_ours(self, directory):
        from mml.training import train

        start = time.perf_counter()
        train(self.data, self.config, directory, verbose=0)
        return {"whole_run": time.perf_counter() - start, "epochs_measured": self.config.epochs}

    def _run_of_another(self, directory):
        start = time.perf_counter()
        epochs = EPOCHS_AS_PUBLISHED if self.name == "peer" else self.config.epochs
        ends = []
        callbacks = [
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
        ]
        if self.name == "float_vit":
            path = str(Path(directory) / "checkpoint.weights.h5")
            callbacks.append(
                keras.callbacks.ModelCheckpoint(path, monitor="val_acc", save_best_only=True, save_weights_only=True)
            )
        model = contenders.BUILDERS[self.name](self.config.model, self.data.x_train)
        contenders.compile_contender(self.name, model, self.config)
        model.fit(
            self.data.x_train,
            self.data.y_train,
            batch_size=self.config.batch_size,
            epochs=epochs,
            validation_split=self.config.validation_split,
            callbacks=callbacks,
            verbose=0,
        )
        seconds = time.perf_counter() - start
        if epochs < self.config.epochs:
            seconds += (self.config.epochs - epochs) * (ends[-1] - ends[-2])
        return {"whole_run": seconds, "epochs_measured": epochs}


def checkpoint(model, path):
    """Save and load a model's weights and optimizer; return the seconds of each, or why that cannot be done."""
    saved, loaded = [], []
    try:
        for _ in range(CHECKPOINTS):
            start = time.perf_counter()
            model.save_weights(path, overwrite=True)
            saved.append(time.perf_counter() - start)
            start = time.perf_counter()
            model.load_weights(path)
            loaded.append(time.perf_counter() - start)
    # Any exception, because the table reports it.
    except Exception as error:
        return {
            "checkpoint_save": np.median(saved) if saved else None,
            "checkpoint_load": None,
            "checkpoint_error": f"{type(error).__name__}: {error}",
        }
    return {"checkpoint_save": np.median(saved), "checkpoint_load": np.median(loaded)}


def peak_memory():
    """Return the most memory that this process has had, in bytes."""
    try:
        # Linux's `ru_maxrss` would start with the memory of the process that started this one.
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def read_config(name, text):
    """Read a configuration: a `TrainingConfig` for ours, and an object with the same attributes for the others.

    Example:

    >>> from worker import read_config
    >>> read_config("float_vit", '{"epochs": 5, "model": {"input_shape": [32, 32, 3]}}').model.input_shape
    (32, 32, 3)
    """
    fields = json.loads(text)
    model = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.pop("model").items()}
    if name == "ours":
        from mml.models import Augmentation, VisionTransformerConfig
        from mml.training import TrainingConfig

        model["augmentation"] = Augmentation(**model["augmentation"])
        return TrainingConfig(VisionTransformerConfig(**model), **fields)
    return SimpleNamespace(model=SimpleNamespace(**model), **fields)


def read_data(path):
    """Read what the file holds as an object with the attributes of an `ImageDataset`."""
    with np.load(path) as file:
        return SimpleNamespace(**{name: array if array.ndim else array.item() for name, array in file.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contender", choices=contenders.BUILDERS)
    parser.add_argument("config")
    parser.add_argument("data")
    parser.add_argument("--keep-memory", action="store_true")
    arguments = parser.parse_args()
    name = arguments.contender
    if name == "ours" or arguments.keep_memory:  # before JAX computes for the first time
        memory = Path(importlib.util.find_spec("mml").origin).with_name("memory.py")  # found, but not imported
        runpy.run_path(str(memory))["keep_freed_memory"]()
    if name in PACKAGES:
        importlib.import_module(PACKAGES[name])  # so that no clock runs meanwhile
    measurements = Measurements(name, read_config(name, arguments.config), read_data(arguments.data))
    assert name == "ours" or "mml" not in sys.modules, "only the process of ours may import mml"
    keras.utils.set_random_seed(0)
    answers, sys.stdout = sys.stdout, sys.stderr  # keeps what a library prints out of the answers
    for line in sys.stdin:
        print(json.dumps(getattr(measurements, line.strip())()), file=answers, flush=True)


if __name__ == "__main__":
    main()
