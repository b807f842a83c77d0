"""An estimate of the energy from Horowitz's published figures."""

from collections import defaultdict
from typing import TYPE_CHECKING

from mml.optional import require

if TYPE_CHECKING:
    import pandas

# Horowitz, 2014, figure 1.1.9: picojoules in a 45 nm process at 0.9 V.
HOROWITZ_PJ = {
    "int8 addition": 0.03,
    "int32 addition": 0.1,
    "int8 multiplication": 0.2,
    "int32 multiplication": 3.1,
    "float16 addition": 0.4,
    "float32 addition": 0.9,
    "float16 multiplication": 1.1,
    "float32 multiplication": 3.7,
    "8 bytes from a cache of 8 KB": 10,
    "8 bytes from a cache of 32 KB": 20,
    "8 bytes from a cache of 1 MB": 100,
    "8 bytes from DRAM": 1300,  # up to 2600
}

_STAND_INS = {
    "function": "multiplication",
    "comparison": "addition",
    "bool": "int8",
    "uint8": "int8",
    "int16": "int32",
    "uint16": "int32",
    "uint32": "int32",
    "bfloat16": "float16",
}


def energy(operations: "pandas.DataFrame", memory: "pandas.DataFrame") -> "pandas.DataFrame":
    """Estimate the energy of one image from published figures for a single operation.

    The figures, `HOROWITZ_PJ`, are for a 45 nm process. Only their ratios carry over to a newer one. They leave out
    the energy that a processor spends on its instructions, which is more than the arithmetic takes unless the
    processor is built for the task. Where there is no published figure, the estimate is low:

    - A `function` costs as much as a multiplication, and a `comparison` costs as much as an addition.
    - 16-bit integers cost as much as 32-bit ones, bfloat16 as much as float16, and Booleans as much as 8-bit
      integers.
    - Weights come from DRAM, at the lower end of its range. Activations go to and from a cache of 1 MB.
    - The memory traffic of element-wise operations is left out. Ternary weights do not reduce it, so this favors
      ternary models.

    Args:
        operations: The result of `count_operations`.
        memory: The result of `count_bytes`.

    Returns:
        A `pandas.DataFrame` with the columns `part` (`arithmetic` or `memory`), `kind` (an operation, `weights`, or
        `activations`), and `microjoules`.

    Raises:
        ImportError: If pandas is not installed.
        ValueError: If there is no figure for a number type, such as float64.

    Example:

    >>> import keras
    >>> from mml.costs import count_bytes, count_operations, energy
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    >>> energy(count_operations(model), count_bytes(model))
             part            kind  microjoules
    0  arithmetic        addition     0.000018
    1  arithmetic  multiplication     0.000059
    2      memory     activations     0.000400
    3      memory         weights     0.013000

    Reference:
        Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014,
        doi:10.1109/ISSCC.2014.6757323, figure 1.1.9.
    """
    pandas = require("pandas", "`mml.costs`")
    picojoules: defaultdict[tuple[str, str], float] = defaultdict(float)
    for operation, dtype, count in operations.itertuples(index=False):
        figure = " ".join(_STAND_INS.get(word, word) for word in (dtype, operation))
        if figure not in HOROWITZ_PJ:
            raise ValueError(f"`operations` must have types with a known energy. Received: {operation} of {dtype}")
        picojoules["arithmetic", operation] += count * HOROWITZ_PJ[figure]
    for data, _, size in memory.itertuples(index=False):
        place = {"weights": "DRAM", "activations": "a cache of 1 MB"}[data]
        picojoules["memory", data] += size / 8 * HOROWITZ_PJ[f"8 bytes from {place}"]
    rows = [(*key, total / 1e6) for key, total in sorted(picojoules.items())]
    return pandas.DataFrame(rows, columns=["part", "kind", "microjoules"])
