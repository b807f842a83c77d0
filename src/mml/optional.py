"""Optional packages, which only some functions of the library need."""

import importlib
import types


def require(module: str, purpose: str) -> types.ModuleType:
    """Import an optional package, or raise an error that says what to install.

    Args:
        module: Name of the module to import, such as `"pandas"`.
        purpose: What needs the module, for the error message.

    Returns:
        The module.

    Raises:
        ImportError: If the package is not installed.

    Example:

    >>> from mml.optional import require
    >>> require("json", "the example").dumps([1])
    '[1]'
    >>> require("no_such_package", "`mml.example`")
    Traceback (most recent call last):
    ImportError: `mml.example` needs no_such_package. Install it with: pip install 'mml-vision[book]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:  # installed, but something that it imports is missing
            raise
        raise ImportError(f"{purpose} needs {error.name}. Install it with: pip install 'mml-vision[book]'") from error
