"""Support for several devices and processes that share a run."""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np


class Place(NamedTuple):
    """The place of this process among the devices and processes that share each batch.

    Args:
        devices: Number of devices in all processes.
        process: Index of this process, counted from 0.
        processes: Number of processes.

    Example:

    >>> from mml.training.devices import Place
    >>> Place(devices=8, process=1, processes=2).writes_files
    False
    """

    devices: int = 1
    process: int = 0
    processes: int = 1

    @property
    def writes_files(self) -> bool:
        """Whether this is the one process that writes the files of a run."""
        return self.process == 0


def current_place() -> Place:
    """Return the place of this process under the current `keras.distribution`.

    Returns:
        A `Place`. Without a distribution, it is that of a single device.

    Raises:
        ValueError: If the distribution is not a `DataParallel`, or if there are several processes and it shards the
            data set automatically.

    Example:

    >>> from mml.training.devices import current_place
    >>> current_place()
    Place(devices=1, process=0, processes=1)
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return Place()
    if not isinstance(distribution, keras.distribution.DataParallel):
        raise ValueError(
            f"The Keras distribution must be a `DataParallel`, or must not be set. Received: {distribution}"
        )
    import jax  # a Keras distribution runs on JAX

    place = Place(distribution.device_mesh.devices.size, jax.process_index(), jax.process_count())
    if place.processes > 1 and distribution.auto_shard_dataset:
        raise ValueError(
            "With several processes, the distribution must not shard the images again, because each process already "
            "takes only its share: `DataParallel(auto_shard_dataset=False)`. Received: auto_shard_dataset=True"
        )
    return place


def agree(place: Place, value: Any) -> None:
    """Wait until all processes arrive here, and check that all of them pass the same value.

    Args:
        place: The `Place` of this process.
        value: Any object whose `str` differs from that of other values.

    Raises:
        ValueError: If another process passes a different value.

    Example:

    >>> from mml.training.devices import Place, agree
    >>> agree(Place(), "epoch 3")
    """
    if place.processes == 1:
        return
    from jax.experimental import multihost_utils

    digest = int.from_bytes(hashlib.sha256(str(value).encode()).digest()[:4], "big")
    if len(set(multihost_utils.process_allgather(np.uint32(digest)).tolist())) > 1:
        raise ValueError(
            "All processes must receive the same data and configuration and share one folder. "
            f"Received: {value!r} in process {place.process}, and something else in another process"
        )


@contextlib.contextmanager
def undistributed() -> Iterator[None]:
    """Save or load weights in a single process.

    To save or load an optimizer, Keras creates a second one. Under a distribution, all processes would have to create
    its variables together.

    Returns:
        A context manager that sets the distribution aside.

    Example:

    >>> import keras
    >>> from mml.training.devices import undistributed
    >>> with undistributed():
    ...     keras.distribution.distribution() is None
    True
    """
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
