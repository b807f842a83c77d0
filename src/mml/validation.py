"""Argument checks, which name a wrong argument before any work is lost."""

import contextlib
import math
import numbers
import operator
from collections.abc import Callable
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


def positive_integers(name: str, value: Any, expected: str, count: int | None = None) -> tuple[int, ...]:
    """Return `value` as a tuple of `int`, or raise an error that shows the whole argument.

    Args:
        name: Name of the argument.
        value: What was passed for it.
        expected: What is allowed, such as `"a tuple of positive integers"`.
        count: How many integers there must be. By default, any number of them.

    Returns:
        A tuple of integers of at least 1.

    Raises:
        ValueError: If `value` is not a tuple or list of `count` positive integers.

    Example:

    >>> from mml.validation import positive_integers
    >>> positive_integers("head_units", [64, 32], "a tuple of positive integers")
    (64, 32)
    >>> positive_integers("head_units", (64, 0), "a tuple of positive integers")
    Traceback (most recent call last):
    ValueError: `head_units` must be a tuple of positive integers. Received: head_units=(64, 0)
    """
    if isinstance(value, (tuple, list)) and count in (None, len(value)):
        with contextlib.suppress(ValueError):
            return tuple(positive_integer(name, size) for size in value)
    raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")


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


def number(name: str, value: Any, expected: str, holds: Callable[[float], bool] = math.isfinite) -> float:
    """Return `value` as a `float`, or raise an error that names the argument.

    Args:
        name: Name of the argument.
        value: What was passed for it.
        expected: What is allowed, such as `"a number above 0"`.
        holds: Function that returns whether a finite `float` is allowed. By default, all of them are.

    Returns:
        A finite `float`.

    Raises:
        ValueError: If `value` is not a finite number (a `bool` is not one) or is not allowed.

    Example:

    >>> from mml.validation import number
    >>> number("start", 1, "a finite number")
    1.0
    >>> number("rate", -1, "a number above 0", lambda rate: rate > 0)
    Traceback (most recent call last):
    ValueError: `rate` must be a number above 0. Received: rate=-1
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        result = python_float(value) if is_number else math.nan
    except OverflowError:  # an integer that no float can hold
        result = math.inf
    if not math.isfinite(result) or not holds(result):
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
    return result


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
    return number(name, value, "a number from 0 to 1", lambda share: 0 <= share <= 1)


def fraction(name: str, value: Any) -> float:
    """Return `value` as a `float`, or raise an error that names the argument.

    Args:
        name: Name of the argument.
        value: What was passed for it.

    Returns:
        A `float` of at least 0 and below 1.

    Raises:
        ValueError: If `value` is not a number of at least 0 and below 1 (a `bool` is not one).

    Example:

    >>> from mml.validation import fraction
    >>> fraction("validation_split", 0.1)
    0.1
    """
    return number(name, value, "a number of at least 0 and below 1", lambda fraction: 0 <= fraction < 1)


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
    rows, columns = positive_integers(name, value, "a pair of positive integers: rows and columns", 2)
    return rows, columns


def ternary_values(name: str, value: np.ndarray) -> None:
    """Check that an array holds only -1, 0, and 1, or raise an error that names the first other value.

    Args:
        name: Name of the argument.
        value: What was passed for it, an array of any shape and number type.

    Raises:
        ValueError: If there is another value.

    Example:

    >>> import numpy as np
    >>> from mml.validation import ternary_values
    >>> ternary_values("w_ternary", np.array([-1, 0, 1]))
    >>> ternary_values("w_ternary", np.array([1, 0, 2]))
    Traceback (most recent call last):
    ValueError: `w_ternary` must hold only -1, 0, and 1. Received: 2
    """
    others = value[(value != -1) & (value != 0) & (value != 1)]
    if others.size:
        raise ValueError(f"`{name}` must hold only -1, 0, and 1. Received: {others[0]}")


def mask_of_steps(mask: Any, batch: int | None, steps: int | None, one_for_all: bool = False) -> None:
    """Check that a mask has one value for each step of a sequence, or raise an error that states the shape.

    Args:
        mask: Tensor of which only the shape is read. It may hold one sequence for the whole batch.
        batch: Number of sequences, or None if it is unknown.
        steps: Number of steps, or None if it is unknown.
        one_for_all: Whether the mask may also hold one value for all steps.

    Raises:
        ValueError: If the shape is not `[batch, steps]`, as far as it is known.

    Example:

    >>> import numpy as np
    >>> from mml.validation import mask_of_steps
    >>> mask_of_steps(np.ones((5, 6), "bool"), 5, 6)
    >>> mask_of_steps(np.ones((5, 7), "bool"), 5, 6)
    Traceback (most recent call last):
    ValueError: `mask` must have the shape [batch, steps] = [5, 6]. Received: mask.shape=(5, 7)
    """
    shape = tuple(mask.shape)
    allowed = (batch, 1), (steps, 1 if one_for_all else steps)
    if len(shape) != 2 or any(
        None not in (size, sizes[0]) and size not in sizes for size, sizes in zip(shape, allowed, strict=True)
    ):
        raise ValueError(
            f"`mask` must have the shape [batch, steps] = {[batch, steps]}. Received: mask.shape={shape}"
        )
