"""Measure speed: `make bench`, or `python -m pytest -p no:randomly tests/benchmarks/bench_speed.py`.

This takes about half an hour on two cores, half of it for the peer. With `-k` only a part is measured, and the other
rows of the tables stay. With `--benchmark-disable` everything is done once and no table is written. No test asserts
anything about time.

Each contender works in a process of its own, see `worker`. Each round of a benchmark times every contender once, one
after the other, so that whatever else the machine does affects all of them. Programs are compiled without JAX's cache
on disk.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import contenders
import jax
import jax.numpy as jnp
import limit
import numpy as np
import pytest
import speed_tables
import step_profile
from rounds import interleave, timed, warm_up

from mml.data import load_cifar10
from mml.models import vision_transformer
from mml.training import TrainingConfig, compile_model

CONFIG = TrainingConfig()
FIRST_STEP_ROUNDS = 3
STEP_ROUNDS = 20
STEP_ROUNDS_AS_PUBLISHED = 2
WHOLE_RUN_ROUNDS = 2
PROFILED_STEPS = 5
TOKENS = (144, 288, 576, 1152, 2304)
TOKENS_BATCH_SIZE = 8
TOKENS_ROUNDS = 5

HAS_PEER = importlib.util.find_spec("keras_mml") is not None
COMPILED = ["ours", *(["peer_jit"] if HAS_PEER else []), "float_vit"]
# The others with `mml.memory.keep_freed_memory`, as ours has it: what remains is the difference in arithmetic.
MEMORY_KEPT = "_memory_kept"
COMPILED_MEMORY_KEPT = [name + MEMORY_KEPT for name in COMPILED if name != "ours"]
needs_peer = pytest.mark.skipif(not HAS_PEER, reason="keras-matmulless, the peer, is not installed")
# The peer's warnings, and the one that digits replace CIFAR-10, which the tables say.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("memory_kept", "compiled_for_users")]


@pytest.fixture(scope="module")
def data():
    return load_cifar10(0.01)


class Worker:
    """A process that runs `worker` for one contender.

    Args:
        name: The contender's; ends in `MEMORY_KEPT` for one that is started with that setting.
        data_path: The file of images.
        log_path: The file for what the process writes to standard error.
    """

    def __init__(self, name, data_path, log_path):
        self.name, self.log_path = name, log_path
        command = [sys.executable, "-W", "ignore", Path(__file__).with_name("worker.py")]
        command += [name.removesuffix(MEMORY_KEPT), json.dumps(dataclasses.asdict(CONFIG)), data_path]
        if name.endswith(MEMORY_KEPT):
            command.append("--keep-memory")
        env = {"KERAS_BACKEND": "jax", "JAX_ENABLE_COMPILATION_CACHE": "false", "TMPDIR": str(log_path.parent)}
        with open(log_path, "w") as log:
            self.process = subprocess.Popen(
                command,
                env=os.environ | env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, word):
        """Return what the process measured; fail with what it wrote if it ended."""
        answer = ""
        try:
            print(word, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            code = self.process.wait()
            pytest.fail(f"{self.name} ended at {word} with {code}:\n{self.log_path.read_text()[-3000:]}")
        return json.loads(answer)

    def end(self):
        """End the process, whatever it does."""
        self.process.kill()
        self.process.communicate()


class Workers:
    """One living worker per contender.

    Args:
        data: The `ImageDataset` for all of them.
        folder: Where to put it and what the processes write.
    """

    def __init__(self, data, folder):
        self.folder, self.data_path = folder, folder / "images.npz"
        np.savez(self.data_path, **vars(data))
        self.living = {}

    def fresh(self, name):
        """Start a contender's process, and end the one before."""
        if name in self.living:
            self.living.pop(name).end()
        self.living[name] = Worker(name, self.data_path, self.folder / f"{name}.log")
        return self.living[name]

    def stepped(self, name):
        """Return a contender's process that has done its first step."""
        if name not in self.living:
            self.fresh(name).ask("first_step")
        return self.living[name]

    def end(self):
        """End all processes."""
        while self.living:
            self.living.popitem()[1].end()


@pytest.fixture(scope="module")
def workers(data, tmp_path_factory):
    workers = Workers(data, tmp_path_factory.mktemp("workers"))
    yield workers
    workers.end()


def speed_rows(measure, values, unit="s", notes=None):
    """Make the rows of one measure from `{contender: array}`."""
    return [
        {"measure": measure, "contender": name, "unit": unit}
        | speed_tables.compare(values[name], values["ours"])
        | {"note": (notes or {}).get(name, "")}
        for name in values
    ]


def process_rows(stage, measured):
    """Make the rows of what processes measured, `{contender: array of dicts}`."""
    rows = []
    units = {"peak_memory": ("MB", 1e-6)}
    keys = {"first_step": ["build", "first_step", "checkpoint_save", "checkpoint_load"]}
    for key in keys.get(stage, [stage, "peak_memory"]):
        unit, factor = units.get(key, ("s", 1))
        values, notes = {}, {}
        for name, dicts in measured.items():
            if dicts[0][key] is not None:
                values[name] = np.array([each[key] * factor for each in dicts])
            if "epochs_measured" in dicts[0]:
                notes[name] = f"{dicts[0]['epochs_measured']} epochs measured"
        rows += speed_rows(key, values, unit, notes)
        rows += [
            {"measure": key, "contender": name, "unit": unit, "note": dicts[0]["checkpoint_error"].split(". ")[0]}
            for name, dicts in measured.items()
            if name not in values
        ]
    return rows


def measure_stage(benchmark, workers, stage, names, rounds):
    """Measure `first_step` or `whole_run`, each time in a fresh process."""
    measures = {name: lambda name=name: workers.fresh(name).ask(stage) for name in names}
    return interleave(benchmark, measures, rounds)


def measure_steps(benchmark, workers, kind, names, rounds, others=None):
    """Measure training or prediction steps in living processes, and other functions in the same rounds."""
    processes = {name: workers.stepped(name) for name in names}
    measures = {name: lambda name=name: processes[name].ask(kind)["seconds"] for name in names}
    return interleave(benchmark, measures | (others or {}), rounds, warm_up)


def test_first_step(benchmark, data, workers):
    measured = measure_stage(benchmark, workers, "first_step", COMPILED, FIRST_STEP_ROUNDS)
    if benchmark.enabled:
        speed_tables.write("speed", process_rows("first_step", measured), data)


@pytest.mark.parametrize("kind", ["training_step", "prediction_step"])
def test_step(benchmark, data, workers, kind):
    """The limit's rates are measured in this process, in the rounds of the training steps."""
    others = {"gemm": timed(limit.gemm()), "copy": timed(limit.copy())} if kind == "training_step" else {}
    names = COMPILED + COMPILED_MEMORY_KEPT
    seconds = measure_steps(benchmark, workers, kind, names, STEP_ROUNDS, others)
    notes = dict.fromkeys(COMPILED_MEMORY_KEPT, "with mml.memory.keep_freed_memory")
    if others:
        model = vision_transformer(CONFIG.model)
        compile_model(model, CONFIG)
        seconds["limit"], notes["limit"] = limit.least_seconds(
            model, CONFIG.batch_size, seconds.pop("gemm"), seconds.pop("copy")
        )
    if benchmark.enabled:
        speed_tables.write("speed", speed_rows(kind, seconds, notes=notes), data)


# The peer as published is slow. It is measured beside ours only, in fewer rounds.


@needs_peer
def test_first_step_as_published(benchmark, data, workers):
    measured = measure_stage(benchmark, workers, "first_step", ["ours", "peer"], rounds=1)
    if benchmark.enabled:
        write_peer(process_rows("first_step", measured), data)


@needs_peer
@pytest.mark.parametrize("kind", ["training_step", "prediction_step"])
def test_step_as_published(benchmark, data, workers, kind):
    seconds = measure_steps(benchmark, workers, kind, ["ours", "peer"], STEP_ROUNDS_AS_PUBLISHED)
    if benchmark.enabled:
        write_peer(speed_rows(kind, seconds), data)


def test_whole_run(benchmark, data, workers):
    workers.end()  # frees their memory for those that train
    measured = measure_stage(benchmark, workers, "whole_run", COMPILED, WHOLE_RUN_ROUNDS)
    if benchmark.enabled:
        speed_tables.write("speed", process_rows("whole_run", measured), data)


@needs_peer
def test_whole_run_as_published(benchmark, data, workers):
    if not benchmark.enabled:
        pytest.skip("takes many minutes")
    workers.end()
    measured = measure_stage(benchmark, workers, "whole_run", ["ours", "peer"], rounds=1)
    write_peer(process_rows("whole_run", measured), data)


def write_peer(rows, data):
    speed_tables.write("speed", [row for row in rows if row["contender"] == "peer"], data)


@pytest.mark.parametrize("direction", ["forward", "gradient"])
def test_tokens(benchmark, data, workers, direction):
    """One block at growing numbers of tokens: all lengths and both kinds of block in each round.

    `gradient` is the forward and the backward pass, with respect to weights and input. All run in this process, with
    `mml.memory.keep_freed_memory` in effect for both kinds of block.
    """
    workers.end()
    programs = {
        (tokens, name): compiled_block(build(CONFIG.model, tokens), tokens, direction)
        for tokens in TOKENS
        for name, build in contenders.BLOCK_BUILDERS.items()
    }
    measures = {key: timed(run) for key, (run, _) in programs.items()}
    shortest = TOKENS[0]
    seconds = interleave(benchmark, measures, TOKENS_ROUNDS, warm_up, target=(shortest, "ours"))
    rows = []
    for tokens, name in programs:
        here = seconds[tokens, name]
        # By how much more the time grew than the number of tokens, since the shortest sequence; 1 is proportional.
        growth = speed_tables.compare(here, seconds[shortest, name] * (tokens / shortest))
        rows.append(
            {"tokens": tokens, "block": name, "direction": direction, "batch_size": TOKENS_BATCH_SIZE, "unit": "s"}
            | speed_tables.compare(here, seconds[tokens, "ours"])
            | {
                "growth": growth["ratio_to_ours"],
                "growth_low": growth["ratio_low"],
                "growth_high": growth["ratio_high"],
            }
            | {"memory_mb": round(programs[tokens, name][1] / 1e6, 1)}
        )
    if benchmark.enabled:
        speed_tables.write("tokens", rows, data)


def compiled_block(block, tokens, direction):
    """Compile a block's forward pass or gradient; return a function that runs it and the bytes it works in."""
    rng = np.random.default_rng(0)
    shape = (TOKENS_BATCH_SIZE, tokens, CONFIG.model.projection_dim)
    weights = [variable.value for variable in block.trainable_variables]
    fixed = [variable.value for variable in block.non_trainable_variables]
    x, upstream = (jnp.asarray(rng.normal(size=shape), "float32") for _ in range(2))

    def forward(weights, x):
        return block.stateless_call(weights, fixed, x)[0]

    def gradient(weights, x):
        return jax.grad(lambda weights, x: jnp.vdot(forward(weights, x), upstream), argnums=(0, 1))(weights, x)

    program = jax.jit({"forward": forward, "gradient": gradient}[direction]).lower(weights, x).compile()
    return lambda: program(weights, x), program.memory_analysis().temp_size_in_bytes


def test_step_profile(benchmark, data, workers, tmp_path):
    """Where the time of ours goes, see `step_profile`."""
    workers.end()
    model = vision_transformer(CONFIG.model, data.x_train)
    compile_model(model, CONFIG)
    model.optimizer.build(model.trainable_variables)
    batch = data.x_train[: CONFIG.batch_size], data.y_train[: CONFIG.batch_size]
    model.train_on_batch(*batch)  # builds the metrics
    # A copy, because the step reuses the memory of its input.
    state = tuple(
        [jnp.array(variable.value) for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )
    program = jax.jit(model.train_step, donate_argnums=0).lower(state, batch).compile()

    def run():
        nonlocal state
        _, state = program(state, batch)
        jax.block_until_ready(state)

    run()
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # leaves out the calls of Python functions
    with jax.profiler.trace(tmp_path, profiler_options=options):
        start = time.perf_counter()
        benchmark.pedantic(run, rounds=PROFILED_STEPS)
        seconds = time.perf_counter() - start
    parts = step_profile.time_by_part(step_profile.read_trace(tmp_path), program.as_text())
    rows = [
        {
            "part": part,
            "pass": direction,
            "share": round(microseconds / parts.total(), 4),
            # The threads work on several parts at once, so the parts share the step's time by the clock.
            "milliseconds": round(1e3 * seconds / PROFILED_STEPS * microseconds / parts.total(), 2),
            "steps": PROFILED_STEPS,
        }
        for (part, direction), microseconds in parts.most_common()
    ]
    if benchmark.enabled:
        speed_tables.write("step_profile", rows, data)
