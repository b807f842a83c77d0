"""Facts about the run that built the site: its data, how long it took, the software, and the results.

A Markdown page asks for a fact with a comment, such as `<!-- data-source -->`. `build.py` replaces the comment with
the fact.
"""

import datetime
import os
import platform
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import cpuinfo

os.environ.setdefault("KERAS_BACKEND", "jax")  # as in the chapters

from mml.presets import PRESETS
from mml.training import TrainingConfig

ROOT = Path(__file__).resolve().parents[1]


def tagged(notebook, tag):
    """Return the cells of a notebook that have this tag."""
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def printed(cell):
    """Return what a cell printed."""
    return "".join(output["text"] for output in cell.outputs if output.output_type == "stream").strip()


def title(notebook):
    """Return the heading of a chapter."""
    return re.match(r"# (.+)", notebook.cells[0].source)[1]


def duration(seconds):
    """Format seconds for a reader, without line breaks.

    >>> [text.replace("\N{NO-BREAK SPACE}", " ") for text in map(duration, (7.4, 96, 3780))]
    ['7 s', '1 min 36 s', '1 h 3 min']
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        parts = [f"{hours} h", f"{minutes} min"]
    elif minutes:
        parts = [f"{minutes} min", f"{seconds} s"]
    else:
        parts = [f"{seconds} s"]
    return "\N{NO-BREAK SPACE}".join(parts).replace(" ", "\N{NO-BREAK SPACE}")


def headline(text):
    """Return the first bold words of a text and the sentence that contains them, without the asterisks.

    >>> headline("First. The file is **9 times** smaller than **that** one. Last.")
    ('9 times', 'The file is 9 times smaller than that one.')
    """
    (sentence, *_) = (part for part in re.split(r"(?<=[.!?])\s+(?=[A-Z*])", text) if "**" in part)
    return re.search(r"\*\*(.+?)\*\*", sentence)[1], sentence.replace("**", "")


def cards(notebooks):
    """Return a card for each Markdown text that a cell tagged `at-a-glance` shows: number, sentence, and chapter."""
    lines = [":::::{grid} 1 2 4 4", ":gutter: 2", ":class-container: at-a-glance", ""]
    for name, notebook in notebooks.items():
        for cell in tagged(notebook, "at-a-glance"):
            for output in cell.outputs:
                number, sentence = headline(output["data"]["text/markdown"])
                link = f"[{title(notebook)}]({name}.ipynb)"
                lines += [f"::::{{grid-item-card}} {number}", sentence, ":::{card-footer}", link, ":::", "::::"]
    return "\n".join([*lines, ":::::"])


def seconds(cell):
    """Return how long a cell ran, in seconds, according to papermill."""
    return cell.metadata.get("papermill", {}).get("duration") or 0


def executions(notebooks):
    """Return a table of the chapters with the time when each began and how long it took."""
    lines = ["| Chapter | Began (UTC) | Took | Longest cell | Code cells |", "|---|---|--:|--:|--:|"]
    for name, notebook in notebooks.items():
        notes = notebook.metadata.papermill
        began = datetime.datetime.fromisoformat(notes.start_time).astimezone(datetime.UTC)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        lines.append(
            f"| [{title(notebook)}]({name}.ipynb) | {began:%Y-%m-%d %H:%M} | {duration(notes.duration)} "
            f"| {duration(max(map(seconds, cells)))} | {len(cells)} |"
        )
    return "\n".join(lines)


def machine():
    """Return a table of the processor of this machine and the installed versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["book"]]
    rows = {
        "Processor": f"{cpuinfo.get_cpu_info().get('brand_raw', platform.machine())}, {os.cpu_count()} cores",
        "System": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    for package in [*(re.match(r"[\w-]+", name)[0] for name in needed), "papermill", "jupyter-book"]:
        rows[package] = version(package)
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| Component | Model or version |", "|---|---|", *lines])


def recipe():
    """Return the values of the book's recipe, by name."""
    config = TrainingConfig()
    values = {**vars(config), **vars(config.model), "num_patches": config.model.num_patches}
    values["pixels"], values["channels"] = config.model.input_shape[1:]
    values["head"] = config.model.head_units[-1]
    return {f"recipe {name}": str(value) for name, value in values.items()}


def preset():
    """Return what the first page says about the model that comes with the package."""
    cifar10 = PRESETS["cifar10"]
    return {
        "preset accuracy": f"{100 * cifar10.accuracy:.1f}%",
        "preset test images": f"{cifar10.test_images:,}",
        "preset kilobytes": f"{cifar10.packed_bytes / 1000:.0f}",
    }


def gather(notebooks, parameters):
    """Return every fact, by name.

    Args:
        notebooks: The chapters as papermill ran them, by file name without suffix, in reading order.
        parameters: The parameters that were passed to all of them.
    """
    facts = {
        f"ran-for {name}": duration(notebook.metadata.papermill.duration) for name, notebook in notebooks.items()
    }
    facts |= recipe() | preset()
    facts["at-a-glance"] = cards(notebooks)
    facts["executions"] = executions(notebooks)
    facts["machine"] = machine()
    given = ", ".join(f"`{name} = {value}`" for name, value in parameters.items())
    facts["parameters"] = given or "each chapter's own parameters"
    sources = [printed(cell) for notebook in notebooks.values() for cell in tagged(notebook, "data-source")]
    if sources:
        facts["data-source"] = f"**Measured on:** {sources[0]}"
    return facts


def fill(text, facts):
    """Replace each comment in a Markdown page with the fact that it names. Raise KeyError if there is none.

    >>> fill("It took <!-- ran-for one --> and <!-- ran-for\\ntwo -->.", {"ran-for one": "7 s", "ran-for two": "9 s"})
    'It took 7 s and 9 s.'
    """
    # A comment may be broken across lines, like any text.
    return re.sub(r"<!--\s(.+?)\s-->", lambda found: facts[" ".join(found[1].split())], text, flags=re.DOTALL)
