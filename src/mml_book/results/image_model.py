"""Train the model made for images with several seeds, and with one part removed or added at a time.

    python -m mml_book.results image_model_accuracy image_model_ablation

The first table follows `mml.training.RECIPES[0.01]` on the 1% split, with ten seeds. This takes about ten minutes on
two CPU cores. The table `comparison` holds the runs on the 10% split.

The second table is an ablation. It trains on the 10% split for half the epochs, with three seeds per variant. Three
variants lack one part of the model, and two have a part that the model does without. The last three replace the
model, the recipe, or both with those of chapters 1 to 6, which the table calls "seed's". This takes about three and a
half hours. Half of that goes to the seed's model with Muon, which has to orthogonalize a kernel of 9,216 × 1,024.

Each run is tested once, on the first 1,017 test images.
"""

import dataclasses
import functools

import keras

from mml.data import load_cifar10
from mml.layers import PatchEmbedding, VisionBlockMML
from mml.layers.grid_scan_mml import DIRECTIONS
from mml.models import VisionTransformerConfig, vision_mlgru
from mml.training import RECIPES, TrainingConfig
from mml_book.results.table import TrainedRows

TEST_IMAGES = 1017
SEEDS = range(10)
ABLATION_SEEDS = range(3)
WHOLE = dataclasses.replace(RECIPES[0.1], epochs=RECIPES[0.1].epochs // 2)


# === Models without one of their parts ===


class _BlockWithoutShift(VisionBlockMML):
    def call(self, inputs, mask=None):
        x = inputs + self.mixer(inputs, mask=mask)
        return x + self.ffn(x)


def without_shift(config, images):
    """Build the model without the token shift."""
    return _exchanged(config, images, VisionBlockMML, _BlockWithoutShift)


def with_positions(config, images=None, quantization="ternary"):
    """Build the model with a learned vector for each position, which is added to its token."""
    return _exchanged(config, images, PatchEmbedding, PatchEmbedding, quantization, with_positions=True)


def without_pooling(config, images):
    """Build the model with a classifier that reads all tokens, concatenated, instead of their mean."""
    return _exchanged(config, images, keras.layers.GlobalAveragePooling1D, keras.layers.Flatten)


def _exchanged(config, images, old, new, quantization="ternary", **changes):
    """Build the model with all layers of class `old` replaced by layers of class `new`."""

    def exchange(layer):
        if isinstance(layer, keras.layers.Normalization):
            return layer  # adapted to the images
        if type(layer) is not old:
            return type(layer).from_config(layer.get_config())
        kept = {"name": layer.name} if new is keras.layers.Flatten else layer.get_config()
        return new.from_config(kept | changes)

    return keras.models.clone_model(vision_mlgru(config, images, quantization), clone_function=exchange)


def _model(**changes):
    return dataclasses.replace(WHOLE, model=dataclasses.replace(WHOLE.model, **changes))


SEED = TrainingConfig()
# The recipe of each variant, and the function that builds the model, or None for the default one.
VARIANTS = {
    "whole": (WHOLE, None),
    "without overlap": (_model(patch_size=2, merge_size=2), None),
    "without token shift": (WHOLE, without_shift),
    "without pooling": (WHOLE, without_pooling),
    "positions": (WHOLE, with_positions),
    "four directions": (_model(directions=DIRECTIONS), None),
    "new model, seed's recipe": (
        dataclasses.replace(
            SEED,
            epochs=WHOLE.epochs,
            model=dataclasses.replace(WHOLE.model, augmentation=SEED.model.augmentation),
        ),
        None,
    ),
    "seed's model, new recipe": (
        dataclasses.replace(WHOLE, model=VisionTransformerConfig(augmentation=WHOLE.model.augmentation)),
        None,
    ),
    "seed's model, seed's recipe": (dataclasses.replace(SEED, epochs=WHOLE.epochs), None),
}


# === Runs ===


def accuracy(path):
    table = _table(path)
    for seed in SEEDS:
        config = dataclasses.replace(RECIPES[0.01], seed=seed)
        table.add({"seed": seed}, config, functools.partial(load_cifar10, 0.01, "cifar10"))


def ablation(path):
    table = _table(path)
    for seed in ABLATION_SEEDS:
        for variant, (recipe, build) in VARIANTS.items():
            config = dataclasses.replace(recipe, seed=seed)
            data = functools.partial(load_cifar10, 0.1, "cifar10")
            table.add({"variant": variant, "seed": seed}, config, data, build)


def _table(path):
    test = load_cifar10(TEST_IMAGES / 10_000, "cifar10")

    def score(model):
        result = model.evaluate(test.x_test, test.y_test, batch_size=TEST_IMAGES, verbose=0, return_dict=True)
        return {"accuracy": result["acc"], "top_5_accuracy": result["top_5_acc"]}

    return TrainedRows(path, score, test_images=TEST_IMAGES)
