"""Ternary weights as bytes, and a product with them that uses only additions."""

import numpy as np

from mml.validation import ternary_values

_TRITS_PER_BYTE = 5  # 3**5 = 243 of 256 values
_POWERS = 3 ** np.arange(_TRITS_PER_BYTE, dtype="uint8")
_TRITS = (np.arange(243, dtype="uint8")[:, None] // _POWERS % 3).astype("int8") - 1  # [243, 5]


def pack_ternary(w_ternary: np.ndarray) -> np.ndarray:
    """Pack ternary weights into bytes, five per byte.

    A byte is `sum((w[i] + 1) * 3**i)` over five weights that follow each other in memory, as in
    `keras.quantizers.pack_ternary` (Keras 3.16). Keras packs along one axis and pads each line with zeros to a
    multiple of five. This function packs the flattened array and pads only its end. So the bytes agree if the packed
    axis is the last one and its length is a multiple of five.

    Args:
        w_ternary: Array of any shape and number type that holds only -1, 0, and 1.

    Returns:
        `numpy.uint8` array `[ceil(size / 5)]`.

    Raises:
        ValueError: If there are other values.

    Example:

    >>> import numpy as np
    >>> from mml.packing import pack_ternary
    >>> pack_ternary(np.array([[1, 0, -1], [0, 0, 1]])).tolist()
    [113, 122]

    Reference:
        3**5 = 243 values fit into a byte. This is 1.6 bits per weight, close to the minimum of log2(3) = 1.585.
    """
    w_ternary = np.asarray(w_ternary)
    ternary_values("w_ternary", w_ternary)
    trits = w_ternary.astype("int8").reshape(-1)
    filled = np.ones(-(-trits.size // _TRITS_PER_BYTE) * _TRITS_PER_BYTE, "uint8")
    filled[: trits.size] += trits.view("uint8")  # -1 is 255, which wraps around to 0
    return (filled.reshape(-1, _TRITS_PER_BYTE) * _POWERS).sum(axis=1, dtype="uint8")


def unpack_ternary(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Decode the bytes that `pack_ternary` returns.

    Args:
        packed: `numpy.uint8` array `[ceil(size / 5)]`.
        shape: Shape of the weights.

    Returns:
        `numpy.int8` array of that shape that holds only -1, 0, and 1.

    Raises:
        ValueError: If `packed` does not hold bytes, if their number does not fit the shape, or if one does not encode
            five weights.

    Example:

    >>> import numpy as np
    >>> from mml.packing import unpack_ternary
    >>> unpack_ternary(np.array([113, 122], "uint8"), (2, 3)).tolist()
    [[1, 0, -1], [0, 0, 1]]
    """
    packed = np.asarray(packed)
    if packed.dtype != np.uint8:
        raise ValueError(f"`packed` must hold bytes (uint8). Received: packed.dtype={packed.dtype}")
    size = int(np.prod(shape, dtype="int64"))
    if packed.shape != (-(-size // _TRITS_PER_BYTE),):
        raise ValueError(
            f"`packed` must have {-(-size // _TRITS_PER_BYTE)} bytes for {size} weights. "
            f"Received: packed.shape={packed.shape}"
        )
    if packed.size and packed.max() >= len(_TRITS):
        raise ValueError(f"`packed` must hold bytes below {len(_TRITS)}. Received: {packed.max()}")
    trits = np.take(_TRITS, packed, axis=0).reshape(-1)
    if trits[size:].any():
        raise ValueError(f"`packed` must pad its last byte with weights of 0. Received: {trits[size:].tolist()}")
    return trits[:size].reshape(shape)


def additions_only_product(x_quantized: np.ndarray, w_ternary: np.ndarray) -> np.ndarray:
    """Multiply 8-bit vectors by a ternary matrix without multiplications: a slow reference implementation.

    Each output is the sum of the inputs whose weight is 1, minus the sum of those whose weight is -1.

    Args:
        x_quantized: int8 array `[rows, features]`.
        w_ternary: Integer array `[units, features]` that holds -1, 0, and 1.

    Returns:
        int32 array `[rows, units]`, equal to `x_quantized @ w_ternary.T`.

    Raises:
        ValueError: If an array has the wrong dtype, shape, or values, or if there are so many features that a sum
            might overflow 32 bits: 2**24 or more.

    Example:

    >>> import numpy as np
    >>> from mml.packing import additions_only_product
    >>> x_quantized = np.array([[100, 20, 3]], "int8")
    >>> additions_only_product(x_quantized, np.array([[1, 0, -1], [-1, -1, -1]])).tolist()
    [[97, -123]]

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.1.
    """
    x_quantized, w_ternary = np.asarray(x_quantized), np.asarray(w_ternary)
    if x_quantized.dtype != np.int8 or x_quantized.ndim != 2 or x_quantized.shape[1] >= 2**24:
        raise ValueError(
            "`x_quantized` must be int8 [rows, features], with fewer than 2**24 features. "
            f"Received: {x_quantized.dtype} {list(x_quantized.shape)}"
        )
    if w_ternary.ndim != 2 or w_ternary.shape[1] != x_quantized.shape[1]:
        raise ValueError(
            f"`w_ternary` must have the shape [units, {x_quantized.shape[1]}]. "
            f"Received: w_ternary.shape={w_ternary.shape}"
        )
    ternary_values("w_ternary", w_ternary)
    product = np.zeros((len(x_quantized), len(w_ternary)), "int32")
    for unit, weights in enumerate(w_ternary):
        for feature in np.flatnonzero(weights == 1):
            product[:, unit] += x_quantized[:, feature]
        for feature in np.flatnonzero(weights == -1):
            product[:, unit] -= x_quantized[:, feature]
    return product
