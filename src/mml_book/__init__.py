"""What only the chapters of the book need: `mml_book.figures` draws, `mml_book.results` holds what was measured.

The package needs what the extra `book` installs. The chapters' set-up cell imports it to find out whether that is
there: the core of `mml` alone does not run a chapter.

Raises:
    ImportError: If a package of the extra `book` is missing.
"""

from importlib.util import find_spec as _find_spec

_missing = [name for name in "jax matplotlib pandas scipy seaborn sklearn".split() if _find_spec(name) is None]
if _missing:
    raise ImportError(
        f"`mml_book` needs {', '.join(_missing)}. Install what the chapters need with: pip install 'mml-vision[book]'"
    )
