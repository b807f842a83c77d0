"""Image files, made ready for a model."""

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mml.validation import positive_integer


def read_image(path: str | os.PathLike, height: int, width: int, channels: int) -> np.ndarray:
    """Read an image file at a model's size.

    The image is turned upright as its EXIF data say, what is transparent becomes white, 16 bits of grey become 8, of
    32 bits the least becomes black and the largest white, and of an animation the first picture is taken. The
    largest part in its middle that has the shape of `height` and `width` is resized with a bicubic filter, which
    averages where it makes smaller. Colour profiles are not applied.

    Args:
        path: The file, of any kind that Pillow reads.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        channels: 1 for grey, 3 for red, green and blue.

    Returns:
        `numpy.float32` array `[height, width, channels]` of whole numbers, 0 to 255.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `height` or `width` is not a positive integer, if `channels` is neither 1 nor 3, or if the
            file cannot be read as an image: a folder, empty, damaged, of no known kind, of more pixels than Pillow
            takes for safe (`PIL.Image.MAX_IMAGE_PIXELS`), or of numbers that are not finite.

    Example:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from mml.pictures import read_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (640, 480), (255, 128, 0)).save(Path(folder) / "orange.png")
    ...     image = read_image(Path(folder) / "orange.png", height=32, width=32, channels=3)
    >>> image.shape, image[0, 0].tolist()
    ((32, 32, 3), [255.0, 128.0, 0.0])

    Reference:
        Grey is the luma of Recommendation ITU-R BT.601: 0.299 red + 0.587 green + 0.114 blue.
    """
    positive_integer("height", height)
    positive_integer("width", width)
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 or 3. Received: channels={channels!r}")
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder or the like")
        if not path.stat().st_size:
            raise ValueError("it is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that nobody asked for
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                image = _opaque(opened).convert("L" if channels == 1 else "RGB")
            image = ImageOps.fit(image, (width, height))
            return np.asarray(image, "float32").reshape(height, width, channels)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist.") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} cannot be read as an image: it is of no known kind, or damaged.") from error
    # Whatever Pillow and the libraries below it raise on damaged bytes, of which there are many kinds.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image: {reason.rstrip('.')}.") from error


def _opaque(image):
    """Turn an image upright and make it one that converts to L or RGB without loss of range."""
    netpbm = image.format == "PPM"
    image = ImageOps.exif_transpose(image)
    # Pillow reads a grey map of 16 bits into 32, and would clip either at 255.
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
