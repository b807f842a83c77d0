"""Search for a good shape and recipe of the model made for images, in the open: each trial is a row of a table.

    python -m mml_book.results search

Most trials train on the first 4,500 images for 15 epochs, about three minutes on two CPU cores. The last ones ask
which parts of the model matter with more data: they train on the first 40,000 images for 5 epochs, about eight
minutes. Each trial is judged on the last 10,000 training images of CIFAR-10, which it does not train on. No test
image is looked at. The standard error of an accuracy near 60 % is 0.5 points, and two runs that differ only in
their seed differ by about as much again.

Optimizers and learning rates are tried in `comparison_tuning`, for all models alike.
"""

import dataclasses
import functools
import json

import keras

from mml.activations import squared_relu
from mml.data import load_cifar10
from mml.layers import DenseMML, GridScanMML, TokenShift, VisionBlockMML
from mml.models import Augmentation, vision_mlgru
from mml.training import RECIPES
from mml_book.results import image_model
from mml_book.results.table import TrainedRows

TRAINING_IMAGES, VALIDATION_IMAGES = 4_500, 10_000
EPOCHS = 15
MORE_DATA = {"images": 40_000, "epochs": 5}
BASE = dataclasses.replace(RECIPES[0.1], epochs=EPOCHS, validation_split=0, seed=0)
# What each trial changes in the base: fields of the recipe, fields of its model, the function that builds the model,
# or the number of training images.
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
    {"build": "with_squared_relu"},
    {"build": "without_spread_biases"},
    {"directions": ("right",)},
    {"directions": ("right",), "build": "without_spread_biases"},
    {"augmentation": {"translation": 1 / 8, "erasing": 1 / 4}},
    {"augmentation": {"translation": 1 / 8, "erasing": 1 / 16, "zoom": 0.2, "rotation": 0.02}},
    MORE_DATA,
    {**MORE_DATA, "seed": 1},
    {**MORE_DATA, "directions": ("right",)},
    {**MORE_DATA, "build": "without_spread_biases"},
    {**MORE_DATA, "directions": ("right",), "build": "without_spread_biases"},
    {**MORE_DATA, "build": "without_positions"},
    {**MORE_DATA, "build": "without_shift"},
]


def with_squared_relu(config, images=None):
    """Build the model with two ternary layers and a squared ReLU between them as its feed-forward networks.

    They are 1.5 times as wide as the networks they replace, which have three matrices. So the number of weights stays
    the same.
    """
    return with_other_blocks(vision_mlgru(config, images), _squared_relu_block)


def with_other_blocks(model, block):
    """Return a model with the layers of `model`, but with `block(x, layer)` instead of each `VisionBlockMML`."""
    x = inputs = keras.Input(model.input_shape[1:])
    for layer in model.layers:
        x = block(x, layer) if isinstance(layer, VisionBlockMML) else layer(x)
    return keras.Model(inputs, x)


def _squared_relu_block(x, block):
    shift, width = TokenShift(block.grid), block.embedding_dim
    x = x + GridScanMML(width, block.grid, block.direction, block.forget_bias_initializer)(shift(x))  # [B, N, D]
    hidden = DenseMML(block.ffn_dim * 3 // 2, squared_relu, per_feature_gain=True)(shift(x))
    return x + DenseMML(width, per_feature_gain=True)(hidden)  # [B, N, D]


BUILD = {
    build.__name__: build
    for build in (
        with_squared_relu,
        image_model.without_spread_biases,
        image_model.without_positions,
        image_model.without_shift,
    )
}


def main(path):
    """Write the table."""
    training, score = judged_by_validation()
    table = TrainedRows(path, score)
    for trial in TRIALS:
        config, build, images = configuration(trial)
        table.add({"changes": json.dumps(trial, sort_keys=True)}, config, functools.partial(training, images), build)


def judged_by_validation():
    """Return a function from a number of images to those to train on, and one that scores a model by validation."""
    data = load_cifar10(1.0, "cifar10")
    validation = data.x_train[-VALIDATION_IMAGES:], data.y_train[-VALIDATION_IMAGES:]

    def training(images=TRAINING_IMAGES):
        return dataclasses.replace(data, x_train=data.x_train[:images], y_train=data.y_train[:images])

    def score(model):
        result = model.evaluate(*validation, batch_size=500, verbose=0, return_dict=True)
        return {"val_accuracy": result["acc"], "val_loss": result["loss"]}

    return training, score


def configuration(trial):
    """Return the recipe of a trial, the function that builds its model, and the number of training images."""
    changes = dict(trial)
    build = BUILD[changes.pop("build")] if "build" in changes else None
    images = changes.pop("images", TRAINING_IMAGES)
    model = {name: changes.pop(name) for name in list(changes) if hasattr(BASE.model, name)}
    if "augmentation" in model:
        model["augmentation"] = Augmentation(**model["augmentation"])
    return dataclasses.replace(BASE, model=dataclasses.replace(BASE.model, **model), **changes), build, images
