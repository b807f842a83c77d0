"""The tables of measured speed in src/mml_book/results: written row by row, read back to be shown beside their aims.

    python tests/benchmarks/speed_tables.py

prints them. In all of them a ratio is one of medians of interleaved runs, a contender's over ours. `low` and `high`
are the 5th and the 95th percentile, in `image_model_speed` the quartiles. Those of a ratio are over the rounds.
"""

import datetime
import functools
import importlib.metadata
import os
import platform
from pathlib import Path

import numpy as np
import pandas as pd

from mml.files import replacing

RESULTS = Path(__file__).parents[2] / "src" / "mml_book" / "results"
# What identifies a row, so that a new row replaces the old one. In a table without keys, all rows are new.
KEYS = {
    "speed": ["measure", "contender"],
    "tokens": ["tokens", "block", "direction"],
    "step_profile": [],
    "image_model_speed": ["measure", "batch_size", "contender"],
}
# What is aimed at in a row: "at least" this ratio of its time to ours, or "at most" this ratio of ours to its.
AIMS = {
    "speed": [
        (("whole_run", "peer"), "at least", 25),
        (("training_step", "peer_jit"), "at least", 2),
        (("first_step", "peer_jit"), "at least", 2),
        (("training_step", "float_vit"), "at least", 2.5),
        (("prediction_step", "float_vit"), "at least", 5),
        (("training_step", "limit"), "at most", 3),
    ],
    "image_model_speed": [
        (("training_step", 64, "limit"), "at most", 2),
        (("prediction_step", 1, "float"), "at least", 1),
        (("prediction_step", 32, "float"), "at least", 1),
    ],
}
GROWTH_AIM = 1.15


def spread(values, percentiles=(5, 95), digits=4):
    """Return the median of values, and two percentiles of them, to a number of significant digits.

    Example:

    >>> from speed_tables import spread
    >>> spread([1.0, 2.0, 3.0])
    (2.0, 1.1, 2.9)
    """
    return tuple(float(f"{value:.{digits}g}") for value in np.percentile(values, [50, *percentiles]))


def compare(values, ours, percentiles=(5, 95)):
    """Compare a contender's values, one per round, with ours.

    Example:

    >>> import numpy as np
    >>> from speed_tables import compare
    >>> compare(np.array([4.0, 6.0]), np.array([2.0, 2.0]))["ratio_to_ours"]
    2.5
    """
    median, low, high = spread(values, percentiles)
    _, ratio_low, ratio_high = spread(values / ours, percentiles)
    ratio = float(f"{np.median(values) / np.median(ours):.4g}")
    return {
        "median": median,
        "low": low,
        "high": high,
        "rounds": len(values),
        "ours_median": spread(ours)[0],
        "ratio_to_ours": ratio,
        "ratio_low": ratio_low,
        "ratio_high": ratio_high,
    }


@functools.cache
def machine():
    """Describe what the figures depend on: the machine, the versions, the package's commit, the day."""
    import jax  # here, so that the tables can be printed without JAX and Keras

    from mml_book.results import table

    versions = {}
    for name in ("keras", "jax", "jaxlib", "numpy", "keras-matmulless"):
        try:
            versions[name.replace("-", "_")] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name.replace("-", "_")] = ""
    return {
        **table.machine(),
        "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        **versions,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write(name, rows, data):
    """Put rows into a table, with the images and the machine that each was measured on.

    Args:
        name: One of `KEYS`.
        rows: Dictionaries.
        data: The `mml.data.ImageDataset`.
    """
    path, keys = RESULTS / f"{name}.csv", KEYS[name]
    rows = [row | machine() | {"data": data.source} for row in rows]
    # Texts, so that the rows that stay are not changed in their last digits, nor integers beside empty cells.
    table = pd.DataFrame([{key: str(value) for key, value in row.items()} for row in rows]).fillna("")
    if keys and path.exists():
        table = pd.concat([pd.read_csv(path, dtype=str, keep_default_na=False), table]).fillna("")
        group = pd.factorize(table[keys[0]])[0]
        table = table.iloc[np.argsort(group, kind="stable")].drop_duplicates(keys, keep="last")
    with replacing(path) as partial:
        table.to_csv(partial, index=False)


def main():
    pd.set_option("display.width", 160, "display.max_columns", 20, "display.max_rows", 100)
    for name in KEYS:
        path = RESULTS / f"{name}.csv"
        if path.exists():
            table = pd.read_csv(path)
            described = list(table.columns[list(table.columns).index("processor") :])
            print(f"\n{name}, measured on: ", "; ".join(map(str, table[described].drop_duplicates().values.tolist())))
            print(table.drop(columns=described).to_string(index=False, na_rep=""))
    print("\nAimed at:")
    for name, aims in AIMS.items():
        path = RESULTS / f"{name}.csv"
        table = pd.read_csv(path).set_index(KEYS[name]) if path.exists() else pd.DataFrame()
        for key, bound, aim in aims:
            if key in table.index:
                row = table.loc[key]
                *measure, contender = map(str, key)
                ratios = [row["ratio_to_ours"], row["ratio_low"], row["ratio_high"]]
                words = f"{contender} / ours"
                if bound == "at most":
                    ratios, words = [1 / ratios[0], 1 / ratios[2], 1 / ratios[1]], f"ours / {contender}"
                print(_line(f"{name}, {' '.join(measure)}, {words}", ratios, f"{bound} {aim}"))
    if (RESULTS / "tokens.csv").exists():
        tokens = pd.read_csv(RESULTS / "tokens.csv")
        longest = tokens[(tokens["tokens"] == tokens["tokens"].max()) & (tokens["block"] == "ours")]
        for row in longest.itertuples():
            ratios = [row.growth, row.growth_low, row.growth_high]
            print(_line(f"{row.direction}, growth of time / growth of tokens", ratios, f"at most {GROWTH_AIM}"))


def _line(words, ratios, aim):
    return "  {:<58} {:6.2f}  ({:.2f} to {:.2f})   aim: {}".format(words, *ratios, aim)


if __name__ == "__main__":
    main()
