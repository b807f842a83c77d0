"""Optimizers of Keras whose weight decay acts on matrices alone and ends after a number of steps."""

import keras
from keras import ops


class _EndingDecay:
    """Decay matrices, during the first `decay_steps` steps.

    The optimizer counts its steps in a variable. So decay ends within the compiled training step, and a resumed run
    ends it where the run would have ended it without the interruption.
    """

    def __init__(self, *args, decay_steps, **kwargs):
        super().__init__(*args, **kwargs)
        self.decay_steps = decay_steps

    def _apply_weight_decay(self, variables):
        decays = ops.cast(self.iterations < self.decay_steps, "float32")
        factor = 1 - self.weight_decay * self.learning_rate * decays
        for variable in variables:
            if len(variable.shape) == 2 and self._use_weight_decay(variable):
                variable.assign(variable * ops.cast(factor, variable.dtype))

    def get_config(self):
        return {**super().get_config(), "decay_steps": self.decay_steps}


@keras.saving.register_keras_serializable(package="mml")
class AdamW(_EndingDecay, keras.optimizers.AdamW):
    """Keras's `AdamW`, whose weight decay acts on matrices alone and ends after a number of steps.

    Args:
        decay_steps: Steps with weight decay; from then on there is none.
        *args, **kwargs: As for `keras.optimizers.AdamW`.

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
    """Keras's `Muon`, whose weight decay acts on matrices alone and ends after a number of steps.

    Args:
        decay_steps: Steps with weight decay; from then on there is none.
        *args, **kwargs: As for `keras.optimizers.Muon`.

    Example:

    >>> from mml.training.optimizers import Muon
    >>> Muon(1e-2, weight_decay=0.05, decay_steps=500).get_config()["decay_steps"]
    500

    Reference:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
        https://kellerjordan.github.io/posts/muon/; Liu et al., "Muon is Scalable for LLM Training", 2025,
        arXiv:2502.16982, section 2.2.
    """
