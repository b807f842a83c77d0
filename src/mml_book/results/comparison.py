"""Compare the ternary model made for images with float models of equal size, each with its own tuned learning rate.

    python -m mml_book.results comparison_tuning comparison comparison_full

The first table is the tuning. Each model gets the same seven trials: four learning rates for Muon and three for
AdamW, a factor of three apart. A trial trains on the first 4,500 images for 15 epochs. It is judged on the last
10,000 training images of CIFAR-10, which it does not train on.

The second table is the comparison. It trains each model with its best optimizer and learning rate, on the 10% split,
for the epochs of `mml.training.RECIPES[0.1]`, with five seeds. Attention and the convolution, which take longest to
train and differ most from the ternary model, get three. Each run is tested on the first 1,017 test images,
with its kernels as they are and rounded to bfloat16 and to 8 bits. Its row says which images it classifies correctly,
for paired comparisons over images. All models share everything else: images, batches, schedule, weight decay, label
smoothing, and augmentation.

The third table has a single row. The float twin trains on all 50,000 training images with the recipe of the preset,
which is the ternary model. Both are tested on all 10,000 test images.

The models:

- `ternary`: `mml.models.vision_mlgru`.
- `float`: its twin `mml.models.float_vision_mlgru`, in which nothing is rounded.
- `narrow float`: the float twin with half of all widths. With its kernels rounded to 8 bits, it takes about as many
  bytes as the packed ternary model.
- `attention`: the twin with each of its blocks replaced by a pre-norm transformer block with attention, and with
  learned positions, without which attention cannot tell where a token is.
- `convolution`: a plain convolutional network. Its kernels are stored as matrices, because Keras's Muon leaves
  kernels with four axes to Adam.
- `narrow convolution`: the same with half as many filters, for the same reason as `narrow float`.
- `linear`: a linear classifier of pixels.

All but the narrow models and `linear` have about the same number of weights.
"""

import dataclasses
import functools
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pandas as pd
from keras import layers, ops

from mml.data import load_cifar10
from mml.models import float_vision_mlgru, vision_mlgru
from mml.models.augmentation import random_layers
from mml.presets import from_preset
from mml.training import RECIPES
from mml_book.results import image_model, preset, search
from mml_book.results.table import TrainedRows

TEST_IMAGES = 1017
HEADS = 4
RECIPE = RECIPES[0.1]
TRIALS: list[dict[str, Any]] = [
    *({"optimizer": "muon", "learning_rate": rate} for rate in (1e-3, 3e-3, 1e-2, 3e-2)),
    *({"optimizer": "adamw", "learning_rate": rate} for rate in (1e-3, 3e-3, 9e-3)),
]


# === Models ===


def narrow_float(config, images=None):
    """Build the float twin with half of all widths."""
    widths = {name: getattr(config, name) // 2 for name in ("stem_units", "embedding_dim", "ffn_dim")}
    return float_vision_mlgru(dataclasses.replace(config, **widths), images)


def attention(config, images=None):
    """Build the float twin with learned positions, and with pre-norm transformer blocks instead of its own.

    The widths of the heads add up to the width of a token. The feed-forward network has two matrices and the twin's
    has three. It is 1.5 times as wide, so both have the same number of weights.
    """
    model = image_model.with_positions(config, images, quantization="float")
    return search.with_other_blocks(model, _attention_block)


def _attention_block(x, block):
    (tokens, width), name = x.shape[1:], block.name
    normalized = layers.LayerNormalization(name=f"{name}_norm_1")(x)
    # Three kernels with two axes each: Muon takes no others, and it should orthogonalize them separately.
    queries, keys, values = (
        ops.reshape(
            layers.Dense(width, name=f"{name}_{role}")(normalized), (-1, tokens, HEADS, width // HEADS)
        )  # [B, N, heads, D/heads]
        for role in ("query", "key", "value")
    )
    attended = ops.reshape(ops.dot_product_attention(queries, keys, values), (-1, tokens, width))
    x = x + layers.Dense(width, name=f"{name}_output")(attended)  # [B, N, D]
    normalized = layers.LayerNormalization(name=f"{name}_norm_2")(x)
    hidden = layers.Dense(block.ffn_dim * 3 // 2, "gelu", name=f"{name}_up")(normalized)
    return x + layers.Dense(width, name=f"{name}_down")(hidden)  # [B, N, D]


class _Convolution(layers.Layer):
    """A 3×3 convolution without bias, whose kernel is a matrix [9 * channels, filters]."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        self.kernel = self.add_weight((9 * input_shape[-1], self.filters), initializer="he_normal", name="kernel")

    def call(self, x):
        kernel = ops.reshape(self.kernel, (3, 3, x.shape[-1], self.filters))
        return ops.conv(x, kernel, padding="same", data_format="channels_last")

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def convolution(config, images=None, stages=((32,), (64, 64), (128, 128), (280,))):
    """Build a network of six convolutions, whose filters about double with each halving of the image.

    It has about as many weights as the twin, and takes fewer multiplications.
    """
    model = _front(config, images)
    for stage, stage_filters in enumerate(stages):
        if stage:
            model.add(layers.MaxPooling2D())
        for filters in stage_filters:
            model.add(_Convolution(filters))
            model.add(layers.BatchNormalization())
            model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(config.num_classes, name="head"))
    return model


def narrow_convolution(config, images=None):
    """Build the convolutional network with half as many filters."""
    return convolution(config, images, ((16,), (32, 32), (64, 64), (140,)))


def linear(config, images=None):
    """Build a linear classifier of pixels."""
    model = _front(config, images)
    model.add(layers.Flatten())
    model.add(layers.Dense(config.num_classes, name="head"))
    return model


def _front(config, images):
    normalization = layers.Normalization()
    model = keras.Sequential([keras.Input(config.input_shape), normalization, *random_layers(config.augmentation)])
    if images is not None:
        normalization.adapt(images)
    return model


MODELS = {
    "ternary": vision_mlgru,
    "float": float_vision_mlgru,
    "narrow float": narrow_float,
    "attention": attention,
    "convolution": convolution,
    "narrow convolution": narrow_convolution,
    "linear": linear,
}
SEEDS = {name: range(3 if name in ("attention", "convolution") else 5) for name in MODELS}


# === Kernels rounded after training ===


def to_bfloat16(kernel):
    """Round a kernel to bfloat16."""
    return kernel.astype(ml_dtypes.bfloat16).astype("float32")


def to_int8(kernel):
    """Round a kernel to 8 bits, with a scale for each output: its largest absolute value is 127 steps."""
    scale = np.max(np.abs(kernel), axis=tuple(range(kernel.ndim - 1)), keepdims=True) / 127
    return np.round(kernel / np.where(scale > 0, scale, 1)) * scale


ROUNDINGS = {"": lambda kernel: kernel, "bfloat16_": to_bfloat16, "int8_": to_int8}


def rounded_kernels(weights, rounding):
    """Return the values of weights, with each kernel rounded."""
    values = ((weight.path, ops.convert_to_numpy(weight)) for weight in weights)
    return [rounding(value) if path.endswith("/kernel") else value for path, value in values]


# === Runs ===


def scores_on_test_images(model, data):
    """Return the accuracies of a model on the test images, and which of them it classifies correctly."""
    logits = model.predict(data.x_test, batch_size=TEST_IMAGES, verbose=0)
    hits, top_5_hits = (np.asarray(ops.in_top_k(data.y_test[:, 0], logits, k)) for k in (1, 5))
    return {
        "accuracy": float(np.mean(hits)),
        "top_5_accuracy": float(np.mean(top_5_hits)),
        "correct": to_hex(hits),
    }


def to_hex(correct):
    """Return booleans as hexadecimal digits, four to a digit. The `0x` keeps pandas from reading a number."""
    return "0x" + np.packbits(correct).tobytes().hex()


def from_hex(text, count):
    """Return the first `count` booleans that `to_hex` wrote."""
    packed = np.frombuffer(bytes.fromhex(text.removeprefix("0x")), "uint8")
    return np.unpackbits(packed, count=count).astype(bool)


def tuning(path):
    """Write the table of trials."""
    training, score = search.judged_by_validation()
    table = TrainedRows(path, score)
    for name, build in MODELS.items():
        for changes in TRIALS:
            config = dataclasses.replace(
                RECIPE, epochs=search.EPOCHS[search.FEW], validation_split=0, seed=0, **changes
            )
            table.add({"model": name, **changes}, config, training, build)


def best_changes(path):
    """Return the optimizer and the learning rate with the best validation accuracy, for each model."""
    trials = pd.read_csv(path)
    expected = len(TRIALS) * len(MODELS)
    if len(trials) != expected:
        raise ValueError(f"The table {path} must hold {expected} trials. Received: {len(trials)} rows")
    best = trials.loc[trials.groupby("model")["val_accuracy"].idxmax()].set_index("model")
    return best[["optimizer", "learning_rate"]].to_dict("index")


def main(path):
    """Write the table of the tuned models."""
    changes = best_changes(path.with_name("comparison_tuning.csv"))
    test = load_cifar10(TEST_IMAGES / 10_000, "cifar10")

    def score(model):
        scores: dict[str, Any] = {}
        # Not a clone: its `Normalization` would not know what the training images look like.
        forms = {form: rounded_kernels(model.weights, rounding) for form, rounding in ROUNDINGS.items()}
        for form, weights in forms.items():
            model.set_weights(weights)
            scores |= {form + column: value for column, value in scores_on_test_images(model, test).items()}
        return scores

    table = TrainedRows(path, score, test_images=TEST_IMAGES)
    data = functools.partial(load_cifar10, 0.1, "cifar10")
    for seed in SEEDS["ternary"]:
        for name, build in MODELS.items():
            if seed in SEEDS[name]:
                config = dataclasses.replace(RECIPE, seed=seed, **changes[name])
                table.add({"model": name, "seed": seed}, config, data, build)


def full(path):
    """Write the table of the float twin that trained on all images, with the preset's results beside its own."""
    changes = best_changes(path.with_name("comparison_tuning.csv"))
    data = functools.cache(functools.partial(load_cifar10, 1.0, "cifar10"))  # not loaded if the row is current

    def score(model):
        ternary = scores_on_test_images(from_preset(preset.NAME), data())
        ternary = {f"ternary_{column}": value for column, value in ternary.items()}
        return scores_on_test_images(model, data()) | ternary

    config = dataclasses.replace(preset.CONFIG, **changes["float"])
    table = TrainedRows(path, score, test_images=preset.TEST_IMAGES[-1])
    table.add({"model": "float", "seed": config.seed}, config, data, float_vision_mlgru)
