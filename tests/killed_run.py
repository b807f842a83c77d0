"""A tiny run, in a process that may kill itself."""

import os
import signal

import keras

from mml.data import load_cifar10
from mml.models import Augmentation, VisionMLGRUConfig, VisionTransformerConfig
from mml.training import TrainingConfig, train

CONFIG = TrainingConfig(
    VisionTransformerConfig(
        image_size=8, patch_size=4, projection_dim=4, transformer_layers=1, num_heads=2, head_units=(4,)
    ),
    epochs=4,
    batch_size=20,
    seed=7,
)
# Every part of the recipe that goes with the model made for images. Weight decay ends within the third epoch.
MLGRU = TrainingConfig(
    VisionMLGRUConfig(
        stem_units=4,
        embedding_dim=8,
        ffn_dim=8,
        num_blocks=2,
        augmentation=Augmentation(translation=1 / 8, erasing=1 / 16),
    ),
    epochs=4,
    batch_size=20,
    learning_rate=1e-2,
    weight_decay=0.05,
    seed=7,
    optimizer="muon",
    schedule="cosine",
    warmup=0.3,
    decay_until=0.6,
    label_smoothing=0.1,
    keep="last",
)


def tiny_data():
    return load_cifar10(0.001, "digits")  # 45 images to train on: three steps, the last of five images


def linear_model(config, images):
    """A model that compiles fast."""
    return keras.Sequential(
        [keras.Input(config.input_shape), keras.layers.Flatten(), keras.layers.Dense(config.num_classes)]
    )


def arm(where, name, count, by=signal.SIGKILL):
    """Kill this process at the count-th time that it writes a file.

    Args:
        where: `before` or `after` the file is moved into place, or when `half` of it is written.
        name: The file's name.
        count: Which time, counted from 1.
        by: The signal.
    """
    replace, save_weights = os.replace, keras.Model.save_weights
    seen = 0

    def die():
        signal.raise_signal(by)

    def counted(path):
        nonlocal seen
        seen += os.path.basename(path) == name
        return seen == count and os.path.basename(path) == name

    def killing_replace(source, target):
        due = where != "half" and counted(target)
        if due and where == "before":
            die()
        replace(source, target)
        if due:
            die()

    def killing_save(model, filepath, **kwargs):
        save_weights(model, filepath, **kwargs)
        if where == "half" and counted(str(filepath).replace("partial.", "")):
            os.truncate(filepath, os.path.getsize(filepath) // 2)
            die()

    os.replace, keras.Model.save_weights = killing_replace, killing_save


def train_tiny(directory, *killing, config=CONFIG):
    """Train in `directory`, and die as `arm(*killing)` says."""
    if killing:
        arm(*killing)
    train(tiny_data(), config, directory, verbose=0)
