"""Rounds in which contenders take turns, so that whatever else the machine does affects all of them."""

import time

import jax
import numpy as np


def interleave(benchmark, measures, rounds, prepare=None, target="ours"):
    """Call each of the functions once in each round; return the arrays of what they returned.

    The target comes last in a round, because pytest-benchmark times and reports that one. `prepare` is called with
    each function, just before the function itself.
    """
    measured = {name: [] for name in measures}

    def run(name):
        measured[name].append(measures[name]())

    def run_others():
        for name in (*(name for name in measures if name != target), target):
            if prepare:
                prepare(measures[name])
            if name != target:
                run(name)

    benchmark.pedantic(run, args=(target,), setup=run_others, rounds=rounds)
    return {name: np.array(values) for name, values in measured.items()}


def warm_up(measure):
    """Do once, without a clock, what is measured next, so that the caches hold its data."""
    measure()


def timed(run):
    """Return a function that returns the seconds until the result of `run` is there."""

    def measure():
        start = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - start

    return measure
