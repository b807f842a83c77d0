"""Files that are there whole, or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file under a temporary name, and move it into place when it is complete.

    A process killed in between, or an error, leaves what was there before.

    Args:
        path: The file.

    Returns:
        A context manager; its `pathlib.Path` is the temporary name, in the same folder.

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
    partial = path.with_name(f"partial.{path.name}")
    yield partial
    os.replace(partial, path)
