"""Functions that cut images into patches and put patches back together."""

from keras import ops

from mml.validation import one_of, positive_integer


def patchify(images, patch_size, strides=None, padding="valid"):
    """Cut images into square patches, left to right and top to bottom.

    By default, patches lie side by side. If `strides` is smaller than `patch_size`, they overlap like the windows of
    a convolution: `patchify(images, 3, 1, "same") @ kernel` is a 3x3 convolution.

    Args:
        images: Tensor `[batch, height, width, channels]` of any dtype. The batch size may be unknown.
        patch_size: Edge length of a patch in pixels, a positive integer.
        strides: Pixels from one patch to the next. Defaults to `patch_size`, which must then divide the height and
            the width.
        padding: `"valid"` for patches that lie within the image, or `"same"` for `ceil(side / strides)`
            patches along each side. As in `keras.ops.conv`, `"same"` pads the image with zeros.

    Returns:
        Tensor `[batch, patches, patch_size * patch_size * channels]` of the same dtype, with
        `patches = rows * columns` (see `patch_grid`). The pixels within a patch are in raster order too, and the
        channels of a pixel are adjacent.

    Raises:
        ValueError: If `images` does not have four axes, or if the sizes do not fit together (see `patch_grid`).

    Example:

    >>> import numpy as np
    >>> from mml.ops import patchify, unpatchify
    >>> images = np.arange(24).reshape(1, 2, 4, 3)
    >>> patches = patchify(images, 2)
    >>> patches.shape
    (1, 2, 12)
    >>> np.array_equal(unpatchify(patches, 2, height=2, width=4), images)
    True
    >>> patchify(np.zeros((1, 32, 32, 3)), 6, strides=2, padding="same").shape
    (1, 256, 108)

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929, section 3.1; for overlapping
        patches, Wang et al., "PVT v2", 2022, arXiv:2106.13797, section 3.2.
    """
    if len(images.shape) != 4:
        raise ValueError(
            "`images` must have the shape [batch, height, width, channels]. "
            f"Received: images.shape={tuple(images.shape)}"
        )
    _, height, width, channels = images.shape
    rows, columns = patch_grid(height, width, patch_size, strides, padding)
    strides = patch_size if strides is None else strides
    if strides == patch_size and padding == "valid":
        x = images[:, : rows * patch_size, : columns * patch_size]
        x = ops.reshape(x, (-1, rows, patch_size, columns, patch_size, channels))  # [B, rows, P, columns, P, C]
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # [B, rows, columns, P, P, C]
    else:
        if padding == "same":
            edges = [_edges(size, count, patch_size, strides) for size, count in ((height, rows), (width, columns))]
            images = ops.pad(images, [(0, 0), *edges, (0, 0)])
        x = _windows(images, 2, columns, patch_size, strides)  # [B, H, columns, P*C]
        x = _windows(x, 1, rows, patch_size, strides)  # [B, rows, columns, P*P*C]
    return ops.reshape(x, (-1, rows * columns, patch_size * patch_size * channels))  # [B, N, P*P*C]


def _edges(size, count, patch_size, strides):
    """Return how many zeros to add before and after a side so that it holds `count` patches."""
    zeros = max((count - 1) * strides + patch_size - size, 0)
    return zeros // 2, zeros - zeros // 2


def _windows(x, axis, count, patch_size, strides):
    """For each window along `axis`, concatenate its `patch_size` neighbors on the last axis."""
    before = (slice(None),) * axis
    last = (count - 1) * strides + 1
    return ops.concatenate(
        [x[(*before, slice(offset, offset + last, strides))] for offset in range(patch_size)], axis=-1
    )


def unpatchify(patches, patch_size, height, width):
    """Put patches that lie side by side back together: the exact inverse of `patchify` with its defaults.

    Args:
        patches: Tensor `[batch, patches, patch_size * patch_size * channels]` of any dtype.
        patch_size: Edge length of a patch in pixels.
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


def patch_grid(height, width, patch_size, strides=None, padding="valid"):
    """Count the rows and columns of patches in an image.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        patch_size: Edge length of a patch in pixels.
        strides: Pixels from one patch to the next. Defaults to `patch_size`, which must then divide the height and
            the width.
        padding: `"valid"`, for `(side - patch_size) // strides + 1` patches along a side, or `"same"`, for
            `ceil(side / strides)`.

    Returns:
        A pair of integers `(rows, columns)`.

    Raises:
        ValueError: If a size is not a positive integer, if `padding` is neither of the two options, if there are no
            `strides` and `patch_size` does not divide the height and the width, or if `padding` is `"valid"` and a
            patch is larger than the image.

    Example:

    >>> from mml.ops import patch_grid
    >>> patch_grid(72, 48, 6)
    (12, 8)
    >>> patch_grid(32, 32, 6, strides=2, padding="same")
    (16, 16)
    """
    for name, value in (("height", height), ("width", width), ("patch_size", patch_size)):
        positive_integer(name, value)
    one_of("padding", padding, ("valid", "same"))
    if strides is None:
        strides = patch_size
        if height % patch_size or width % patch_size:
            raise ValueError(
                f"The image's height and width must be multiples of `patch_size`={patch_size}. "
                f"Received: height={height}, width={width}"
            )
    strides = positive_integer("strides", strides)
    if padding == "same":
        return -(-height // strides), -(-width // strides)
    if patch_size > min(height, width):
        raise ValueError(
            f"The image must be at least as large as a patch of `patch_size`={patch_size}. "
            f"Received: height={height}, width={width}"
        )
    return (height - patch_size) // strides + 1, (width - patch_size) // strides + 1
