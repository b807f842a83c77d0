"""The recipe: what determines a run, and the optimizer, loss and metrics that follow from it."""

import dataclasses
import math
import numbers
import operator

import keras
import numpy as np

from mml.models import VisionTransformerConfig
from mml.validation import positive_integer


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What determines a training run, apart from the data. The defaults are the book's recipe.

    Args:
        model: The model's `VisionTransformerConfig`.
        epochs: Passes over the training images.
        batch_size: Images in a step.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decay of the weights, per step and unit of learning rate.
        validation_split: Fraction of the training images, taken from their end, that is kept for validation; at
            least 0 and below 1. With 0, all images are trained on and none validates.
        seed: Seed of initial weights, shuffling, augmentation and dropout; an integer from 0 to 4,294,967,295.

    NumPy's numbers become Python's, so that equal configurations describe the same run.

    Raises:
        ValueError: If a value is out of its range.

    Example:

    >>> from mml.training import TrainingConfig
    >>> TrainingConfig(epochs=20).learning_rate
    0.001

    Reference:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, arXiv:1711.05101, algorithm 2.
    """

    model: VisionTransformerConfig = VisionTransformerConfig()
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    validation_split: float = 0.1
    seed: int = 42

    def __post_init__(self):
        if not isinstance(self.model, VisionTransformerConfig):
            raise ValueError(f"`model` must be a `VisionTransformerConfig`. Received: model={self.model!r}")
        checked = {
            "epochs": positive_integer("epochs", self.epochs),
            "batch_size": positive_integer("batch_size", self.batch_size),
            "learning_rate": _number("learning_rate", self.learning_rate, "positive", lambda rate: rate > 0),
            "weight_decay": _number("weight_decay", self.weight_decay, "at least 0", lambda decay: decay >= 0),
            "validation_split": _number(
                "validation_split", self.validation_split, "at least 0 and below 1", lambda split: 0 <= split < 1
            ),
            "seed": _seed(self.seed),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def _number(name, value, requirement, holds):
    number = float(str(value)) if isinstance(value, np.floating) else value  # np.float32(0.1) means 0.1
    if isinstance(number, bool) or not isinstance(number, numbers.Real) or not math.isfinite(number):
        number = math.nan
    if not holds(number):
        raise ValueError(f"`{name}` must be a number, {requirement}. Received: {name}={value!r}")
    return float(number)


def _seed(value):
    try:
        seed = operator.index(value)
    except TypeError:
        seed = -1
    if isinstance(value, bool) or not 0 <= seed < 2**32:  # what NumPy's global generator takes
        raise ValueError(f"`seed` must be an integer from 0 to {2**32 - 1:,}. Received: seed={value!r}")
    return seed


def compile_model(model: keras.Model, config: TrainingConfig = TrainingConfig()) -> None:
    """Compile a classifier with the book's optimizer, loss and metrics.

    The metrics `loss`, `acc` and `top_5_acc` are means over the images, weighted by their sample weights if there are
    any. For the loss itself Keras reports the mean over the batches, each weighted by its size, and that size
    includes images of weight 0. A metric of the same name replaces that number: the cross-entropy per image, without
    penalties that layers may add. `model.evaluate` without `return_dict=True` lists it twice, first and last.

    Args:
        model: A Keras model whose outputs are logits, `[images, classes]`.
        config: A `TrainingConfig`.

    Example:

    >>> import keras
    >>> from mml.training import compile_model
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    >>> compile_model(model)
    >>> type(model.optimizer).__name__
    'AdamW'
    """
    # Unlike the metric of that name, a loss converts logits of lower precision to float32.
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    model.compile(
        optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight"),
        weighted_metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="acc"),
            keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5_acc"),
            keras.metrics.MeanMetricWrapper(cross_entropy, name="loss"),
        ],
    )
