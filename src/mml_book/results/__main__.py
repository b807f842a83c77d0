"""Regenerate the tables of trained models, by default all of them, cheapest first.

    python -m mml_book.results [TABLE ...]

`make results` runs this for all of them. The command downloads CIFAR-10, or reads the file that `CIFAR10_NPZ` names.
You can stop it with Ctrl+C and call it again: it continues, and it skips runs whose rows are current (see
`table.TrainedRows`).

`make bench` measures the tables of speed.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import argparse
import time
from pathlib import Path

from mml.memory import keep_freed_memory
from mml_book.results import comparison, image_model, preset, search, seeds

# Minutes on two CPU cores where nothing else runs, and the function that writes the table into a file. The cheapest
# comes first, but a table comes after those that it reads.
TABLES = {
    "seeds": (5, seeds.main),
    "image_model_accuracy": (10, image_model.accuracy),
    "preset": (95, preset.main),
    "search": (95, search.main),
    "comparison_tuning": (145, comparison.tuning),
    "comparison_full": (65, comparison.full),
    "image_model_ablation": (220, image_model.ablation),
    "comparison": (230, comparison.main),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m mml_book.results",
        description=__doc__.split("\n\n")[0],
        epilog="tables: " + ", ".join(f"{name} ({minutes} min)" for name, (minutes, _) in TABLES.items()),
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="by default, all of them")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="folder of the tables")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.tables if name not in TABLES]
    if unknown:
        parser.error(f"TABLE must be one of {', '.join(TABLES)}. Received: {', '.join(unknown)}")
    keep_freed_memory()
    for name in options.tables or TABLES:
        minutes, write = TABLES[name]
        print(f"{name}: about {minutes} minutes", flush=True)
        start = time.monotonic()
        write(options.folder / f"{name}.csv")
        print(f"{name}: done after {(time.monotonic() - start) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
