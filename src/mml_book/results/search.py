"""Search for a good shape and recipe of the model made for images, in the open: each trial is a row of a table.

    python -m mml_book.results search

Each trial trains on the first 4,500 images for 15 epochs, about three minutes on two CPU cores. It is judged on the
last 10,000 training images of CIFAR-10, which it does not train on. No test image is looked at. The standard error of
an accuracy near 60 % is 0.5 points, and two runs that differ only in their seed differ by about as much again.

Optimizers and learning rates are tried in `comparison_tuning`, for all models alike.
"""

import dataclasses
import json

import keras

from mml.activations import squared_relu
from mml.data import load_cifar10
from mml.layers import DenseMML, GridScanMML, TokenShift, VisionBlockMML
from mml.models import Augmentation, vision_mlgru
from mml.training import RECIPES
from mml_book.results.table import TrainedRows

TRAINING_IMAGES, VALIDATION_IMAGES = 4_500, 10_000
EPOCHS = 15
BASE = dataclasses.replace(RECIPES[0.1], epochs=EPOCHS, validation_split=0, seed=0)
# What each trial changes in the base: fields of the recipe, fields of its model, or the feed-forward network.
TRIALS: list[dict] = [
    {},
    {"seed": 1},
    {"seed": 2},
    {"weight_decay": 0.0},
    {"weight_decay": 0.2},
    {"label_smoothing": 0.0},
    {"batch_size": 32},
    {"stem_units": 48, "embedding_dim": 96, "ffn_dim": 144},
    {"num_blocks": 6},
    {"ffn_dim": 384},
    {"merge_size": 3},
    {"ffn": "squared_relu"},
    {"augmentation": {"translation": 1 / 8, "erasing": 1 / 4}},
    {"augmentation": {"translation": 1 / 8, "erasing": 1 / 16, "zoom": 0.2, "rotation": 0.02}},
]


def with_squared_relu(config, images=None):
    """Build the model with two ternary layers and a squared ReLU between them as its feed-forward networks.

    They are 1.5 times as wide as the networks they replace, which have three matrices. So the number of weights stays
    the same.
    """
    whole = vision_mlgru(config, images)
    x = inputs = keras.Input(config.input_shape)
    for layer in whole.layers:
        x = _squared_relu_block(x, layer) if isinstance(layer, VisionBlockMML) else layer(x)
    return keras.Model(inputs, x)


def _squared_relu_block(x, block):
    shift, width = TokenShift(block.grid), block.embedding_dim
    x = x + GridScanMML(width, block.grid, block.direction, block.forget_bias_initializer)(shift(x))  # [B, N, D]
    hidden = DenseMML(block.ffn_dim * 3 // 2, squared_relu, per_feature_gain=True)(shift(x))
    return x + DenseMML(width, per_feature_gain=True)(hidden)  # [B, N, D]


BUILD = {"swiglu": vision_mlgru, "squared_relu": with_squared_relu}


def main(path):
    """Write the table."""
    data, score = judged_by_validation()
    table = TrainedRows(path, score)
    for trial in TRIALS:
        config, ffn = configuration(trial)
        table.add({"changes": json.dumps(trial, sort_keys=True)}, config, lambda: data, BUILD[ffn])


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
    """Return the recipe of a trial, and the kind of its feed-forward networks."""
    changes = dict(trial)
    ffn = changes.pop("ffn", "swiglu")
    model = {name: changes.pop(name) for name in list(changes) if hasattr(BASE.model, name)}
    if "augmentation" in model:
        model["augmentation"] = Augmentation(**model["augmentation"])
    return dataclasses.replace(BASE, model=dataclasses.replace(BASE.model, **model), **changes), ffn
