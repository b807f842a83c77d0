"""Keras optimizers whose weight decay skips gains and biases and ends after a number of steps."""

import operator

import keras
from keras import ops


class _EndingDecay(keras.optimizers.Optimizer):
    """Optimizer that decays weights with two or more axes, except gains and biases, in the first `decay_steps` steps.

    The optimizer counts its steps in a variable. So decay can end within the compiled training step, and a resumed
    run ends it at the same step as an uninterrupted run.
    """

    def __init__(self, learning_rate, *, decay_steps, **kwargs):
        super().__init__(learning_rate, **kwargs)
        try:
            self.decay_steps = operator.index(decay_steps)
        except TypeError:
            self.decay_steps = -1
        if self.decay_steps < 0 or isinstance(decay_steps, bool):
            raise ValueError(f"`decay_steps` must be an integer of at least 0. Received: decay_steps={decay_steps!r}")

    def _apply_weight_decay(self, variables):
        if self.weight_decay is None:
            return
        decays = ops.cast(self.iterations < self.decay_steps, "float32")
        factor = 1 - self.weight_decay * self.learning_rate * decays
        for variable in variables:
            # A gain or a bias may have a value for each position or head, and therefore two axes.
            decaying = len(variable.shape) >= 2 and variable.name not in ("gain", "bias")
            if decaying and self._use_weight_decay(variable):
                variable.assign(variable * ops.cast(factor, variable.dtype))

    def get_config(self):
        return {**super().get_config(), "decay_steps": self.decay_steps}


@keras.saving.register_keras_serializable(package="mml")
class AdamW(_EndingDecay, keras.optimizers.AdamW):
    """Keras's `AdamW`, with weight decay that skips gains and biases and ends after a number of steps.

    Args:
        learning_rate: A number or a Keras schedule.
        decay_steps: Number of steps with weight decay. Later steps have none.
        **kwargs: As for `keras.optimizers.AdamW`.

    Raises:
        ValueError: If `decay_steps` is not an integer of at least 0.

    Example:

    >>> from mml.training.optimizers import AdamW
    >>> AdamW(1e-3, weight_decay=0.05, decay_steps=500).get_config()["decay_steps"]
    500

    Reference:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, arXiv:1711.05101, algorithm 2; Wang et
        al., "BitNet: 1-bit Pre-training for Large Language Models", JMLR 26, 2025, on the end of weight decay.
    """


@keras.saving.register_keras_serializable(package="mml")
class Muon(_EndingDecay, keras.optimizers.Muon):
    """Keras's `Muon`, with weight decay that skips gains and biases and ends after a number of steps.

    Args:
        learning_rate: A number or a Keras schedule.
        decay_steps: Number of steps with weight decay. Later steps have none.
        **kwargs: As for `keras.optimizers.Muon`, except for `adam_weight_decay`. `weight_decay` applies to all
            weights that decay, whichever of the two algorithms updates them.

    Raises:
        ValueError: If `decay_steps` is not an integer of at least 0.

    Example:

    >>> from mml.training.optimizers import Muon
    >>> Muon(1e-2, weight_decay=0.05, decay_steps=500).get_config()["decay_steps"]
    500

    Reference:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
        https://kellerjordan.github.io/posts/muon/; Liu et al., "Muon is Scalable for LLM Training", 2025,
        arXiv:2502.16982, section 2.2.
    """

    def __init__(self, learning_rate, *, decay_steps, **kwargs):
        super().__init__(learning_rate, decay_steps=decay_steps, adam_weight_decay=None, **kwargs)

    def get_config(self):
        config = super().get_config()
        del config["adam_weight_decay"]
        return config
