"""Models, each built from a configuration: a vision transformer, a model made for images, and their counterparts."""

from mml.models.augmentation import Augmentation
from mml.models.mlgru import VisionMLGRUConfig, float_vision_mlgru, vision_mlgru
from mml.models.transformers import (
    VisionTransformerConfig,
    attention_vision_transformer,
    data_augmentation,
    float_vision_transformer,
    vision_transformer,
)

__all__ = [
    "Augmentation",
    "VisionMLGRUConfig",
    "VisionTransformerConfig",
    "attention_vision_transformer",
    "data_augmentation",
    "float_vision_mlgru",
    "float_vision_transformer",
    "vision_mlgru",
    "vision_transformer",
]
