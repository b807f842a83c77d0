"""Train a tiny run in a process that may kill itself: `python killed_run.py DIRECTORY [WHERE FILE COUNT]`.

WHERE is `before` or `after` (FILE is moved into place for the COUNT-th time) or `half` (half of it is written).
"""

import os
import signal
import sys

os.environ["KERAS_BACKEND"] = "jax"

import keras

from mml.data import load_cifar10
from mml.models import VisionTransformerConfig
from mml.training import TrainingConfig, train

CONFIG = TrainingConfig(
    VisionTransformerConfig(
        image_size=8, patch_size=4, projection_dim=4, transformer_layers=1, num_heads=2, head_units=(4,)
    ),
    epochs=4,
    batch_size=20,
    seed=7,
)


def tiny_data():
    return load_cifar10(0.001, "digits")  # 45 images to train on: three steps, the last of five images


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(where, file, count):
    name = f"{file}.weights.h5"
    replace, save_weights = os.replace, keras.Model.save_weights
    seen = 0

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


if __name__ == "__main__":
    if sys.argv[2:]:
        arm(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    train(tiny_data(), CONFIG, sys.argv[1], verbose=0)
