"""Measure predictions of a packed model and of float models: time, memory, and file size.

    python -m mml_book.results.inference inference.csv

This takes about two minutes. Nothing else should run meanwhile. The models take turns: in each round each of them
predicts once. The memory of a model is what a process holds after a prediction minus what it held before it loaded
the model. The program is compiled beforehand.
"""

import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
import pandas as pd

from mml.files import replacing
from mml.memory import keep_freed_memory
from mml.models import (
    attention_vision_transformer,
    float_vision_transformer,
    vision_transformer,
)
from mml.packing import load_packed, save_packed
from mml_book.results.table import machine

BUILD = {
    "ternary": vision_transformer,
    "float": float_vision_transformer,
    "attention": attention_vision_transformer,
}
MODELS = ("packed", *BUILD)
BATCHES = (1, 32)
ROUNDS = 50


def load(name, folder):
    """Load a model from its file in the folder."""
    if name == "packed":
        return load_packed(file_of(name, folder))
    model = BUILD[name]()
    model.load_weights(file_of(name, folder))
    return model


def file_of(name, folder):
    return Path(folder) / f"{name}.{'safetensors' if name == 'packed' else 'weights.h5'}"


def images(batch):
    return np.random.default_rng(0).integers(0, 256, (batch, 32, 32, 3)).astype("float32")


def resident_megabytes():
    """Return how much memory this process holds, on Linux."""
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(kilobytes) * 1024 / 1e6


def memory(name, batch, folder):
    """Print how much more memory this process holds after it has loaded a model and predicted with it."""
    keep_freed_memory()
    jax.numpy.zeros(1).block_until_ready()  # JAX itself has started
    before = resident_megabytes()
    model = load(name, folder)
    model.predict_on_batch(images(int(batch)))
    print(resident_megabytes() - before)


def main(path):
    measured_on = machine()  # before measuring, because the repository may change meanwhile
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        for name, build in BUILD.items():
            build().save_weights(file_of(name, folder))
        save_packed(BUILD["ternary"](), file_of("packed", folder))
        models = {name: load(name, folder) for name in MODELS}
        environment = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        rows = []
        for batch in BATCHES:
            x = images(batch)
            milliseconds: dict[str, list[float]] = {name: [] for name in MODELS}
            for round_number in range(-2, ROUNDS):  # the first ones compile
                for name, model in models.items():
                    start = time.perf_counter()
                    model.predict_on_batch(x)
                    if round_number >= 0:
                        milliseconds[name].append(1000 * (time.perf_counter() - start))
            for name in MODELS:
                command = [sys.executable, __file__, "memory", name, str(batch), folder]
                for _ in range(2):  # the first one compiles
                    printed = subprocess.run(
                        command, env=environment, capture_output=True, text=True, check=True
                    ).stdout
                low, median, high = np.percentile(milliseconds[name], (5, 50, 95)).round(2).tolist()
                rows.append(
                    {
                        "model": name,
                        "batch": batch,
                        "milliseconds": median,
                        "low": low,
                        "high": high,
                        "rounds": ROUNDS,
                        "resident_mb": round(float(printed), 1),
                        "weights_mb": round(sum(weight.value.nbytes for weight in models[name].weights) / 1e6, 3),
                        "file_mb": round(file_of(name, folder).stat().st_size / 1e6, 3),
                        "keras": keras.__version__,
                        "jax": jax.__version__,
                        "device": f"{platform.machine()} {jax.devices()[0].platform}",
                        "cores": os.cpu_count(),
                        "date": datetime.date.today().isoformat(),
                        "data": "Random images.",
                        **measured_on,
                    }
                )
                print({key: rows[-1][key] for key in ("model", "batch", "milliseconds", "resident_mb", "weights_mb")})
    with replacing(path) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "memory":
        memory(*sys.argv[2:])
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        sys.exit(__doc__)
