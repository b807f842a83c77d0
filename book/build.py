"""Build the site: papermill runs each chapter once, and jupyter-book turns the results into pages.

    python book/build.py DEMO_SPLIT=0.01 EPOCHS=5

The chapters run in the folder `_build/run`, so that they share one `runs/`. The folder starts empty, so that each
figure on the site comes from this build. `_build/source` is the book with its executed chapters. The finished site
replaces `_build/html` in the last step, so a build that fails or is interrupted leaves the previous site in place.
"""

import ast
import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import yaml
from facts import fill, gather
from links import broken
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from parameters import parse

from mml.presets import PRESETS


class BuildError(Exception):
    """The site cannot be built from these sources."""


def toc_files(node):
    """Yield the files of a `_toc.yml`, as loaded, in reading order and without their suffixes."""
    if isinstance(node, list):
        for item in node:
            yield from toc_files(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("root", "file"):
                yield value
            else:
                yield from toc_files(value)


def parameters_in_force(chapter, given):
    """Return the parameters of a chapter: its own values, replaced by given values where it has that parameter."""
    own = papermill.inspect_notebook(str(chapter))
    return {name: given.get(name, ast.literal_eval(own[name]["default"])) for name in own}


def describe(cells, index):
    """Describe a cell by its id, section, and first line, so that an author can find it."""
    section = "before the first heading"
    for cell in cells[: index + 1]:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^#+ +(.+)$", cell.source, re.MULTILINE):
                section = f"section '{heading.strip()}'"
    first_line = next((line for line in cells[index].source.splitlines() if line.strip()), "")
    return f"cell '{cells[index].id}', {section}, first line: {first_line}"


def run_chapter(chapter, executed, given, folder):
    """Run one chapter with papermill in `folder`, write it to `executed`, and return it with papermill's metadata."""
    print(f"Running {chapter.name}", file=sys.stderr)
    try:
        notebook = papermill.execute_notebook(
            str(chapter),
            str(executed),
            parameters=parameters_in_force(chapter, given),
            cwd=str(folder),
            kernel_name="python3",
            coalesce_streams=True,  # so that the page shows only the last state of a progress bar
        )
    except (PapermillExecutionError, DeadKernelError) as error:
        # papermill adds cells that mark the failure, but its cell index does not count them.
        cells = [
            cell
            for cell in nbformat.read(executed, as_version=4).cells
            if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
        ]
        begun = [i for i, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
        index = getattr(error, "cell_index", begun[-1])
        raise BuildError(
            f"{chapter.name} failed: {describe(cells, index)}\n{error}\nThe chapter as far as it ran: {executed}"
        ) from None

    return notebook


def assignments(cell):
    """Return what a cell of parameters assigns, without its comments."""
    return {ast.unparse(statement) for statement in ast.parse(cell.source).body}


def page(notebook):
    """Return an executed chapter, prepared for the site."""
    notebook = copy.deepcopy(notebook)
    # papermill's metadata contains paths and times of this machine.
    notebook.metadata.pop("papermill")
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
    tagged = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    if injected := tagged.get("injected-parameters"):
        if assignments(injected) == assignments(tagged["parameters"]):
            notebook.cells.remove(injected)  # it would repeat the cell above
        else:
            passed = "# The parameters of this run, passed by papermill"
            injected.source = injected.source.replace("# Parameters", passed, 1)
    return notebook


def build(root, given):
    """Build the site of the book at `root` with the parameters `given`, and return the path of its first page."""
    output = root / "_build"
    run, source, site = output / "run", output / "source", output / "site"
    for folder in (run, source, site):
        shutil.rmtree(folder, ignore_errors=True)
    run.mkdir(parents=True)

    # Do not copy the chapters, because papermill writes them there.
    shutil.copytree(
        root / "book",
        source / "book",
        ignore=shutil.ignore_patterns("*.ipynb", "runs", "packed", "__pycache__", ".*"),
    )
    shutil.copy(root / "_toc.yml", source)
    config = yaml.safe_load((root / "_config.yml").read_text())
    config["execute"]["execute_notebooks"] = "off"
    config["sphinx"]["local_extensions"] = {"sphinx_extension": str(root / "book")}
    (source / "_config.yml").write_text(yaml.safe_dump(config))

    notebooks = {}
    for file in toc_files(yaml.safe_load((root / "_toc.yml").read_text())):
        chapter, executed = root / f"{file}.ipynb", source / f"{file}.ipynb"
        if chapter.exists():
            notebooks[chapter.stem] = run_chapter(chapter, executed, given, run)
            nbformat.write(page(notebooks[chapter.stem]), executed)

    facts = gather(notebooks, given)
    for path in (source / "book").rglob("*.md"):
        try:
            path.write_text(fill(path.read_text(encoding="utf-8"), facts), encoding="utf-8")
        except KeyError as error:
            raise BuildError(f"{path.name} names {error}, which no chapter of this build provides") from None

    print("Rendering the pages", file=sys.stderr)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(source), "--path-output", str(site)]
    # Hide jupyter-book's output on success, which names a folder that is about to move. Warnings go to stderr.
    printed = subprocess.run([*command, "-n", "-W", "--keep-going"], stdout=subprocess.PIPE, text=True, check=False)
    if printed.returncode:
        raise BuildError(f"jupyter-book found problems\n{printed.stdout}")

    # The demo on the first page loads this file.
    shutil.copy(PRESETS["cifar10"].packed_path, site / "_build" / "html" / "_static" / "demo" / "model.safetensors")

    nowhere = broken(site / "_build" / "html")
    if nowhere:
        raise BuildError("links lead nowhere\n" + "\n".join(nowhere))

    published, before = output / "html", output / "html.before"
    shutil.rmtree(before, ignore_errors=True)
    if published.exists():
        published.rename(before)
    (site / "_build" / "html").rename(published)
    shutil.rmtree(before, ignore_errors=True)
    return published / "index.html"


if __name__ == "__main__":
    try:
        print(f"The site is ready: {build(Path(__file__).resolve().parents[1], parse(sys.argv[1:]))}")
    except (BuildError, ValueError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; the previous site is unchanged")
