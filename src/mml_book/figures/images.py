"""Rows of images, for several chapters."""

import matplotlib.pyplot as plt
import numpy as np
from keras import ops


def image_rows(rows):
    """Draw rows of images, each with its label on the left.

    Args:
        rows: Maps a label to images `[images, height, width, channels]`, uint8, or floats from 0 to 1. Rows may
            differ in their number of images. The end of a short row stays empty.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is no image, or if `rows` holds something that is not a batch of images.

    Example:

    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from mml_book.figures import image_rows
    >>> noise = np.random.default_rng(0).random((5, 8, 8, 3))
    >>> figure = image_rows({"one": noise[:1], "five": noise})
    >>> len(figure.axes)
    10
    >>> plt.close(figure)
    """
    rows = {label: ops.convert_to_numpy(images) for label, images in rows.items()}
    for label, images in rows.items():
        if images.ndim != 4:
            raise ValueError(
                "`rows` must hold images of the shape [images, height, width, channels]. "
                f"Received: rows[{label!r}].shape={images.shape}"
            )
    columns = max(map(len, rows.values()), default=0)
    if not columns:
        raise ValueError(f"`rows` must hold at least one image. Received: rows with the labels {list(rows)}")

    edge = min(5 / columns, 2)  # size of an image in inches
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(edge * columns + 1.6, edge * len(rows)), squeeze=False, layout="compressed"
    )
    for row, (label, images) in zip(axes, rows.items(), strict=True):
        for axis in row:
            axis.set(xticks=[], yticks=[], frame_on=False)
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=16)
    return figure
