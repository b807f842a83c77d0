"""Search for a good recipe of the model made for images, in the open: each trial is a row of a table.

    python -m mml_book.results search

Each trial trains on the first 4,500 images for 15 epochs, about two minutes on two CPU cores, and is judged
on the last 10,000 training images of CIFAR-10, which it does not train on. No test image is looked at. The standard
error of an accuracy near 60 % is 0.5 points, and two runs that differ in nothing but their seed differ by about as
much again.

The rows so far are those of a block whose feed-forward network was two ternary products with a squared ReLU between
them. The block has a SwiGLU now.
"""

import dataclasses
import json

from mml.data import load_cifar10
from mml.models import Augmentation, float_vision_mlgru, vision_mlgru
from mml.training import RECIPES
from mml_book.results.table import TrainedRows

TRAINING_IMAGES, VALIDATION_IMAGES = 4_500, 10_000
EPOCHS = 15
BASE = dataclasses.replace(RECIPES[0.1], epochs=EPOCHS, validation_split=0, seed=0)
BUILD = {"ternary": vision_mlgru, "float": float_vision_mlgru}
# What each trial changes in the base: fields of the recipe, and of its model.
TRIALS: list[dict] = [
    {},
    {"seed": 1},
    {"seed": 2},
    {"learning_rate": 5e-3},
    {"learning_rate": 2e-2},
    {"optimizer": "adamw", "learning_rate": 4e-3},
    {"optimizer": "adamw", "learning_rate": 8e-3},
    {"weight_decay": 0.0},
    {"weight_decay": 0.2},
    {"label_smoothing": 0.0},
    {"batch_size": 32},
    {"stem_units": 48, "embedding_dim": 96, "ffn_dim": 144},
    {"num_blocks": 6},
    {"ffn_dim": 384},
    {"merge_size": 3},
    {"augmentation": {"translation": 1 / 8, "erasing": 1 / 4}},
    {"augmentation": {"translation": 1 / 8, "erasing": 1 / 16, "zoom": 0.2, "rotation": 0.02}},
    {"state": "float", "learning_rate": 5e-3},
    {"state": "float", "learning_rate": 1e-2},
]


def main(path):
    """Write the table."""
    data, score = judged_by_validation()
    table = TrainedRows(path, score)
    for trial in TRIALS:
        config, state = configuration(trial)
        table.add({"changes": json.dumps(trial, sort_keys=True)}, config, lambda: data, BUILD[state])


def judged_by_validation():
    """Return the images of a trial to train on, and the function that scores a model by the validation images."""
    data = load_cifar10(1.0, "cifar10")
    validation = data.x_train[-VALIDATION_IMAGES:], data.y_train[-VALIDATION_IMAGES:]
    data = dataclasses.replace(data, x_train=data.x_train[:TRAINING_IMAGES], y_train=data.y_train[:TRAINING_IMAGES])

    def score(model):
        result = model.evaluate(*validation, batch_size=500, verbose=0, return_dict=True)
        return {"val_accuracy": result["acc"], "val_loss": result["loss"]}

    return data, score


def configuration(trial):
    """Return the recipe of a trial, and the state of the ternary layers."""
    changes = dict(trial)
    state = changes.pop("state", "ternary")
    model = {name: changes.pop(name) for name in list(changes) if hasattr(BASE.model, name)}
    if "augmentation" in model:
        model["augmentation"] = Augmentation(**model["augmentation"])
    return dataclasses.replace(BASE, model=dataclasses.replace(BASE.model, **model), **changes), state
