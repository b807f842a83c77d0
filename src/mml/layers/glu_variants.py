import keras

from mml.layers.glu_mml import GLUMML


class _NamedGLUMML(GLUMML):
    """A `GLUMML` whose activation is fixed by its class."""

    fixed_activation: str

    def __init__(
        self,
        units,
        hidden_ratio=4,
        intermediate_size=None,
        per_feature_gain=False,
        quantization="ternary",
        **kwargs,
    ):
        activation = self.fixed_activation
        super().__init__(units, hidden_ratio, intermediate_size, activation, per_feature_gain, quantization, **kwargs)

    def get_config(self):
        config = super().get_config()
        del config["activation"]
        return config


@keras.saving.register_keras_serializable(package="mml")
class SwiGLUMML(_NamedGLUMML):
    """`GLUMML` whose gate is activated by SiLU, also called Swish.

    Args:
        units, hidden_ratio, intermediate_size, per_feature_gain, quantization: As in `GLUMML`.

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: As in `GLUMML`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import SwiGLUMML
    >>> SwiGLUMML(8, intermediate_size=16)(np.ones((2, 5, 8), "float32")).shape
    (2, 5, 8)

    Reference:
        Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202, equation 6.
    """

    fixed_activation = "silu"


@keras.saving.register_keras_serializable(package="mml")
class GeGLUMML(_NamedGLUMML):
    """`GLUMML` whose gate is activated by GELU.

    Args:
        units, hidden_ratio, intermediate_size, per_feature_gain, quantization: As in `GLUMML`.

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: As in `GLUMML`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import GeGLUMML
    >>> GeGLUMML(8, intermediate_size=16)(np.ones((2, 5, 8), "float32")).shape
    (2, 5, 8)

    Reference:
        Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202, equation 6.
    """

    fixed_activation = "gelu"


@keras.saving.register_keras_serializable(package="mml")
class ReGLUMML(_NamedGLUMML):
    """`GLUMML` whose gate is activated by ReLU.

    Args:
        units, hidden_ratio, intermediate_size, per_feature_gain, quantization: As in `GLUMML`.

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: As in `GLUMML`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import ReGLUMML
    >>> ReGLUMML(8, intermediate_size=16)(np.ones((2, 5, 8), "float32")).shape
    (2, 5, 8)

    Reference:
        Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202, equation 6.
    """

    fixed_activation = "relu"


@keras.saving.register_keras_serializable(package="mml")
class SeGLUMML(_NamedGLUMML):
    """`GLUMML` whose gate is activated by SELU.

    Args:
        units, hidden_ratio, intermediate_size, per_feature_gain, quantization: As in `GLUMML`.

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: As in `GLUMML`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import SeGLUMML
    >>> SeGLUMML(8, intermediate_size=16)(np.ones((2, 5, 8), "float32")).shape
    (2, 5, 8)

    Reference:
        Klambauer et al., "Self-Normalizing Neural Networks", 2017, arXiv:1706.02515, equation 2, for the
        activation (SELU), which replaces the gate's sigmoid.
    """

    fixed_activation = "selu"


@keras.saving.register_keras_serializable(package="mml")
class BilinearMML(_NamedGLUMML):
    """`GLUMML` whose gate has no activation: the product of two linear maps.

    Args:
        units, hidden_ratio, intermediate_size, per_feature_gain, quantization: As in `GLUMML`.

    Call arguments:
        inputs: Float tensor `[batch, ..., features]`.

    Returns:
        Float tensor `[batch, ..., units]`.

    Raises:
        ValueError: As in `GLUMML`.

    Example:

    >>> import numpy as np
    >>> from mml.layers import BilinearMML
    >>> BilinearMML(8, intermediate_size=16)(np.ones((2, 5, 8), "float32")).shape
    (2, 5, 8)

    Reference:
        Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202, equation 6.
    """

    fixed_activation = "linear"
