import keras
from keras import ops

from mml.layers.dense_mml import DenseMML
from mml.layers.ternary_layer import TernaryLayer
from mml.validation import positive_integer


@keras.saving.register_keras_serializable(package="mml")
class PatchEmbedding(TernaryLayer):
    """Layer that projects each patch to a token and optionally adds a learned vector for its position.

    Args:
        num_patches: Number of patches in an image.
        embedding_dim: Size of a token.
        use_mml: Whether the projection is ternary (`DenseMML`). If not, it is a `Dense` layer.
        with_positions: Whether each position has a learned vector that is added to its token.
        per_feature_gain: Whether the norm's gain has one value per feature (see `RMSNorm`). If it does and there are
            no positions, images may have any number of patches.
        quantization: State of the ternary projection (see `DenseMML`).

    Call arguments:
        inputs: Float tensor `[batch, num_patches, patch_features]`, as `Patches` returns it.

    Returns:
        Float tensor `[batch, num_patches, embedding_dim]`.

    Raises:
        ValueError: If a size is not a positive integer, or if an image has a different number of patches.

    Example:

    >>> import numpy as np
    >>> from mml.layers import PatchEmbedding
    >>> layer = PatchEmbedding(num_patches=4, embedding_dim=8, with_positions=True)
    >>> layer(np.ones((2, 4, 12), "float32")).shape
    (2, 4, 8)

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929, section 3.1, equation 1.
    """

    def __init__(
        self,
        num_patches,
        embedding_dim,
        use_mml=True,
        with_positions=False,
        per_feature_gain=False,
        quantization="ternary",
        **kwargs,
    ):
        super().__init__(quantization, **kwargs)
        # === Config ===
        self.num_patches = positive_integer("num_patches", num_patches)
        self.embedding_dim = positive_integer("embedding_dim", embedding_dim)
        self.use_mml = use_mml
        self.with_positions = with_positions
        self.per_feature_gain = per_feature_gain
        any_number = per_feature_gain and not with_positions
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={} if any_number else {1: self.num_patches})

    def build(self, input_shape):
        batch, _, features = input_shape
        if self.use_mml:
            self.projection = DenseMML(
                self.embedding_dim,
                per_feature_gain=self.per_feature_gain,
                quantization=self.quantization,
                dtype=self.dtype_policy,
                trainable=self.trainable,
                name="projection",
            )
        else:
            self.projection = keras.layers.Dense(
                self.embedding_dim, dtype=self.dtype_policy, trainable=self.trainable, name="projection"
            )
        self.projection.build((batch, self.num_patches, features))
        if self.with_positions:
            self.positions = keras.layers.Embedding(
                self.num_patches,
                self.embedding_dim,
                dtype=self.dtype_policy,
                trainable=self.trainable,
                name="positions",
            )
            self.positions.build((self.num_patches,))

    def call(self, inputs):
        tokens = self.projection(inputs)  # [B, N, D]
        if self.with_positions:
            tokens = tokens + self.positions(ops.arange(self.num_patches))  # [N, D]
        return tokens

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.embedding_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "num_patches": self.num_patches,
            "embedding_dim": self.embedding_dim,
            "use_mml": self.use_mml,
            "with_positions": self.with_positions,
            "per_feature_gain": self.per_feature_gain,
        }
