"""Train the book's model with several seeds, to see how much of a result is luck.

    python -m mml_book.results seeds

Each run takes about half a minute on two CPU cores. It trains on the 1% demo split of CIFAR-10, and is tested on the
first 100 and on the first 1,017 test images.
"""

import dataclasses
import functools

import numpy as np
from keras import ops

from mml.data import load_cifar10
from mml.training import TrainingConfig
from mml_book.results.table import TrainedRows

SEEDS = range(8)
TEST_IMAGES = (100, 1017)


def main(path):
    """Write the table."""
    test = load_cifar10(max(TEST_IMAGES) / 10_000, "cifar10")

    def score(model):
        logits = model.predict(test.x_test, batch_size=max(TEST_IMAGES), verbose=0)
        hits = np.array(ops.in_top_k(test.y_test[:, 0], logits, 1))
        return {f"accuracy_{images}": float(np.mean(hits[:images])) for images in TEST_IMAGES}

    table = TrainedRows(path, score)
    for seed in SEEDS:
        config = dataclasses.replace(TrainingConfig(), seed=seed)
        table.add({"seed": seed}, config, functools.partial(load_cifar10, 0.01, "cifar10"))
