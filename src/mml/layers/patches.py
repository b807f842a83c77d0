import keras

from mml.ops import patch_grid, patchify
from mml.validation import one_of, positive_integer


@keras.saving.register_keras_serializable(package="mml")
class Patches(keras.layers.Layer):
    """Layer that cuts images into square patches and flattens each of them to a vector.

    Patches are in raster order. By default, they lie side by side, and `mml.ops.unpatchify` puts them back together
    exactly. If `strides` is smaller than `patch_size`, they overlap.

    Args:
        patch_size: Edge length of a patch in pixels.
        strides: Pixels from one patch to the next. Defaults to `patch_size`, which must then divide the height and
            the width.
        padding: `"valid"`, or `"same"` for zeros beyond the edges (see `mml.ops.patchify`).

    Call arguments:
        inputs: Tensor `[batch, height, width, channels]` of any dtype.

    Returns:
        Tensor `[batch, patches, patch_size * patch_size * channels]`. Integers keep their dtype. Keras casts floats
        to the layer's compute dtype.

    Raises:
        ValueError: If a size is not a positive integer, if `padding` is neither of the two options, or if the patches
            do not fit the image (see `mml.ops.patch_grid`).

    Example:

    >>> import numpy as np
    >>> from mml.layers import Patches
    >>> Patches(6)(np.zeros((2, 72, 72, 3), "float32")).shape
    (2, 144, 108)
    >>> Patches(6, strides=2, padding="same")(np.zeros((2, 32, 32, 3), "float32")).shape
    (2, 256, 108)

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929, section 3.1.
    """

    def __init__(self, patch_size, strides=None, padding="valid", **kwargs):
        super().__init__(**kwargs)
        # === Config ===
        self.patch_size = positive_integer("patch_size", patch_size)
        self.strides = None if strides is None else positive_integer("strides", strides)
        self.padding = one_of("padding", padding, ("valid", "same"))
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.supports_masking = True

    def call(self, inputs):
        return patchify(inputs, self.patch_size, self.strides, self.padding)

    def compute_mask(self, inputs, previous_mask):
        return None  # a mask over rows or pixels says nothing about patches

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        patches = None
        if height is not None and width is not None:
            rows, columns = patch_grid(height, width, self.patch_size, self.strides, self.padding)
            patches = rows * columns
        return batch, patches, channels and self.patch_size**2 * channels

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "strides": self.strides,
            "padding": self.padding,
        }
