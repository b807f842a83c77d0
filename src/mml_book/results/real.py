"""Train the book's model for 100 epochs on a tenth of CIFAR-10: the longest run that two CPU cores finish in hours.

    python -m mml_book.results.real real.csv

It takes some hours on two CPU cores, more where other programs run beside it. Stopped by Ctrl+C, it writes the table
of the epochs that are complete; called again, it goes on from there. The learning rate is constant, so that the first
epochs are the same however many follow. The test images are looked at with the weights of the epoch that validated
best.
"""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")

from pathlib import Path

import pandas as pd

from mml.data import load_cifar10
from mml.files import replacing
from mml.memory import keep_freed_memory
from mml.training import TrainingConfig, compile_model, train
from mml.training.runs import MODELS
from mml_book.results.table import provenance

SPLIT = 0.1
CONFIG = TrainingConfig(epochs=100)
TEST_IMAGES = 1017
DIRECTORY = Path("runs/real")  # of this run alone
PARTS = {"training": "", "validation": "val_"}  # prefix of the history's columns


def main(path):
    keep_freed_memory()
    data = load_cifar10(SPLIT, "cifar10")
    try:
        train(data, CONFIG, DIRECTORY, verbose=2)
    except KeyboardInterrupt:
        print("Interrupted; the table holds the epochs that are complete.")
    (folder,) = DIRECTORY.glob("vit-*")
    history = pd.read_csv(folder / "history.csv")
    validation_images = len(data.x_train) - int(len(data.x_train) * (1 - CONFIG.validation_split))
    images = {"training": len(data.x_train) - validation_images, "validation": validation_images}
    rows = [
        {
            "epoch": int(epoch["epoch"]) + 1,
            "part": part,
            "images": images[part],
            "accuracy": round(epoch[f"{prefix}acc"], 4),
            "top_5_accuracy": round(epoch[f"{prefix}top_5_acc"], 4),
            "loss": round(epoch[f"{prefix}loss"], 4),
        }
        for _, epoch in history.iterrows()
        for part, prefix in PARTS.items()
    ]

    model = MODELS[type(CONFIG.model)](CONFIG.model, images=data.x_train)
    compile_model(model, CONFIG)
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder / "best.weights.h5")
    test = load_cifar10(TEST_IMAGES / 10_000, "cifar10")
    result = model.evaluate(test.x_test, test.y_test, batch_size=TEST_IMAGES, verbose=0, return_dict=True)
    rows.append(
        {
            "epoch": int(model.optimizer.iterations) // -(-images["training"] // CONFIG.batch_size),
            "part": "test",
            "images": TEST_IMAGES,
            "accuracy": round(result["acc"], 4),
            "top_5_accuracy": round(result["top_5_acc"], 4),
            "loss": round(result["loss"], 4),
        }
    )
    table = pd.DataFrame(rows).assign(
        epochs_planned=CONFIG.epochs,
        **provenance(data),
    )
    with replacing(path) as partial:
        table.to_csv(partial, index=False)
    print(table.tail(3).to_string())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
