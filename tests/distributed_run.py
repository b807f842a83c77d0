"""Train a tiny run on virtual CPU devices: `python distributed_run.py DIRECTORY DEVICES [OPTIONS]`.

OPTIONS is JSON: `batch_size`; `kill`, WHERE, FILE and COUNT as in `killed_run.py`, but by SIGTERM, as a cluster does;
or `process`, the port, the number of processes and which one of them this is. DEVICES is the number in each process.
It prints JSON: the devices that hold the weights, how many images each device got of each batch, and the epochs.
"""

import json
import os
import signal
import sys

os.environ["KERAS_BACKEND"] = "jax"

import jax

if __name__ == "__main__":  # before JAX starts
    directory, devices, *options = sys.argv[1:]
    options = json.loads(options[0]) if options else {}
    jax.config.update("jax_num_cpu_devices", int(devices))
    if "process" in options:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")

import dataclasses

import keras
import killed_run

from mml.training import train

BATCH_SIZE = 16


def kill_by_sigterm():
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    if "process" in options:
        port, processes, process = options["process"]
        keras.distribution.initialize(f"localhost:{port}", processes, process)
    if "kill" in options:
        killed_run.die = kill_by_sigterm
        killed_run.arm(*options["kill"])

    shares = set()
    make_array = jax.make_array_from_process_local_data

    def recorded(*args, **kwargs):
        array = make_array(*args, **kwargs)
        shares.add(tuple(len(shard.data) for shard in array.addressable_shards))
        return array

    jax.make_array_from_process_local_data = recorded  # what Keras makes of a batch
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    config = dataclasses.replace(killed_run.CONFIG, batch_size=options.get("batch_size", BATCH_SIZE))
    run = train(killed_run.tiny_data(), config, directory, verbose=0)
    holders = {len(weight.value.sharding.device_set) for weight in run.model.weights}
    print(json.dumps({"holders": sorted(holders), "shares": sorted(shares), "epochs": len(run.history)}))
