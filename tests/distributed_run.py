"""A tiny run on virtual CPU devices, in a process of its own."""

import dataclasses
import json
import signal

import jax
import keras
import killed_run

from mml.training import train

BATCH_SIZE = 16


def train_distributed(
    directory, devices, batch_size=BATCH_SIZE, killing=(), process=(), config=killed_run.CONFIG, build=None
):
    """Train on several devices, and print what happened as JSON.

    That is: the numbers of devices that hold a weight, how many images each device got of each batch, and the epochs.

    Args:
        directory: Folder of the run's folder.
        devices: Number of devices in this process.
        batch_size: Images in a step.
        killing: As for `killed_run.arm`; a cluster kills by SIGTERM.
        process: Port, number of processes, and which one of them this is.
        config: The recipe, apart from the batch size.
        build: As for `train`.
    """
    jax.config.update("jax_num_cpu_devices", devices)
    if process:
        port, processes, number = process
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        keras.distribution.initialize(f"localhost:{port}", processes, number)
    if killing:
        killed_run.arm(*killing, by=signal.SIGTERM)

    shares = set()
    make_array = jax.make_array_from_process_local_data

    def recorded(*args, **kwargs):
        array = make_array(*args, **kwargs)
        shares.add(tuple(len(shard.data) for shard in array.addressable_shards))
        return array

    jax.make_array_from_process_local_data = recorded  # what Keras makes of a batch
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    config = dataclasses.replace(config, batch_size=batch_size)
    run = train(killed_run.tiny_data(), config, directory, verbose=0, build=build)
    holders = {len(weight.value.sharding.device_set) for weight in run.model.weights}
    print(json.dumps({"holders": sorted(holders), "shares": sorted(shares), "epochs": len(run.records)}))
