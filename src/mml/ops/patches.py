"""Images cut into patches, and patches put together again."""

from keras import ops

from mml.validation import positive_integer


def patchify(images, patch_size):
    """Cut images into square patches, left to right and top to bottom.

    Args:
        images: Tensor `[batch, height, width, channels]` of any dtype. The batch may be unknown.
        patch_size: Edge of a patch in pixels, a positive integer that divides height and width.

    Returns:
        Tensor `[batch, patches, patch_size * patch_size * channels]` of the same dtype, with
        `patches = (height / patch_size) * (width / patch_size)`; within a patch, pixels are in raster order
        too, and a pixel's channels lie together.

    Raises:
        ValueError: If `images` does not have four axes, or if `patch_size` does not divide height and width.

    Example:

    >>> import numpy as np
    >>> from mml.ops import patchify, unpatchify
    >>> images = np.arange(24).reshape(1, 2, 4, 3)
    >>> patches = patchify(images, 2)
    >>> patches.shape
    (1, 2, 12)
    >>> np.array_equal(unpatchify(patches, 2, height=2, width=4), images)
    True

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929, section 3.1.
    """
    if len(images.shape) != 4:
        raise ValueError(
            "`images` must have the shape [batch, height, width, channels]. "
            f"Received: images.shape={tuple(images.shape)}"
        )
    _, height, width, channels = images.shape
    rows, columns = patch_grid(height, width, patch_size)
    x = ops.reshape(images, (-1, rows, patch_size, columns, patch_size, channels))  # [B, rows, P, columns, P, C]
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # [B, rows, columns, P, P, C]
    return ops.reshape(x, (-1, rows * columns, patch_size * patch_size * channels))  # [B, N, P*P*C]


def unpatchify(patches, patch_size, height, width):
    """Put patches together again: the exact inverse of `patchify`.

    Args:
        patches: Tensor `[batch, patches, patch_size * patch_size * channels]` of any dtype.
        patch_size: Edge of a patch in pixels.
        height: Height of the images in pixels, a multiple of `patch_size`.
        width: Width of the images in pixels, a multiple of `patch_size`.

    Returns:
        Tensor `[batch, height, width, channels]` of the same dtype.

    Raises:
        ValueError: If the patches cannot come from images of that size.

    Example:

    >>> import numpy as np
    >>> from mml.ops import unpatchify
    >>> unpatchify(np.zeros((5, 6, 12)), 2, height=4, width=6).shape
    (5, 4, 6, 3)
    """
    rows, columns = patch_grid(height, width, patch_size)
    if len(patches.shape) != 3 or patches.shape[1] != rows * columns or patches.shape[2] % patch_size**2:
        raise ValueError(
            f"`patches` must have the shape [batch, {rows * columns}, {patch_size**2} * channels] to form images "
            f"of {height}x{width} pixels. Received: patches.shape={tuple(patches.shape)}"
        )
    channels = patches.shape[2] // patch_size**2
    x = ops.reshape(patches, (-1, rows, columns, patch_size, patch_size, channels))  # [B, rows, columns, P, P, C]
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # [B, rows, P, columns, P, C]
    return ops.reshape(x, (-1, height, width, channels))


def patch_grid(height, width, patch_size):
    """Count the rows and columns of patches in an image.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        patch_size: Edge of a patch in pixels.

    Returns:
        A pair of integers `(rows, columns)`.

    Raises:
        ValueError: If one is not a positive integer, or if `patch_size` does not divide both others.

    Example:

    >>> from mml.ops import patch_grid
    >>> patch_grid(72, 48, 6)
    (12, 8)
    """
    for name, value in (("height", height), ("width", width), ("patch_size", patch_size)):
        positive_integer(name, value)
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"The image's height and width must be multiples of `patch_size`={patch_size}. "
            f"Received: height={height}, width={width}"
        )
    return height // patch_size, width // patch_size
