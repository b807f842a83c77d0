"""Search for a good shape and recipe of the model made for images, in the open: each trial is a row of a table.

    python -m mml_book.results search

Most trials train on the first 4,500 images for 15 epochs, about three minutes on two CPU cores. Two trials are
repeated with the first 40,000 images for 5 epochs, about ten minutes per run, because an addition may pay off only
with more data. Each trial is judged on the last 10,000 training images of CIFAR-10, which it does not train on. No
test image is looked at. The standard error of an accuracy near 60% is 0.5 points, and runs that differ only in their
seed differ by about a point.

Optimizers and learning rates are tried in `comparison_tuning`, for all models alike.
"""

import dataclasses
import functools

import keras
from keras import ops

from mml.activations import squared_relu
from mml.data import load_cifar10
from mml.initializers import Linspace
from mml.layers import DenseMML, GridScanMML, TokenShift, VisionBlockMML
from mml.layers.grid_scan_mml import DIRECTIONS
from mml.models import Augmentation, vision_mlgru
from mml.training import RECIPES
from mml_book.results import image_model
from mml_book.results.table import TrainedRows

VALIDATION_IMAGES = 10_000
FEW, MANY = 4_500, 40_000  # training images
EPOCHS = {FEW: 15, MANY: 5}
BASE = dataclasses.replace(RECIPES[0.1], validation_split=0)
# What each trial changes in the base: fields of the recipe or of its model, or the function that builds the model.
REPEATED = {
    "base": {},
    "all three additions": {"directions": DIRECTIONS, "build": "with_positions_and_spread_biases"},
}
TRIALS: dict[int, dict[str, dict]] = {
    FEW: REPEATED
    | {
        "positions": {"build": "with_positions"},
        "four directions": {"directions": DIRECTIONS},
        "spread forget biases": {"build": "with_spread_biases"},
        "6 blocks instead of 4": {"num_blocks": 6},
        "3/4 of all widths": {"stem_units": 48, "embedding_dim": 96, "ffn_dim": 144},
        "feed-forward networks twice as wide": {"ffn_dim": 384},
        "windows of 3 x 3 patches": {"merge_size": 3},
        "squared ReLU instead of SwiGLU": {"build": "with_squared_relu"},
        "no weight decay": {"weight_decay": 0.0},
        "weight decay of 0.2": {"weight_decay": 0.2},
        "no label smoothing": {"label_smoothing": 0.0},
        "batches of 32": {"batch_size": 32},
        "larger squares erased": {"augmentation": {"translation": 1 / 8, "erasing": 1 / 4}},
        "zoom and rotation as well": {
            "augmentation": {"translation": 1 / 8, "erasing": 1 / 16, "zoom": 0.2, "rotation": 0.02}
        },
    },
    MANY: REPEATED,
}
SEEDS = {FEW: range(3), MANY: range(2)}  # of `REPEATED`; the other trials have one seed


def with_spread_biases(config, images=None):
    """Build the model whose forget biases start evenly spaced from 0 to 3.5."""
    return _spread_biases(vision_mlgru(config, images))


def with_positions_and_spread_biases(config, images=None):
    """Build the model with both additions."""
    return _spread_biases(image_model.with_positions(config, images))


def _spread_biases(model):
    for layer in model.layers:
        if isinstance(layer, VisionBlockMML):
            bias, features = layer.mixer.recurrence.gates.bias, layer.embedding_dim
            bias.assign(ops.concatenate([Linspace(0.0, 3.5)((features,)), bias[features:]]))
    return model


def with_squared_relu(config, images=None):
    """Build the base with two ternary layers and a squared ReLU between them as its feed-forward networks.

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
    x = x + GridScanMML(width, block.grid, block.direction)(shift(x))  # [B, N, D]
    hidden = DenseMML(block.ffn_dim * 3 // 2, squared_relu, per_feature_gain=True)(shift(x))
    return x + DenseMML(width, per_feature_gain=True)(hidden)  # [B, N, D]


BUILD = {
    build.__name__: build
    for build in (
        image_model.with_positions,
        with_spread_biases,
        with_positions_and_spread_biases,
        with_squared_relu,
    )
}


def main(path):
    """Write the table."""
    training, score = judged_by_validation()
    table = TrainedRows(path, score)
    for images, trials in TRIALS.items():
        for name, changes in trials.items():
            for seed in SEEDS[images] if name in REPEATED else (0,):
                config, build = changed(dataclasses.replace(BASE, epochs=EPOCHS[images], seed=seed), changes)
                key = {"trial": name, "images": images, "seed": seed}
                table.add(key, config, functools.partial(training, images), build)


def judged_by_validation():
    """Return a function from a number of images to those to train on, and one that scores a model by validation."""
    data = load_cifar10(1.0, "cifar10")
    validation = data.x_train[-VALIDATION_IMAGES:], data.y_train[-VALIDATION_IMAGES:]

    def training(images=FEW):
        return dataclasses.replace(data, x_train=data.x_train[:images], y_train=data.y_train[:images])

    def score(model):
        result = model.evaluate(*validation, batch_size=500, verbose=0, return_dict=True)
        return {"val_accuracy": result["acc"], "val_loss": result["loss"]}

    return training, score


def changed(recipe, changes):
    """Return a recipe with changes, and the function that builds its model."""
    changes = dict(changes)
    build = BUILD[changes.pop("build")] if "build" in changes else None
    model = {name: changes.pop(name) for name in list(changes) if hasattr(recipe.model, name)}
    if "augmentation" in model:
        model["augmentation"] = Augmentation(**model["augmentation"])
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, **model), **changes), build
