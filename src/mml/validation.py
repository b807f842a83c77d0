"""Checks of arguments, so that a wrong one is named before any work is lost."""

import operator


def positive_integer(name, value):
    """Return `value` as an `int`, or say which argument is wrong.

    Args:
        name: Name of the argument.
        value: What was passed for it.

    Returns:
        An `int` of at least 1.

    Raises:
        ValueError: If `value` is not an integer (a `bool` is none) or is below 1.

    Example:

    >>> from mml.validation import positive_integer
    >>> positive_integer("units", 64)
    64
    >>> positive_integer("units", 0)
    Traceback (most recent call last):
    ValueError: `units` must be a positive integer. Received: units=0
    """
    try:
        integer = operator.index(value)
    except TypeError:
        integer = 0
    if integer < 1 or isinstance(value, bool):
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return integer
