"""Train the book's model with several seeds, to see how much of a result is luck.

    python -m mml_book.results seeds

Each run takes about a minute on two CPU cores. It trains on the 1 % demo split of CIFAR-10, and is tested on the
first 100 and on the first 1,017 test images. Runs that are complete in `runs/` are loaded.
"""

import dataclasses

import pandas as pd

from mml.data import load_cifar10
from mml.files import replacing
from mml.training import TrainingConfig, train
from mml_book.results.table import provenance

SEEDS = range(8)
TEST_IMAGES = (100, 1017)


def main(path):
    data = load_cifar10(0.01, "cifar10")
    test = load_cifar10(max(TEST_IMAGES) / 10_000, "cifar10")
    rows = []
    for seed in SEEDS:
        run = train(data, dataclasses.replace(TrainingConfig(), seed=seed))
        for images in TEST_IMAGES:
            result = run.model.evaluate(
                test.x_test[:images], test.y_test[:images], batch_size=images, verbose=0, return_dict=True
            )
            rows.append(
                {
                    "seed": seed,
                    "test_images": images,
                    "accuracy": round(result["acc"], 4),
                    "top_5_accuracy": round(result["top_5_acc"], 4),
                    "val_accuracy": round(run.history["val_acc"].max(), 4),
                    **provenance(data),
                }
            )
        print(rows[-1])
    with replacing(path) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
