"""Image files, read at the size that a model takes."""

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mml.validation import positive_integer


def read_image(path: str | os.PathLike, height: int, width: int, channels: int) -> np.ndarray:
    """Read an image file at the size that a model takes.

    - The image is turned upright as its EXIF data specify.
    - Transparent parts become white.
    - 16-bit gray becomes 8-bit gray. In 32-bit gray, the smallest value becomes black and the largest becomes white.
    - Only the first frame of an animation is read.
    - The image is cropped around its center to the aspect ratio of the result. It is then resized with a bicubic
      filter, which averages when it makes the image smaller.
    - Color profiles are not applied.

    Args:
        path: The file, in any format that Pillow reads.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        channels: 1 for gray, or 3 for red, green, and blue.

    Returns:
        `numpy.float32` array `[height, width, channels]` of whole numbers from 0 to 255.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `height` or `width` is not a positive integer, or if `channels` is neither 1 nor 3. Also if the
            file cannot be read as an image: it is a folder, is empty or damaged, has an unknown format, holds numbers
            that are not finite, or has more pixels than Pillow considers safe (`PIL.Image.MAX_IMAGE_PIXELS`).

    Example:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from mml.images import read_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (640, 480), (255, 128, 0)).save(Path(folder) / "orange.png")
    ...     image = read_image(Path(folder) / "orange.png", height=32, width=32, channels=3)
    >>> image.shape, image[0, 0].tolist()
    ((32, 32, 3), [255.0, 128.0, 0.0])

    Reference:
        Gray is the luma of Recommendation ITU-R BT.601: 0.299 red + 0.587 green + 0.114 blue.
    """
    positive_integer("height", height)
    positive_integer("width", width)
    if positive_integer("channels", channels) not in (1, 3):
        raise ValueError(f"`channels` must be 1 or 3. Received: channels={channels!r}")
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder or a special file")
        if not path.stat().st_size:
            raise ValueError("it is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                image = _opaque(opened).convert("L" if channels == 1 else "RGB")
            image = ImageOps.fit(image, (width, height))
            return np.asarray(image, "float32").reshape(height, width, channels)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist.") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} cannot be read as an image: its format is unknown, or it is damaged.") from error
    # Pillow and the libraries below it raise many kinds of exceptions for damaged bytes.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image: {reason.rstrip('.')}.") from error


def _opaque(image):
    """Return the image upright, on white, and in a mode that converts to L or RGB without clipping."""
    netpbm = image.format == "PPM"
    image = ImageOps.exif_transpose(image)
    # Pillow clips 16-bit gray at 255 when it converts it. It reads the 16-bit gray of a PGM file as 32-bit gray.
    if image.mode.startswith("I;16") or (image.mode == "I" and netpbm):
        levels = np.rint(np.arange(65536) / 257).astype("uint8")  # 65535 becomes 255
        if "transparency" in image.info:
            levels[image.info["transparency"]] = 255
        return Image.fromarray(levels[np.asarray(image)])
    if image.mode in ("I", "F"):
        values = np.asarray(image, "float64")
        if not np.isfinite(values).all():
            raise ValueError("it holds numbers that are not finite")
        values -= values.min()
        return Image.fromarray(np.rint(255 / (values.max() or 1) * values).astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
