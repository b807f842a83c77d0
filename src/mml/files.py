"""Files that are complete or absent, whatever happens while they are written, and Keras's own folder."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


def partial_name(path: str | os.PathLike) -> Path:
    """Return the temporary name that a file has, in the same folder, until it is complete.

    Args:
        path: The file.

    Returns:
        A `pathlib.Path`.

    Example:

    >>> from mml.files import partial_name
    >>> partial_name("runs/best.weights.h5").name
    'partial.best.weights.h5'
    """
    path = Path(path)
    return path.with_name(f"partial.{path.name}")


def move_into_place(partial: str | os.PathLike, path: str | os.PathLike) -> None:
    """Give a complete file its final name, and replace what had that name before.

    The file reaches the disk before it gets the name, and the name reaches the disk before this function returns.
    So if the power fails, the name refers to the old file or the new one, and both are complete. Windows cannot
    sync a folder, and neither can some network file systems. There, the new name may not survive a power failure.

    Args:
        partial: The complete file.
        path: Its final name, on the same file system.

    Raises:
        OSError: If the system cannot write or move the file.

    Example:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from mml.files import move_into_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     partial, path = Path(folder) / "partial.log.txt", Path(folder) / "log.txt"
    ...     length = partial.write_text("done")
    ...     move_into_place(partial, path)
    ...     path.read_text()
    'done'
    """
    with open(partial, "rb+") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())
    os.replace(partial, path)
    _sync_folder(Path(path).parent)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file under a temporary name, and move it into place when it is complete.

    An error, a killed process, or a power failure leaves the previous file unchanged (see `move_into_place`).

    Args:
        path: The file.

    Returns:
        A context manager that yields the temporary name, a `pathlib.Path` in the same folder.

    Example:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from mml.files import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "log.txt") as partial:
    ...         length = partial.write_text("done")
    ...     (Path(folder) / "log.txt").read_text()
    'done'
    """
    path = Path(path)
    partial = partial_name(path.with_name(f"{uuid.uuid4().hex}.{path.name}"))  # two writers do not share it
    try:
        yield partial
        move_into_place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def make_folder(path: str | os.PathLike) -> None:
    """Make a folder and its missing parents so that they survive a power failure (see `move_into_place`).

    Args:
        path: The folder. If it exists, nothing happens.

    Raises:
        OSError: If the system cannot make the folder.

    Example:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from mml.files import make_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     make_folder(Path(folder) / "runs" / "first")
    ...     [path.name for path in Path(folder, "runs").iterdir()]
    ['first']
    """
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync_folder(folder.parent)


def keras_home() -> Path:
    """Return the folder in which Keras keeps its configuration and its downloads.

    Keras has no public function for this but finds the folder in the same way.

    Returns:
        A `pathlib.Path`.

    Example:

    >>> from mml.files import keras_home
    >>> keras_home().is_absolute()
    True
    """
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser()
    home = os.path.expanduser("~")
    return Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras"


def _sync_folder(folder):
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    descriptor = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # POSIX's answer if a file system cannot sync folders
            raise
    finally:
        os.close(descriptor)
