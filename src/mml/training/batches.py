"""Batches of the same size, in an order that depends on a seed and the number of the epoch."""

import math

import keras
import numpy as np

from mml.validation import positive_integer


class ShuffledBatches(keras.utils.PyDataset):
    """Batches in an order that depends only on the seed and the epoch, so that a resumed run sees the same ones.

    All batches of an epoch have the same size. JAX would compile a smaller last batch separately, which takes longer
    than many steps, and several devices could not share it equally. So the last batch is padded with images of
    weight 0, which `compile_model` takes into account.

    Args:
        x: Images, `[images, ...]`.
        y: Labels, `[images, ...]`.
        batch_size: Images per batch. If there are fewer images than that, they all form one batch.
        seed: Integer of at least 0.
        devices: Number of devices that share a batch. `batch_size` must be a multiple of it.
        process: If several processes feed the devices, the index of this one, counted from 0.
        processes: Number of processes. Each provides its own share of each batch.

    Returns:
        For each index, a tuple of images, labels, and float32 weights `[batch / processes]`. The weight is 1, or 0
        for an image that pads the batch.

    Raises:
        ValueError: If there is not one label per image, if a number is not a positive integer, if the devices cannot
            share a batch equally, if the processes cannot share the devices equally, or if `process` or `seed` is out
            of range.

    Example:

    >>> import numpy as np
    >>> from mml.training import ShuffledBatches
    >>> batches = ShuffledBatches(np.arange(5), np.arange(5), batch_size=2, seed=0)
    >>> batches.shuffle(epoch=3)
    >>> sorted(np.concatenate([x[weights > 0] for x, y, weights in batches]).tolist())
    [0, 1, 2, 3, 4]
    >>> batches[2][2].tolist()
    [1.0, 0.0]
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        seed: int,
        devices: int = 1,
        process: int = 0,
        processes: int = 1,
    ):
        super().__init__()
        if len(x) != len(y):
            raise ValueError(f"`y` must hold one label per image. Received: {len(x)} images and {len(y)} labels")
        self.batch_size = positive_integer("batch_size", batch_size)
        self.devices = positive_integer("devices", devices)
        self.processes = positive_integer("processes", processes)
        if batch_size % devices:
            raise ValueError(
                f"`batch_size` must be a multiple of {devices}, the number of devices that share a batch. "
                f"Received: batch_size={batch_size}"
            )
        if devices % processes:
            raise ValueError(
                f"`devices` must be a multiple of {processes}, the number of processes. Received: devices={devices}"
            )
        if not 0 <= process < processes:
            raise ValueError(f"`process` must be from 0 to {processes - 1}. Received: process={process!r}")
        if seed < 0:
            raise ValueError(f"`seed` must not be negative. Received: seed={seed!r}")
        self.x, self.y, self.seed, self.process = x, y, seed, process
        self.shuffle(epoch=0)

    def shuffle(self, epoch: int) -> None:
        """Put the images in the order of an epoch.

        Args:
            epoch: Number of the epoch, counted from 0.
        """
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.x))

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be from 0 to {len(self) - 1}. Received: index={index}")
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        size = min(self.batch_size, math.ceil(len(self.x) / self.devices) * self.devices)
        filled = np.resize(chosen, size)  # repeats the batch's first images at its end
        weights = (np.arange(size) < len(chosen)).astype("float32")
        share = size // self.processes
        own = slice(self.process * share, (self.process + 1) * share)
        return self.x[filled[own]], self.y[filled[own]], weights[own]
