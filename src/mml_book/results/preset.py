"""Train the model that ships with the package as `mml.presets.from_preset("cifar10")`, and write its files.

    python -m mml_book.results preset

Training on all 50,000 training images of CIFAR-10 takes about 90 minutes on two CPU cores if nothing else runs. You
can stop it with Ctrl+C and call it again: it continues after the last complete epoch. Then the packed model is
tested, once. The table holds a row per epoch, and a row per class and set of test images. Its `seconds` count only
the last call. If the table and the files are there and were made by the current code, nothing is trained.
"""

import dataclasses
import json
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import mml.presets
from mml.data import load_cifar10
from mml.files import replacing
from mml.packing import load_packed, save_packed
from mml.training import train
from mml.training.recipe import RECIPES
from mml.training.runs import MODELS
from mml_book.results.table import identity, is_current, machine, provenance

NAME = "cifar10"
CONFIG = dataclasses.replace(RECIPES[1.0], validation_split=0)
TEST_IMAGES = (1_017, 10_000)
DIRECTORY = Path("runs/preset")


def main(path):
    folder = mml.presets.FOLDER
    packed, latent_weights, description = (
        folder / f"{NAME}.{suffix}" for suffix in ("safetensors", "weights.h5", "json")
    )
    files = path, packed, latent_weights, description
    made_by = identity(CONFIG)
    if all(file.exists() for file in files) and is_current(pd.read_csv(path).iloc[0], made_by):
        return
    made_on = machine()  # before training, because the repository may change meanwhile
    data = load_cifar10(1.0, "cifar10")
    start = time.perf_counter()
    run = train(data, CONFIG, DIRECTORY, verbose=2)
    seconds = time.perf_counter() - start

    save_packed(run.model, packed, data.class_names)
    # A compiled model, or a clone of one, would save its optimizer too. This one has none.
    latent = MODELS[type(CONFIG.model)](CONFIG.model)
    latent.set_weights(run.model.get_weights())
    with replacing(latent_weights) as partial:
        latent.save_weights(partial)

    logits = load_packed(packed).predict(data.x_test, batch_size=256, verbose=0)
    hits, top_5_hits = (np.array(keras.ops.in_top_k(data.y_test[:, 0], logits, k)) for k in (1, 5))
    rows = [
        {
            "part": "training",
            "epoch": row["epoch"] + 1,
            "images": len(data.x_train),
            "loss": row["loss"],
            "accuracy": row["acc"],
            "top_5_accuracy": row["top_5_acc"],
        }
        for row in run.records
    ]
    for images in TEST_IMAGES:
        for index, class_name in [(None, "all"), *enumerate(data.class_names)]:
            chosen = np.ones(images, bool) if index is None else data.y_test[:images, 0] == index
            rows.append(
                {
                    "part": f"test, first {images:,}",
                    "class": class_name,
                    "images": int(chosen.sum()),
                    "accuracy": np.mean(hits[:images][chosen]),
                    "top_5_accuracy": np.mean(top_5_hits[:images][chosen]),
                }
            )
    table = (
        pd.DataFrame(rows)
        .round(4)
        .assign(
            seconds=round(seconds),
            **provenance(data),
            **made_on,
            **made_by,
        )
    )
    with replacing(path) as partial:
        table.to_csv(partial, index=False)
    fields = {
        "name": NAME,
        "class_names": data.class_names,
        "training_data": data.source,
        "test_data": f"The first {TEST_IMAGES[0]:,} test images of CIFAR-10.",
        "test_images": TEST_IMAGES[0],
        "accuracy": round(float(np.mean(hits[: TEST_IMAGES[0]])), 4),
        "top_5_accuracy": round(float(np.mean(top_5_hits[: TEST_IMAGES[0]])), 4),
        "packed_bytes": packed.stat().st_size,
        "model": dataclasses.asdict(CONFIG.model),
    }
    with replacing(description) as partial:
        partial.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    print(table.tail(22).to_string())
