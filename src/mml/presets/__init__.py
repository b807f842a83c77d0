"""Trained models that come with the package, by name."""

import dataclasses
import json
from pathlib import Path

import keras

from mml.models import Augmentation, VisionMLGRUConfig, vision_mlgru
from mml.packing import load_packed

FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Preset:
    """Facts about a trained model. `python -m mml_book.results preset` writes them with the model.

    Args:
        name: Name of the model in `from_preset`.
        class_names: Name of each class, in the order of the model's outputs.
        training_data: A sentence that says which images the model was trained on.
        test_data: A sentence that says which images it was tested on.
        test_images: Number of test images.
        accuracy: Fraction of the test images that the packed model classifies correctly.
        top_5_accuracy: Fraction of the test images whose class is among the model's five most probable ones.
        packed_bytes: Size of the packed model's file.
        model: Configuration of the model.

    Example:

    >>> from mml.presets import PRESETS
    >>> PRESETS["cifar10"].class_names[:3]
    ('airplane', 'automobile', 'bird')
    """

    name: str
    class_names: tuple[str, ...]
    training_data: str
    test_data: str
    test_images: int
    accuracy: float
    top_5_accuracy: float
    packed_bytes: int
    model: VisionMLGRUConfig

    @property
    def packed_path(self) -> Path:
        """The file of the packed model (see `mml.packing.save_packed`)."""
        return FOLDER / f"{self.name}.safetensors"

    @property
    def weights_path(self) -> Path:
        """The file of the latent float weights (see `keras.Model.save_weights`)."""
        return FOLDER / f"{self.name}.weights.h5"


def _read(path):
    fields = json.loads(path.read_text(encoding="utf-8"))
    model = fields.pop("model")
    augmentation = Augmentation(**model.pop("augmentation"))
    fields["class_names"] = tuple(fields["class_names"])
    return Preset(**fields, model=VisionMLGRUConfig(**model, augmentation=augmentation))


PRESETS: dict[str, Preset] = {path.stem: _read(path) for path in sorted(FOLDER.glob("*.json"))}


def from_preset(name: str, trainable: bool = False) -> keras.Model:
    """Return a trained model that comes with the package.

    Args:
        name: A name in `PRESETS`, such as `"cifar10"`.
        trainable: Whether to return the model in the ternary state with its latent float weights, for further
            training. By default, the model is packed for inference.

    Returns:
        A Keras model from images `[batch, height, width, channels]`, 0 to 255, to logits `[batch, classes]`.
        `PRESETS[name]` states these sizes and classes.

    Raises:
        ValueError: If there is no such preset.

    Example:

    >>> import numpy as np
    >>> from mml.presets import from_preset
    >>> model = from_preset("cifar10")
    >>> model.predict(np.zeros((2, 32, 32, 3)), verbose=0).shape
    (2, 10)
    """
    if name not in PRESETS:
        raise ValueError(f"`name` must be one of {sorted(PRESETS)}. Received: name={name!r}")
    preset = PRESETS[name]
    if not trainable:
        return load_packed(preset.packed_path)
    model = vision_mlgru(preset.model)
    model.load_weights(preset.weights_path)
    return model
