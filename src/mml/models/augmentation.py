"""Settings for data augmentation, and the layers at the start of a model that apply it."""

import dataclasses
from typing import Any

import keras
import numpy as np

from mml.layers import RandomErasing, RandomFlip, RandomRotation, RandomTranslation, RandomZoom
from mml.validation import fraction, positive_integers, share


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Settings for data augmentation in training. By default, it only mirrors half of the images.

    Args:
        flip: Whether to mirror half of the images, left to right.
        rotation: Largest angle, as a fraction of a full turn (see `mml.layers.RandomRotation`).
        zoom: Largest relative change of the height and the width (see `mml.layers.RandomZoom`).
        translation: Largest shift, as a fraction of the height and the width (see `mml.layers.RandomTranslation`).
        erasing: Fraction of each image that is replaced by the mean color (see `mml.layers.RandomErasing`).

    Raises:
        ValueError: If `flip` is not a `bool`, if another argument is not a number from 0 to 1, or if `zoom` is 1.

    Example:

    >>> from mml.models import Augmentation
    >>> Augmentation(translation=1 / 8, erasing=1 / 16)
    Augmentation(flip=True, rotation=0.0, zoom=0.0, translation=0.125, erasing=0.0625)
    """

    flip: bool = True
    rotation: float = 0.0
    zoom: float = 0.0
    translation: float = 0.0
    erasing: float = 0.0

    def __post_init__(self):
        if not isinstance(self.flip, (bool, np.bool_)):
            raise ValueError(f"`flip` must be a `bool`. Received: flip={self.flip!r}")
        object.__setattr__(self, "flip", bool(self.flip))
        for name in ("rotation", "translation", "erasing"):
            object.__setattr__(self, name, share(name, getattr(self, name)))
        object.__setattr__(self, "zoom", fraction("zoom", self.zoom))


def random_layers(augmentation: Augmentation) -> list[keras.layers.Layer]:
    """Return the layers that vary normalized images as specified by an `Augmentation`.

    Args:
        augmentation: An `Augmentation`.

    Returns:
        A list of layers, from `[batch, height, width, channels]` to the same shape.

    Example:

    >>> from mml.models import Augmentation
    >>> from mml.models.augmentation import random_layers
    >>> [layer.name for layer in random_layers(Augmentation(erasing=1 / 16))]
    ['random_flip', 'random_erasing']
    """
    rotation, zoom, translation = augmentation.rotation, augmentation.zoom, augmentation.translation
    shared = {"data_format": "channels_last"}  # whatever the default of Keras is
    layers: list[keras.layers.Layer] = []
    if augmentation.flip:
        layers.append(RandomFlip("horizontal", name="random_flip", **shared))
    if rotation:
        layers.append(RandomRotation(rotation, name="random_rotation", **shared))
    if zoom:
        layers.append(RandomZoom(zoom, zoom, name="random_zoom", **shared))
    if translation:
        layers.append(RandomTranslation(translation, translation, name="random_translation", **shared))
    if augmentation.erasing:
        scale = (augmentation.erasing, augmentation.erasing)
        # The images are normalized, so 0 is the mean color.
        layers.append(RandomErasing((1, 1), scale=scale, fill_value=0, name="random_erasing", **shared))
    return layers


def adapt(normalization: keras.layers.Normalization, images: np.ndarray, channels: int) -> None:
    """Take the mean and the variance of each channel from images.

    Args:
        normalization: The layer that stores them.
        images: Training images `[batch, height, width, channels]`.
        channels: Number of channels that the model takes.

    Raises:
        ValueError: If `images` is empty or has another shape.

    Example:

    >>> import keras, numpy as np
    >>> from mml.models.augmentation import adapt
    >>> normalization = keras.layers.Normalization()
    >>> adapt(normalization, np.arange(24.0).reshape(2, 2, 2, 3), channels=3)
    >>> print(np.asarray(normalization.mean).ravel())
    [10.5 11.5 12.5]
    """
    shape = np.shape(images)
    if len(shape) != 4 or shape[0] == 0 or shape[-1] != channels:
        raise ValueError(
            f"`images` must have the shape [batch, height, width, {channels}] and hold at least one image. "
            f"Received: images.shape={tuple(shape)}"
        )
    normalization.adapt(images)


def image_shape(name: str, value: Any) -> tuple[int, int, int]:
    """Return `value` as the shape of an image, or raise an error that names the argument.

    Args:
        name: Name of the argument.
        value: What was passed for it: height, width, and channels.

    Returns:
        A tuple of three positive integers.

    Raises:
        ValueError: If `value` is not such a tuple.

    Example:

    >>> from mml.models.augmentation import image_shape
    >>> image_shape("input_shape", [32, 32, 3])
    (32, 32, 3)
    """
    expected = "a tuple of three positive integers: height, width, and channels"
    height, width, channels = positive_integers(name, value, expected, 3)
    return height, width, channels
