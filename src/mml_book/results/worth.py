"""Train the book's model with ternary and with float weights, and a transformer with attention, with several seeds.

    python -m mml_book.results worth

It trains on the 1% and on the 10% split of CIFAR-10 and tests on the first 1,017 test images: about two hours on
two CPU cores, and 9 GB of checkpoints in `runs/`. Runs that are complete there are loaded, and the table is written
after each one.
"""

import dataclasses

import pandas as pd

from mml.data import load_cifar10
from mml.files import replacing
from mml.models import (
    attention_vision_transformer,
    float_vision_transformer,
    vision_transformer,
)
from mml.training import TrainingConfig, train
from mml_book.results.table import provenance

SEEDS = {0.01: range(8), 0.1: range(3)}
TEST_IMAGES = 1017
MODELS = {
    "ternary": vision_transformer,
    "float": float_vision_transformer,
    "attention": attention_vision_transformer,
}


def main(path):
    test = load_cifar10(TEST_IMAGES / 10_000, "cifar10")
    rows = []
    for split, seeds in SEEDS.items():
        data = load_cifar10(split, "cifar10")
        for seed in seeds:
            for name, build in MODELS.items():
                config = dataclasses.replace(TrainingConfig(), seed=seed)
                run = train(data, config, verbose=0, build=build)
                result = run.model.evaluate(
                    test.x_test, test.y_test, batch_size=TEST_IMAGES, verbose=0, return_dict=True
                )
                rows.append(
                    {
                        "split": split,
                        "seed": seed,
                        "model": name,
                        "test_images": TEST_IMAGES,
                        "accuracy": round(result["acc"], 4),
                        "top_5_accuracy": round(result["top_5_acc"], 4),
                        "val_accuracy": round(float(run.history["val_acc"].max()), 4),
                        "train_accuracy": round(float(run.history["acc"].iloc[-1]), 4),
                        **provenance(data),
                    }
                )
                print(
                    {key: rows[-1][key] for key in ("split", "seed", "model", "accuracy", "val_accuracy")}, flush=True
                )
                with replacing(path) as partial:
                    pd.DataFrame(rows).to_csv(partial, index=False)
