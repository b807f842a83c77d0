"""The recipe: the configuration of a run, and the optimizer, loss, and metrics that follow from it."""

import dataclasses
import operator
import re

import keras
from keras import ops

from mml.models import VisionMLGRUConfig, VisionTransformerConfig
from mml.training.optimizers import AdamW, Muon
from mml.validation import fraction, number, one_of, positive_integer, share


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Configuration of a training run, apart from the data. The defaults are those of chapter 5.

    Args:
        model: The model's configuration, a `VisionTransformerConfig` or a `VisionMLGRUConfig`.
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: Learning rate of the optimizer. With a `"cosine"` schedule, the highest one.
        weight_decay: Each step shrinks a weight by the fraction `weight_decay * learning_rate`. See `optimizer` for
            the weights that decay.
        validation_split: Fraction of the training images, taken from their end, that is held out for validation; at
            least 0 and below 1. With 0, all images are used for training and none for validation.
        seed: Seed of initial weights, shuffling, augmentation, and dropout; an integer from 0 to 4,294,967,295.
        optimizer: `"adamw"` or `"muon"`. With a constant rate and weight decay to the end, AdamW is Keras's, as in
            chapter 5: all weights decay. In all other cases, gains and biases do not decay, and AdamW has a
            `beta_2` of 0.95 and clips gradients to a norm of 1. Muon updates the kernels of dense layers. Adam
            updates all other weights: those of the last layer and of embeddings (`PatchEmbedding` included), gains,
            biases, and kernels with more than two axes.
        schedule: `"constant"`, or `"cosine"` for a learning rate that falls to 0 over the run.
        warmup: Fraction of the steps in which a `"cosine"` rate rises from 0; at least 0 and below 1.
        decay_until: Fraction of the steps after which weight decay ends; above 0 and at most 1.
        label_smoothing: Fraction of the target that is spread over all classes; at least 0 and below 1.
        keep: `"best"` for the weights of the epoch with the best validation accuracy, or `"last"`.

    NumPy numbers become Python numbers, so that equal configurations describe the same run.

    Raises:
        ValueError: If a value is out of its range, or if a constant rate has a warm-up.

    Example:

    >>> from mml.training import TrainingConfig
    >>> TrainingConfig(epochs=20).learning_rate
    0.001

    Reference:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, arXiv:1711.05101, algorithm 2; Jordan et
        al., "Muon: An optimizer for hidden layers in neural networks", 2024,
        https://kellerjordan.github.io/posts/muon/; Szegedy et al., "Rethinking the Inception Architecture for
        Computer Vision", 2015, arXiv:1512.00567, section 7, on label smoothing.
    """

    model: VisionTransformerConfig | VisionMLGRUConfig = VisionTransformerConfig()
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    validation_split: float = 0.1
    seed: int = 42
    optimizer: str = "adamw"
    schedule: str = "constant"
    warmup: float = 0.0
    decay_until: float = 1.0
    label_smoothing: float = 0.0
    keep: str = "best"

    def __post_init__(self):
        if not isinstance(self.model, (VisionTransformerConfig, VisionMLGRUConfig)):
            raise ValueError(
                "`model` must be a `VisionTransformerConfig` or a `VisionMLGRUConfig`. "
                f"Received: model={self.model!r}"
            )
        checked = {
            "epochs": positive_integer("epochs", self.epochs),
            "batch_size": positive_integer("batch_size", self.batch_size),
            "learning_rate": number("learning_rate", self.learning_rate, "a number above 0", lambda rate: rate > 0),
            "weight_decay": number(
                "weight_decay", self.weight_decay, "a number of at least 0", lambda decay: decay >= 0
            ),
            "validation_split": fraction("validation_split", self.validation_split),
            "seed": _seed(self.seed),
            "optimizer": one_of("optimizer", self.optimizer, ("adamw", "muon")),
            "schedule": one_of("schedule", self.schedule, ("constant", "cosine")),
            "warmup": fraction("warmup", self.warmup),
            "decay_until": number(
                "decay_until", self.decay_until, "a number above 0 and up to 1", lambda end: 0 < end <= 1
            ),
            "label_smoothing": fraction("label_smoothing", self.label_smoothing),
            "keep": one_of("keep", self.keep, ("best", "last")),
        }
        if checked["warmup"] and checked["schedule"] == "constant":
            raise ValueError(
                f"`warmup` must be 0 with schedule='constant', which has no warm-up. Received: warmup={self.warmup!r}"
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def _seed(value):
    try:
        seed = operator.index(value)
    except TypeError:
        seed = -1
    if isinstance(value, bool) or not 0 <= seed < 2**32:  # what NumPy's global generator takes
        raise ValueError(f"`seed` must be an integer from 0 to {2**32 - 1:,}. Received: seed={value!r}")
    return seed


def compile_model(model: keras.Model, config: TrainingConfig = TrainingConfig(), steps: int | None = None) -> None:
    """Compile a classifier with the optimizer, loss, and metrics of a recipe.

    The metrics `loss`, `acc`, and `top_5_acc` are means over the images, weighted by their sample weights if there
    are any. Keras's own `loss` is a mean over batches that also counts images of weight 0. A metric of the same name
    replaces it: the mean cross-entropy per image, without label smoothing and without penalties that layers may add.
    Without `return_dict=True`, `model.evaluate` lists it
    twice, first and last.

    Args:
        model: A Keras model whose outputs are logits, `[images, classes]`.
        config: A `TrainingConfig`.
        steps: Total number of steps in the run. Muon, a schedule, and weight decay that ends need it.

    Raises:
        ValueError: If `steps` is not a positive integer or is missing where it is needed, or if the optimizer is Muon
            and the model is not built or has no weights.

    Example:

    >>> import keras
    >>> from mml.training import compile_model
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    >>> compile_model(model)
    >>> type(model.optimizer).__name__
    'AdamW'
    """
    # Unlike the metric of the same name, the loss converts logits of lower precision to float32.
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    if config.label_smoothing:
        loss = SmoothedCrossentropy(config.label_smoothing, reduction="mean_with_sample_weight")
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(
        optimizer=_optimizer(model, config, steps),
        loss=loss,
        weighted_metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="acc"),
            keras.metrics.SparseTopKCategoricalAccuracy(min(5, config.model.num_classes), name="top_5_acc"),
            keras.metrics.MeanMetricWrapper(cross_entropy, name="loss"),
        ],
    )


def _optimizer(model, config, steps):
    if steps is not None:
        steps = positive_integer("steps", steps)
    if (config.schedule, config.decay_until, config.optimizer) == ("constant", 1.0, "adamw"):
        return keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)
    if steps is None:
        raise ValueError(
            "`steps` must be the number of steps in the run if `config` has optimizer='muon', schedule='cosine', or "
            "`decay_until` below 1. Received: steps=None"
        )
    learning_rate = config.learning_rate
    if config.schedule == "cosine":
        warmup_steps = min(round(config.warmup * steps), steps - 1)
        learning_rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup_steps else config.learning_rate,
            decay_steps=steps - warmup_steps,
            warmup_target=config.learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    shared = {"weight_decay": config.weight_decay, "decay_steps": round(config.decay_until * steps)}
    if config.optimizer == "adamw":
        return AdamW(learning_rate, beta_2=0.95, global_clipnorm=1.0, **shared)
    if not (model.built and model.weights):
        raise ValueError(
            f"`model` must be built and have weights so that Muon knows its last layer. Received: model={model!r}"
        )
    # Muon is for matrices within the model. The classifier at its end and gains with two axes are excluded.
    last = model
    while isinstance(last, keras.Model):
        *_, last = (layer for layer in last.layers if layer.weights)
    # In a model that is loaded from a file, paths begin without the model's name.
    excluded = [f"(^|/){re.escape(last.name)}/", "/(gain|bias)$"]
    return Muon(learning_rate, adam_beta_2=0.95, exclude_layers=excluded, **shared)


@keras.saving.register_keras_serializable(package="mml")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with integer labels, smoothed over all classes.

    Keras's `SparseCategoricalCrossentropy` cannot smooth labels, and its `CategoricalCrossentropy` takes no integers.

    Args:
        label_smoothing: Fraction of the target that is spread over all classes, from 0 to 1.
        **kwargs: As for `keras.losses.Loss`.

    Call arguments:
        y_true: Integer tensor `[images]` or `[images, 1]`.
        y_pred: Float tensor `[images, classes]`, logits.

    Returns:
        Float tensor, reduced as specified by `reduction`.

    Raises:
        ValueError: If `label_smoothing` is not a number from 0 to 1.

    Example:

    >>> import numpy as np
    >>> from mml.training.recipe import SmoothedCrossentropy
    >>> round(float(SmoothedCrossentropy(0.1)(np.array([0]), np.zeros((1, 10), "float32"))), 4)
    2.3026

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv:1512.00567,
        section 7.
    """

    def __init__(self, label_smoothing, **kwargs):
        super().__init__(**kwargs)
        self.label_smoothing = share("label_smoothing", label_smoothing)

    def call(self, y_true, y_pred):
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")  # Keras passes labels as floats
        labels = ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(
            labels, y_pred, from_logits=True, label_smoothing=self.label_smoothing
        )

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


# The recipes of the model made for images, by the split of CIFAR-10. The search that led to them is in
# `mml_book.results.search`.
_VISION_MLGRU = TrainingConfig(
    model=VisionMLGRUConfig(),
    epochs=40,
    batch_size=64,
    learning_rate=1e-2,
    weight_decay=0.05,
    optimizer="muon",
    schedule="cosine",
    warmup=0.05,
    decay_until=0.5,
    label_smoothing=0.1,
    keep="last",
)
RECIPES: dict[float, TrainingConfig] = {
    0.01: dataclasses.replace(_VISION_MLGRU, epochs=32, batch_size=32),
    0.1: _VISION_MLGRU,
    1.0: dataclasses.replace(_VISION_MLGRU, epochs=45),
}
