"""Argument checks, which name a wrong argument before any work is lost."""

import math
import numbers
import operator
from typing import Any

import numpy as np


def positive_integer(name: str, value: Any) -> int:
    """Return `value` as an `int`, or raise an error that names the argument.

    Args:
        name: Name of the argument.
        value: What was passed for it.

    Returns:
        An `int` of at least 1.

    Raises:
        ValueError: If `value` is not an integer (a `bool` is not one) or is below 1.

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


def divides(name: str, value: int, whole_name: str, whole: int) -> None:
    """Check that one size divides another, or raise an error that names the two arguments.

    Args:
        name: Name of the argument that must divide the other.
        value: What was passed for it, a positive integer.
        whole_name: Name of the argument that it must divide.
        whole: What was passed for that one, a positive integer.

    Raises:
        ValueError: If `value` does not divide `whole`.

    Example:

    >>> from mml.validation import divides
    >>> divides("num_heads", 4, "units", 64)
    >>> divides("num_heads", 3, "units", 64)
    Traceback (most recent call last):
    ValueError: `num_heads` must divide `units`. Received: num_heads=3, units=64
    """
    if whole % value:
        raise ValueError(f"`{name}` must divide `{whole_name}`. Received: {name}={value}, {whole_name}={whole}")


def share(name: str, value: Any) -> float:
    """Return `value` as a `float`, or raise an error that names the argument.

    Args:
        name: Name of the argument.
        value: What was passed for it.

    Returns:
        A `float` from 0 to 1.

    Raises:
        ValueError: If `value` is not a number from 0 to 1 (a `bool` is not one).

    Example:

    >>> from mml.validation import share
    >>> share("rate", 0.1)
    0.1
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"`{name}` must be a number from 0 to 1. Received: {name}={value!r}")
    return python_float(value)


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of the choices, or raise an error that names the argument.

    Args:
        name: Name of the argument.
        value: What was passed for it.
        choices: The strings that are allowed, at least two.

    Returns:
        The string.

    Raises:
        ValueError: If `value` is not one of these.

    Example:

    >>> from mml.validation import one_of
    >>> one_of("padding", "same", ("valid", "same"))
    'same'
    >>> one_of("padding", "full", ("valid", "same"))
    Traceback (most recent call last):
    ValueError: `padding` must be 'valid' or 'same'. Received: padding='full'
    """
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        comma = "," if len(others) > 1 else ""
        raise ValueError(f"`{name}` must be {', '.join(others)}{comma} or {last}. Received: {name}={value!r}")
    return value


def finite_number(name: str, value: Any) -> float:
    """Return `value` as a `float`, or raise an error that names the argument.

    Args:
        name: Name of the argument.
        value: What was passed for it.

    Returns:
        A finite `float`.

    Raises:
        ValueError: If `value` is not a finite number (a `bool` is not one).

    Example:

    >>> from mml.validation import finite_number
    >>> finite_number("start", 1)
    1.0
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}")
    return python_float(value)


def python_float(value: Any) -> float:
    """Return a real number as the `float` that it stands for.

    Args:
        value: A real number of Python or NumPy.

    Returns:
        A `float`. For `numpy.float32(0.1)` it is 0.1 instead of 0.10000000149.

    Example:

    >>> import numpy as np
    >>> from mml.validation import python_float
    >>> python_float(np.float32(0.1))
    0.1
    """
    return float(str(value)) if isinstance(value, np.floating) else float(value)


def grid_of_tokens(name: str, value: Any) -> tuple[int, int]:
    """Return `value` as a pair of integers, or raise an error that names the argument.

    Args:
        name: Name of the argument.
        value: What was passed for it: rows and columns.

    Returns:
        A pair of integers of at least 1.

    Raises:
        ValueError: If `value` is not a pair of positive integers.

    Example:

    >>> from mml.validation import grid_of_tokens
    >>> grid_of_tokens("grid", [8, 8])
    (8, 8)
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(
            f"`{name}` must be a pair of positive integers: rows and columns. Received: {name}={value!r}"
        )
    rows, columns = (positive_integer(name, side) for side in value)
    return rows, columns


def mask_of_tokens(mask: Any, grid: tuple[int, int]) -> None:
    """Check that a mask has one value for each token of a grid, or raise an error that states the shape.

    Args:
        mask: Tensor of which only the shape is read. The number of tokens in it may be unknown.
        grid: Rows and columns of tokens.

    Raises:
        ValueError: If the shape is not `[batch, rows * columns]`.

    Example:

    >>> import numpy as np
    >>> from mml.validation import mask_of_tokens
    >>> mask_of_tokens(np.ones((5, 6), "bool"), (2, 3))
    >>> mask_of_tokens(np.ones((5, 7), "bool"), (2, 3))
    Traceback (most recent call last):
    ValueError: `mask` must have the shape [batch, tokens], with 2 * 3 tokens. Received: mask.shape=(5, 7)
    """
    rows, columns = grid
    if len(mask.shape) != 2 or mask.shape[1] not in (None, rows * columns):
        raise ValueError(
            f"`mask` must have the shape [batch, tokens], with {rows} * {columns} tokens. "
            f"Received: mask.shape={tuple(mask.shape)}"
        )
