import keras

from mml.validation import one_of


class TernaryLayer(keras.layers.Layer):
    """Base class of layers that are made of ternary products and declare one of three states.

    - `"float"`: nothing is rounded. This is the twin for comparison.
    - `"ternary"`: a latent float kernel is rounded in each forward pass. This is the state for training.
    - `"packed"`: the kernel is an int8 ternary matrix. This state is for inference only.

    A layer stores its state in its configuration and passes it on to the ternary layers inside it. So saving,
    loading, and cloning keep the state. `mml.packing.pack` turns a trained model into its packed form.

    Args:
        quantization: `"float"`, `"ternary"`, or `"packed"`.

    Raises:
        ValueError: If `quantization` is not one of these.

    Example:

    >>> from mml.layers import DenseMML
    >>> DenseMML(8, quantization="float").quantization
    'float'
    """

    def __init__(self, quantization="ternary", **kwargs):
        super().__init__(**kwargs)
        # === Config ===
        self.quantization = one_of("quantization", quantization, ("float", "ternary", "packed"))
        self.supports_masking = True

    def quantize(self, mode, type_check=True, config=None):
        """Turn a built ternary layer into a packed one, following Keras's quantization protocol.

        This needs a version of Keras that knows the mode `"ternary"` (3.16 or later). There,
        `keras.Model.quantize("ternary")` calls this method on each layer, and you can also call it on a single one.
        The layer's predictions stay the same, but it can no longer be trained.

        Args:
            mode: `"ternary"`.
            type_check: Part of Keras's protocol; not used here.
            config: Part of Keras's protocol; not used here.

        Raises:
            NotImplementedError: If `mode` is not `"ternary"`, or if the layer is in the float state.
                `keras.Model.quantize` then leaves the layer as it is.

        Example:

        >>> from mml.layers import DenseMML
        >>> layer = DenseMML(8, name="dense")
        >>> layer.build((None, 4))
        >>> layer.quantize("int8")
        Traceback (most recent call last):
        NotImplementedError: `mode` must be 'ternary', and the layer must not be in the state 'float'. Received: ...
        """
        if mode != "ternary" or self.quantization == "float":
            raise NotImplementedError(
                "`mode` must be 'ternary', and the layer must not be in the state 'float'. "
                f"Received: mode={mode!r} for the layer {self.name} in the state {self.quantization!r}"
            )
        for layer in self._flatten_layers(include_self=False, recursive=False):
            if isinstance(layer, TernaryLayer):
                layer.quantize(mode)
        self.quantization = "packed"

    def get_config(self):
        return {**super().get_config(), "quantization": self.quantization}
