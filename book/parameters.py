"""The parameters that `make book` passes to the chapters.

This script needs only Python, so that it can report a wrong value before anything is installed.
"""

import sys


def parse(arguments):
    """Turn `NAME=value` arguments into a dictionary of checked values.

    >>> parse(["DEMO_SPLIT=0.1", "EPOCHS=20"])
    {'DEMO_SPLIT': 0.1, 'EPOCHS': 20}

    Raises ValueError, which names the parameter, what was expected, and what was received.
    """
    parameters = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        if name == "DEMO_SPLIT":
            kind, allowed, expected = float, lambda value: 0 < value <= 1, "a number above 0 and at most 1"
        elif name == "EPOCHS":
            kind, allowed, expected = int, lambda value: value >= 1, "a whole number of at least 1"
        else:
            raise ValueError(f"unknown parameter {name!r}; the parameters are DEMO_SPLIT=... and EPOCHS=...")
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise ValueError(f"{name} must be {expected}. Received: {text!r}")
        parameters[name] = value
    return parameters


if __name__ == "__main__":
    try:
        parse(sys.argv[1:])
    except ValueError as error:
        sys.exit(f"Error: {error}")
