"""The first images of CIFAR-10, and handwritten digits for use when CIFAR-10 is not available."""

import contextlib
import dataclasses
import hashlib
import os
import socket
import tempfile
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

from mml.files import keras_home
from mml.optional import require

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_TRAIN, CIFAR10_TEST = 50_000, 10_000  # images in the whole data set; a split is a fraction of these
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
KERAS_ARCHIVE = "cifar-10-batches-py-target_archive"  # Keras's name for the archive in its cache
STALLED_SECONDS = 60  # a download that receives nothing for this long has failed


@dataclasses.dataclass(frozen=True)
class ImageDataset:
    """Labeled images, split into a training and a test part, and a sentence about where they come from.

    Args:
        x_train, x_test: Images, uint8 `[images, 32, 32, 3]`, 0 to 255.
        y_train, y_test: Labels, uint8 `[images, 1]`: indices into `class_names`.
        class_names: Name of each class.
        source: A sentence that says which data this is and how much of it there is.

    Example:

    >>> import numpy as np
    >>> from mml.data import ImageDataset
    >>> images, labels = np.zeros((4, 32, 32, 3), "uint8"), np.zeros((4, 1), "uint8")
    >>> data = ImageDataset(images[:3], labels[:3], images[3:], labels[3:], ("black",), "4 black images.")
    >>> len(data.x_train), len(data.x_test)
    (3, 1)
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    source: str


def load_cifar10(split: float = 0.01, source: str = "auto") -> ImageDataset:
    """Load the first images of CIFAR-10.

    If the environment variable `CIFAR10_NPZ` is set, the images come from the file of arrays that it names.
    Otherwise, they come from Keras's cache. If they are not in the cache, Keras downloads them, from the address in
    `CIFAR10_URL` if that is set. If the download fails and `source="auto"`, this function warns and returns
    scikit-learn's handwritten digits instead, enlarged to the same shapes.

    Args:
        split: Fraction of the 50,000 training images and of the 10,000 test images, in `(0, 1]`. For example, 0.01
            gives the first 500 and the first 100.
        source: `"auto"`, or `"cifar10"` or `"digits"` to get that data set or an error.

    Returns:
        An `ImageDataset`.

    Raises:
        ValueError: If `split` or `source` is not allowed, if the split asks for more images than there are, or
            if the file that `CIFAR10_NPZ` names is damaged or holds other arrays.
        FileNotFoundError: If `CIFAR10_NPZ` names a file that does not exist.
        ConnectionError: If `source="cifar10"` and the download fails. Nothing of it is kept.
        ImportError: If scikit-learn, which contains the digits, is needed but not installed.

    Example:

    >>> from mml.data import load_cifar10
    >>> data = load_cifar10(split=0.01, source="digits")
    >>> data.x_train.shape, data.y_test.shape, data.x_train.dtype
    ((500, 32, 32, 3), (100, 1), dtype('uint8'))

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, chapter 3; Alpaydin and Kaynak,
        "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998, doi:10.24432/C50P49.
    """
    if isinstance(split, bool) or not isinstance(split, (int, float, np.number)) or not 0 < split <= 1:
        raise ValueError(f"`split` must be a number above 0 and at most 1. Received: split={split!r}")
    if source not in ("auto", "cifar10", "digits"):
        raise ValueError(f"`source` must be 'auto', 'cifar10', or 'digits'. Received: source={source!r}")

    npz = os.environ.get("CIFAR10_NPZ")
    if source == "digits":
        arrays, class_names, name = _digits(), tuple("0123456789"), "scikit-learn's handwritten digits, enlarged"
    elif npz:
        arrays, class_names, name = _npz(Path(npz)), CIFAR10_CLASSES, f"CIFAR-10, from the file {Path(npz).name}"
    else:
        try:
            arrays, class_names, name = _keras(), CIFAR10_CLASSES, "CIFAR-10, from Keras"
        except ConnectionError as error:
            if source == "cifar10":
                raise
            digits = load_cifar10(split, source="digits")
            warnings.warn(f"Using scikit-learn's handwritten digits instead of CIFAR-10.\n{error}", stacklevel=2)
            return digits
    return _take(split, arrays, class_names, name)


def _take(split, arrays, class_names, name):
    x_train, y_train, x_test, y_test = arrays
    n_train, n_test = round(CIFAR10_TRAIN * split), round(CIFAR10_TEST * split)
    if n_train > len(x_train) or n_test > len(x_test):
        largest = min(len(x_train) / CIFAR10_TRAIN, len(x_test) / CIFAR10_TEST)
        raise ValueError(
            f"`split`={split} asks for {n_train:,} training and {n_test:,} test images, but the source ({name}) "
            f"holds only {len(x_train):,} and {len(x_test):,}. Ask for at most {int(largest * 10_000) / 10_000}, "
            "or see `load_cifar10` for how to get all of CIFAR-10."
        )
    if not n_train or not n_test:
        raise ValueError(
            f"`split` must select at least one training image and one test image. Received: split={split}"
        )
    return ImageDataset(
        x_train[:n_train].copy(),  # a copy, so that the rest does not stay in memory
        y_train[:n_train].copy(),
        x_test[:n_test].copy(),
        y_test[:n_test].copy(),
        class_names,
        f"{name}: {n_train:,} training and {n_test:,} test images.",
    )


def _npz(path):
    """Read the four arrays from a file that may be broken or hostile."""
    if not path.is_file():
        raise FileNotFoundError(
            f"CIFAR10_NPZ must name an existing file. Received: {path}. "
            "Correct it, or unset it to let Keras load CIFAR-10."
        )
    most = {"x_train": CIFAR10_TRAIN, "y_train": CIFAR10_TRAIN, "x_test": CIFAR10_TEST, "y_test": CIFAR10_TEST}
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = [_npz_array(archive, name, most[name]) for name in most]
    # zipfile, zlib, and NumPy raise many kinds of errors on damaged bytes.
    except Exception as error:
        raise ValueError(
            f"CIFAR10_NPZ must name an .npz file with x_train and x_test, uint8 (images, 32, 32, 3), and y_train and "
            f"y_test, uint8 (images, 1). Received: {path}: {error or type(error).__name__}. "
            "Write it again, or unset CIFAR10_NPZ to let Keras load CIFAR-10."
        ) from error
    x_train, y_train, x_test, y_test = arrays
    for x, y, part in ((x_train, y_train, "train"), (x_test, y_test, "test")):
        if len(x) != len(y):
            raise ValueError(f"{path}: x_{part} holds {len(x)} images, but y_{part} holds {len(y)} labels.")
        if y.max() >= len(CIFAR10_CLASSES):
            raise ValueError(f"{path}: y_{part} holds the label {y.max()}, but labels must be from 0 to 9.")
    return arrays


def _npz_array(archive, name, most):
    # Check the header before reading any data, so that no file can make this allocate too much or load a pickle.
    member = f"{name}.npy"
    if member not in archive.namelist():
        raise ValueError(f"there is no {name}")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read_header(file)
        image = (32, 32, 3) if name.startswith("x") else (1,)
        if dtype != np.uint8 or fortran_order or shape[1:] != image or not 1 <= shape[0] <= most:
            raise ValueError(f"{name} is {dtype} {shape}")
        size = int(np.prod(shape))
        data = file.read(size + 1)  # past the end, because only then does zipfile test the checksum
    if len(data) != size:
        raise ValueError(f"{name} has {len(data)} bytes instead of {size}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _keras():
    """Let Keras read CIFAR-10 from its cache. If the archive there is missing or damaged, download it first."""
    home = keras_home()
    if home.exists() and not os.access(home, os.W_OK):
        home = Path("/tmp/.keras")  # where Keras then looks
    archive = home / "datasets" / KERAS_ARCHIVE
    if not archive.exists() or _sha256(archive) != CIFAR10_SHA256:
        _download(archive)
    (x_train, y_train), (x_test, y_test) = keras.datasets.cifar10.load_data()
    if keras.config.image_data_format() == "channels_first":
        x_train, x_test = (x.transpose(0, 2, 3, 1) for x in (x_train, x_test))
    return x_train, y_train, x_test, y_test


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(archive):
    """Download the complete archive and check its checksum, or leave nothing."""
    url = os.environ.get("CIFAR10_URL", CIFAR10_URL)
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder, _socket_timeout(STALLED_SECONDS):
            path = keras.utils.get_file("cifar10", url, cache_dir=folder, file_hash=CIFAR10_SHA256)
            os.replace(path, archive)
    # Keras raises a plain Exception if the download fails, and ValueError if the checksum is wrong. The folder may be
    # read-only.
    except Exception as error:
        raise ConnectionError(
            f"CIFAR-10 could not be downloaded from {url} to {archive.parent}:\n{error}.\n"
            "Try again when a network is available, set CIFAR10_URL to another address of the same archive,\n"
            "or set CIFAR10_NPZ to a file of the arrays x_train, y_train, x_test, and y_test."
        ) from error


@contextlib.contextmanager
def _socket_timeout(seconds):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _digits():
    """Enlarge scikit-learn's 8x8 handwritten digits to the shapes of CIFAR-10, by bilinear interpolation."""
    datasets = require("sklearn.datasets", "`load_cifar10` with handwritten digits")
    images, labels = datasets.load_digits(return_X_y=True)
    # The center of pixel i, measured in pixels of the digit, and what each of the digit's pixels contributes there.
    position = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)
    weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(8)))  # [32, 8]
    images = weights @ (images.reshape(-1, 8, 8) * (255 / 16)) @ weights.T  # exact in float64
    images = np.repeat(np.rint(images).astype(np.uint8)[..., None], 3, axis=-1)  # [images, 32, 32, 3]
    labels = labels.astype(np.uint8)[:, None]
    n_train = len(images) * 5 // 6  # the same proportion as in CIFAR-10
    return images[:n_train], labels[:n_train], images[n_train:], labels[n_train:]
