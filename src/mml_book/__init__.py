"""What only the chapters of the book need: figures in `mml_book.figures`, and measurements in `mml_book.results`.

The package needs the dependencies that the extra `book` installs. The setup cell of each chapter imports it to find
out whether they are installed, because the core of `mml` is not enough to run a chapter.

Raises:
    ImportError: If a package of the extra `book` is missing.
"""

from importlib.util import find_spec as _find_spec

_missing = [name for name in "jax matplotlib pandas scipy seaborn sklearn".split() if _find_spec(name) is None]
if _missing:
    raise ImportError(
        f"`mml_book` needs {', '.join(_missing)}. Install what the chapters need with: pip install 'mml-vision[book]'"
    )
