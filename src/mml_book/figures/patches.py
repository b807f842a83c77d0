"""Figures for the chapter on patches: an image cut into patches, put together again, and what the patches show."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from keras import ops
from matplotlib.patheffects import withStroke

from mml.ops import patch_grid, patchify, unpatchify


def image_with_grid(image, patch_size):
    """Draw an image with the lines along which it is cut into patches.

    Args:
        image: Image `[height, width, channels]`, uint8, or floats from 0 to 1.
        patch_size: Edge of a patch in pixels.

    Returns:
        A `matplotlib.figure.Figure` with axes in pixels.

    Raises:
        ValueError: If the patches do not fill the image.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import image_with_grid
    >>> figure = image_with_grid(np.zeros((12, 18, 3)), 6)
    >>> plt.close(figure)
    """
    height, width = image.shape[:2]
    patch_grid(height, width, patch_size)
    figure, axis = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
    _draw_grid(axis, ops.convert_to_numpy(image), patch_size)
    axis.tick_params(labelsize=12)
    axis.set_xlabel("column of pixels", fontsize=13)
    axis.set_ylabel("row of pixels", fontsize=13)
    return figure


def patches_apart(patches, patch_size, height, width):
    """Draw the patches of an image with gaps between them, and number the first and last patch of each row.

    Args:
        patches: Patches `[patches, patch_size * patch_size * channels]` in raster order, uint8, or floats from 0
            to 1.
        patch_size: Edge of a patch in pixels.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the patches cannot come from an image of that size.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import patches_apart
    >>> figure = patches_apart(np.zeros((6, 108)), 6, height=12, width=18)
    >>> plt.close(figure)
    """
    apart = _apart(patches, patch_size, height, width)
    rows, columns = patch_grid(height, width, patch_size)
    figure, axis = plt.subplots(figsize=(5, 5), layout="constrained")
    axis.imshow(apart)
    axis.axis("off")
    for row in range(rows):
        y = (row + 0.5) * (patch_size + _GAP)
        axis.text(-2, y, row * columns, ha="right", va="center", fontsize=12)
        axis.text(columns * (patch_size + _GAP) + 1, y, (row + 1) * columns - 1, ha="left", va="center", fontsize=12)
    return figure


def there_and_back(image, patches, restored, patch_size):
    """Draw an image, its patches, and the image that was put together from them.

    Args:
        image: Image `[height, width, channels]`, uint8, or floats from 0 to 1.
        patches: Its patches, `[patches, patch_size * patch_size * channels]`, of the same dtype.
        restored: Image `[height, width, channels]` that was made from the patches.
        patch_size: Edge of a patch in pixels.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the patches cannot come from an image of that size.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import there_and_back
    >>> figure = there_and_back(np.zeros((12, 18, 3)), np.zeros((6, 108)), np.zeros((12, 18, 3)), 6)
    >>> plt.close(figure)
    """
    height, width, _ = image.shape
    panels = {"Image": image, "Patches": _apart(patches, patch_size, height, width), "Put together": restored}
    figure, axes = plt.subplots(1, 3, figsize=(6.5, 2.6 * height / width), layout="compressed")
    for axis, (title, picture) in zip(axes, panels.items(), strict=True):
        axis.imshow(ops.convert_to_numpy(picture))
        axis.set_title(title, fontsize=14)
        axis.axis("off")
    return figure


def numbered_pixels(arrays, patch_size, width):
    """Draw arrays of pixel numbers as tables, with each cell in the color of the patch that its pixel belongs to.

    Args:
        arrays: Maps a title to an integer array `[rows, columns]` of pixel numbers. The number of a pixel is
            `row * width + column`.
        patch_size: Edge of a patch in pixels.
        width: Width of the image in pixels.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the patches do not fill the width.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import numbered_pixels
    >>> figure = numbered_pixels({"image": np.arange(16).reshape(4, 4)}, patch_size=2, width=4)
    >>> plt.close(figure)
    """
    _, columns = patch_grid(patch_size, width, patch_size)
    figure, axes = plt.subplots(1, len(arrays), figsize=(2.3 * len(arrays), 2.6), squeeze=False, layout="constrained")
    for axis, (title, numbers) in zip(axes[0], arrays.items(), strict=True):
        patch = numbers // width // patch_size * columns + numbers % width // patch_size
        sns.heatmap(
            patch % 10,
            annot=numbers,
            fmt="d",
            cmap=sns.color_palette("colorblind"),
            vmin=0,
            vmax=9,
            alpha=0.6,
            annot_kws={"fontsize": 14, "color": "black"},
            linewidths=1,
            square=True,
            cbar=False,
            xticklabels=False,
            yticklabels=False,
            ax=axis,
        )
        axis.set_title(title, fontsize=14)
    return figure


def patch_sizes(image, sizes):
    """Draw an image cut at several patch sizes, and below it the image with each patch reduced to its mean color.

    Args:
        image: Image `[height, width, channels]`, uint8.
        sizes: Patch sizes in pixels. Each must divide height and width.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the patches of a size do not fill the image.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import patch_sizes
    >>> figure = patch_sizes(np.zeros((12, 18, 3), "uint8"), [2, 6])
    >>> plt.close(figure)
    """
    image = ops.convert_to_numpy(image)
    height, width, channels = image.shape
    for size in sizes:
        patch_grid(height, width, size)
    figure, axes = plt.subplots(2, len(sizes), figsize=(6.5, 13.6 / len(sizes) * height / width), layout="compressed")
    for (above, below), size in zip(axes.T, sizes, strict=True):
        _draw_grid(above, image, size)
        patches = ops.convert_to_numpy(patchify(image[None], size))  # [1, N, P*P*C]
        pixels = patches.reshape(1, -1, size * size, channels)
        means = np.broadcast_to(pixels.mean(axis=2, keepdims=True), pixels.shape).reshape(patches.shape)
        below.imshow(ops.convert_to_numpy(unpatchify(np.rint(means).astype("uint8"), size, height, width))[0])
        above.set_title(f"{size}×{size}", fontsize=15)
        for axis in (above, below):
            axis.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("cut here", fontsize=13)
    axes[1, 0].set_ylabel("means only", fontsize=13)
    return figure


def patch_maps(maps, image=None):
    """Draw heat maps with one value per patch, optionally next to the image.

    Args:
        maps: Maps a title to values `[rows, columns]`, one per patch.
        image: Image `[height, width, channels]` to draw next to the maps, uint8, or floats from 0 to 1.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If a map does not have two axes.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import patch_maps
    >>> figure = patch_maps({"brightness": np.arange(6).reshape(2, 3)}, np.zeros((12, 18, 3)))
    >>> plt.close(figure)
    """
    for title, values in maps.items():
        if np.ndim(values) != 2:
            raise ValueError(
                "`maps` must hold values of the shape [rows, columns]. "
                f"Received: maps[{title!r}].shape={np.shape(values)}"
            )
    panels = len(maps) + (image is not None)
    figure, axes = plt.subplots(1, panels, figsize=(3.2 * panels, 3.7), squeeze=False, layout="constrained")
    if image is not None:
        axes[0, 0].imshow(ops.convert_to_numpy(image))
        axes[0, 0].axis("off")
    for axis, (title, values) in zip(axes[0, panels - len(maps) :], maps.items(), strict=True):
        sns.heatmap(
            values,
            cmap="viridis",
            square=True,
            xticklabels=False,
            yticklabels=False,
            cbar_kws={"location": "bottom", "label": title, "shrink": 0.9},
            ax=axis,
        )
        bar = axis.collections[0].colorbar
        bar.ax.tick_params(labelsize=12)
        bar.ax.xaxis.label.set_size(13)
    return figure


_GAP = 2  # gray pixels between two patches


def _draw_grid(axis, image, patch_size):
    height, width, _ = image.shape
    axis.imshow(image, extent=(0, width, height, 0))
    axis.grid(False)
    outlined = {"color": "white", "linewidth": 0.8, "path_effects": [withStroke(linewidth=2, foreground="0.3")]}
    for y in range(0, height + 1, patch_size):
        axis.axhline(y, **outlined)
    for x in range(0, width + 1, patch_size):
        axis.axvline(x, **outlined)


def _apart(patches, patch_size, height, width):
    rows, columns = patch_grid(height, width, patch_size)
    whole = ops.convert_to_numpy(unpatchify(patches[None], patch_size, height, width))[0]
    squares = whole.reshape(rows, patch_size, columns, patch_size, -1)
    gray = 128 if whole.dtype == np.uint8 else 0.5  # bright patches stand out as well as dark ones
    padding = [(0, 0), (0, _GAP), (0, 0), (0, _GAP), (0, 0)]
    apart = np.pad(squares, padding, constant_values=gray)
    return apart.reshape(rows * (patch_size + _GAP), columns * (patch_size + _GAP), -1)[:-_GAP, :-_GAP]
