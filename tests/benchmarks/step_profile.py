"""Where a training step's time goes: each operation in JAX's trace counts for the part of the model it comes from.

In the program's text, JAX's name of an operation says which layer asked for it, and in which pass. XLA merges
operations of one or several layers into fusions. A fusion counts for the operation that makes its result. So what a
backward pass computes again counts as backward, and a gradient that goes straight into the update of a weight counts
as optimizer. XLA adds a few operations without a name, mostly copies. They count where their result is used.
"""

import collections
import functools
import gzip
import json
import re
from pathlib import Path

OTHER = "loss and metrics"

# The first pattern that matches one of the words of a name says the part.
PARTS = [
    ("optimizer", r"adam_?w"),
    ("augmentation", r"data_augmentation"),
    ("patches and embedding", r"patches|patch_embedding"),
    ("block: norms and dropout", r"(attention|ffn)_(dropout|norm)"),
    ("block: token mixer", r"attention|recurrence"),
    ("block: feed-forward", r"ffn"),
    ("block: norms and dropout", r"transformer_block_mml(_\d+)?"),
    ("head", r"(layer_normalization|flatten|dropout|dense_mml|dense)(_\d+)?"),
]

COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
INSTRUCTION = re.compile(r"^ +(ROOT )?%([\w.\-]+) = .*?[\]})] ([\w\-]+)\((.*)$")
MOVES = ("bitcast", "broadcast", "copy", "get-tuple-element", "reshape", "transpose", "tuple")
CALLED = re.compile(r"(?:calls|body|condition|to_apply)=%([\w.\-]+)")


def part_and_pass(op_name):
    """Tell the part of the model, and the pass, that JAX's name of an operation stands for.

    Example:

    >>> from step_profile import part_and_pass
    >>> part_and_pass("jit(train_step)/transpose(jvp(transformer_block_mml_6))/ffn/gate_and_up/mul")
    ('block: feed-forward', 'backward')
    >>> part_and_pass("jit(train_step)/jvp(dense_mml)/norm/reduce_sum")
    ('head', 'forward')
    >>> part_and_pass("jit(train_step)/adam_w/sub")
    ('optimizer', 'update')
    """
    words = re.findall(r"\w+", op_name)
    part = next(
        (part for part, pattern in PARTS if any(re.fullmatch(pattern, word) for word in words)),
        OTHER,
    )
    if "transpose(" in op_name:
        return part, "backward"
    return part, "forward" if "jvp(" in op_name else "update"


class Program:
    """A compiled program's operations, each with its part and pass.

    Args:
        text: The program as `jax.stages.Compiled.as_text` gives it.

    Example:

    >>> from step_profile import Program
    >>> program = Program('''
    ... ENTRY %main (x: f32[2]) -> f32[2] {
    ...   %x = f32[2]{0} parameter(0)
    ...   %copy.1 = f32[2]{0} copy(%x)
    ...   ROOT %add.2 = f32[2]{0} add(%copy.1, %copy.1), metadata={op_name="jit(train_step)/jvp(patches)/add"}
    ... }
    ... ''')
    >>> program.part_and_pass("copy.1")
    ('patches and embedding', 'forward')
    """

    def __init__(self, text):
        self._names, self._opcodes, self._inputs, self._called = {}, {}, {}, {}
        self._users, self._callers, self._roots, self._home = collections.defaultdict(list), {}, {}, {}
        computation = None
        for line in text.splitlines():
            if match := COMPUTATION.match(line):
                computation = match[1]
            elif match := INSTRUCTION.match(line):
                is_root, operation, opcode, rest = match.groups()
                name = re.search(r'op_name="([^"]*)"', rest)
                self._names[operation] = name[1] if name else None
                self._opcodes[operation] = opcode
                self._inputs[operation] = re.findall(r"%([\w.\-]+)", rest.split(")")[0])
                for source in self._inputs[operation]:
                    self._users[source].append(operation)
                self._called[operation] = CALLED.findall(rest)
                self._callers.update(dict.fromkeys(self._called[operation], operation))
                self._home[operation] = computation
                if is_root:
                    self._roots[computation] = operation
        self._name = functools.cache(self._name)

    def opcode(self, operation):
        """Return what an operation does, such as `dot` or `fusion`."""
        return self._opcodes.get(operation)

    def part_and_pass(self, operation):
        """Return an operation's part and pass."""
        return part_and_pass(self._name(operation) or "")

    def _name(self, operation):
        if self._opcodes.get(operation) == "fusion":
            # What made the result: a last transposition may belong to the next layer.
            inner = self._roots.get(self._called[operation][0])
            while inner and (self._opcodes[inner] in MOVES or not self._names[inner]):
                inner = next(iter(self._inputs[inner]), None)
            if inner:
                return self._names[inner]
        if name := self._names.get(operation):
            return name
        for user in self._users[operation]:
            if name := self._name(user):
                return name
        caller = self._callers.get(self._home.get(operation))
        return self._name(caller) if caller else None


def read_trace(folder):
    """Read the events of compiled operations from the trace that `jax.profiler.trace` left in a folder."""
    (path,) = Path(folder).glob("**/*.trace.json.gz")
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    return [event for event in events if event.get("ph") == "X" and "hlo_op" in event.get("args", {})]


def own_microseconds(events):
    """Sum each operation's time on all threads, less that of the operations within it (a loop's, say).

    Example:

    >>> from step_profile import own_microseconds
    >>> loop = {"tid": 1, "ts": 0, "dur": 10, "args": {"hlo_op": "while.1"}}
    >>> step = {"tid": 1, "ts": 2, "dur": 7, "args": {"hlo_op": "add.1"}}
    >>> dict(own_microseconds([loop, step]))
    {'while.1': 3, 'add.1': 7}
    """
    threads = collections.defaultdict(list)
    for event in events:
        threads[event["tid"]].append(event)
    total = collections.Counter()
    for thread in threads.values():
        open_events = []  # (end, operation), the innermost last
        for event in sorted(thread, key=lambda event: (event["ts"], -event["dur"])):
            operation, end = event["args"]["hlo_op"], event["ts"] + event["dur"]
            while open_events and open_events[-1][0] <= event["ts"]:
                open_events.pop()
            if open_events:
                total[open_events[-1][1]] -= event["dur"]
            total[operation] += event["dur"]
            open_events.append((end, operation))
    return total


def time_by_part(events, text):
    """Sum the time of a trace's operations for each part and pass.

    Args:
        events: As `read_trace` gives them.
        text: The text of the program that was traced.

    Returns:
        A `collections.Counter` of microseconds on all threads, by `(part, pass)`.
    """
    program = Program(text)
    total = collections.Counter()
    for operation, microseconds in own_microseconds(events).items():
        # A loop's or a call's own time is that of a thread that waits for the operations in it.
        if program.opcode(operation) not in ("while", "call", "conditional"):
            total[program.part_and_pass(operation)] += microseconds
    return total
