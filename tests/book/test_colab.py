"""Each chapter as Colab runs it: its Python and packages, an empty folder, no checkout.

`make colab` sets up `.venv-colab`, which holds what Colab has preinstalled, and runs this file. Each chapter gets a
copy of that environment, and its own setup cell installs the package there. Git answers for the repository's address
with the files of this checkout as they are, with uncommitted changes and new files.

How long each chapter took is written to a line in `_build/colab`, and the chapter as it ran beside it. Times are not
judged here: a busy machine is not a failure. `make colab` runs two chapters at a time, which slows both down.
Pytest on this file runs one after the other.
"""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from book_files import CHAPTERS, CONFIG, PAGES, ROOT, site_only
from nbclient import NotebookClient

PREINSTALLED = ROOT / ".venv-colab"
OUTPUT = ROOT / "_build" / "colab"
ADDRESS = CONFIG["repository"]["url"]

pytestmark = pytest.mark.skipif(
    not (PREINSTALLED / "ready").exists(), reason="what Colab has preinstalled is not set up: make colab"
)

# What Colab starts instead of ipykernel_launcher. It has imported google.colab before the first cell runs.
LAUNCHER = """
import google.colab
from ipykernel.kernelapp import launch_new_instance

launch_new_instance()
"""

VERSIONS = """
import importlib.metadata, json
found = importlib.metadata.distributions()
print(json.dumps({each.name.lower().replace("_", "-"): each.version for each in found}))
"""

ORIGIN = """
import importlib.metadata
print(importlib.metadata.distribution("mml-vision").read_text("direct_url.json"))
"""

# XLA says so after two minutes, which a busy machine may take.
SLOW_COMPILATION = re.compile(r"^E\S+ +\S+ +\d+ slow_operation_alarm\.cc:\d+\][^*]*\*+\n[^*]*\n\*+\n", re.MULTILINE)
# A process that a chapter starts may warn while a later cell runs.
DIGITS_INSTEAD = re.compile(
    r"[^\n]*UserWarning: Using scikit-learn's handwritten digits.*?\n  [^\n]*load_cifar10[^\n]*\n?", re.DOTALL
)


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Git's settings under which the repository's address leads to this checkout, and the commit found there."""
    folder = tmp_path_factory.mktemp("published")
    repository, settings = folder / "repository.git", folder / "gitconfig"
    settings.write_text(
        f'[url "{repository.as_uri()}"]\n  insteadOf = {ADDRESS}\n'
        "[user]\n  name = nobody\n  email = nobody@example.org\n"
        # pip asks for no more of the history than it needs.
        "[uploadpack]\n  allowFilter = true\n"
    )

    def git(*arguments):
        return subprocess.run(
            ["git", f"--git-dir={repository}", *arguments],
            env={**os.environ, "GIT_CONFIG_GLOBAL": str(settings)},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()

    git("init", "--quiet", "--bare", f"--initial-branch={CONFIG['repository']['branch']}")
    git(f"--work-tree={ROOT}", "add", "--all", str(ROOT))
    git(f"--work-tree={ROOT}", "commit", "--quiet", "--message=The working tree")
    return settings, git("rev-parse", "HEAD")


@pytest.fixture
def python(worker_id):
    """The interpreter of a fresh copy of the environment."""
    # Hard links, which are cheap: pip writes new files and leaves those it finds as they are.
    copy = OUTPUT / f"environment-{worker_id}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(PREINSTALLED, copy, symlinks=True, copy_function=os.link)
    yield copy / "bin" / "python"
    shutil.rmtree(copy)


@pytest.fixture
def environment(published, tmp_path):
    """The variables that a notebook sees: an empty home, and of this process only what leads to the network."""
    home = tmp_path / "home"
    (home / ".keras").mkdir(parents=True)
    # CIFAR-10 may come from the usual cache, so that no test has to download it again.
    cache = Path.home() / ".keras" / "datasets"
    cache.mkdir(parents=True, exist_ok=True)
    (home / ".keras" / "datasets").symlink_to(cache)
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", "TMPDIR", "CIFAR10_NPZ")
        or name.startswith(("PIP_", "SSL_"))
        or name.lower().endswith("_proxy")
    }
    settings, _ = published
    return {**passed, "HOME": str(home), "GIT_CONFIG_GLOBAL": str(settings)}


def kernel(folder, python, module, monkeypatch):
    """Install the kernel `under-test`, which runs a module of this interpreter."""
    specification = folder / "jupyter" / "kernels" / "under-test"
    specification.mkdir(parents=True)
    arguments = [str(python), "-m", module, "-f", "{connection_file}"]
    (specification / "kernel.json").write_text(
        json.dumps({"argv": arguments, "display_name": "", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))


def run(notebook, folder, environment):
    """Run a notebook in an empty folder.

    Returns, for each cell, the seconds since the start after which it ended, and those its processes have computed.
    """
    working_folder = folder / "empty"
    working_folder.mkdir()
    ends, start = [], time.perf_counter()

    def note(cell, cell_index, execute_reply):
        used = psutil.Process(client.km.provisioner.pid).cpu_times()
        processor = used.user + used.system + used.children_user + used.children_system
        ends.append((time.perf_counter() - start, processor))

    client = NotebookClient(
        notebook,
        kernel_name="under-test",
        timeout=notebook.metadata.execution.timeout,
        resources={"metadata": {"path": str(working_folder)}},
        on_cell_executed=note,
    )
    client.execute(env=environment)
    return ends


def answer(python, code, environment):
    """What this code prints as JSON, in a process of its own."""
    printed = subprocess.run(
        [python, "-c", code], env=environment, cwd=python.parent, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return json.loads(printed)


def printed(cells, stream):
    return "".join(
        output.text
        for cell in cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == stream
    )


def shown_markdown(notebook):
    """The text that cells displayed as Markdown."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]


def listed_versions():
    """The versions in the list of what Colab has preinstalled."""
    lines = (ROOT / "tests" / "requirements-colab.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def assert_installed_beside_what_was_there(before, after, python, environment, published):
    assert before.items() <= after.items(), "other versions of what was there"
    _, commit = published
    origin = answer(python, ORIGIN, environment)
    assert origin["url"] == ADDRESS
    assert origin["vcs_info"] == {"vcs": "git", "commit_id": commit}


@pytest.mark.parametrize("chapter", [*CHAPTERS[::-1], *PAGES], ids=lambda path: path.stem)  # longest first
def test_the_chapter_runs_in_colab(chapter, python, environment, published, tmp_path, monkeypatch):
    (packages,) = python.parents[1].glob("lib/python3.*/site-packages")
    (packages / "google" / "colab").mkdir(parents=True)
    (packages / "google" / "colab" / "__init__.py").touch()
    (packages / "google" / "colab" / "output.py").touch()  # JAX asks for it where google.colab has been imported
    (packages / "colab_kernel_launcher.py").write_text(LAUNCHER)
    kernel(tmp_path, python, "colab_kernel_launcher", monkeypatch)
    before = answer(python, VERSIONS, environment)
    assert listed_versions().items() <= before.items()
    assert "mml-vision" not in before

    notebook = nbformat.read(chapter, as_version=4)
    try:
        ends = run(notebook, tmp_path, environment)
    finally:
        nbformat.write(notebook, OUTPUT / chapter.name)  # as far as it ran, for whoever looks for a fault

    set_up = next(index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    (ready, computed_before), (end, computed) = ends[0], ends[-1]
    took = ready, end - ready, computed - computed_before
    (OUTPUT / f"{chapter.stem}.csv").write_text(f"{chapter.stem},{','.join(f'{seconds:.0f}' for seconds in took)}\n")
    after = answer(python, VERSIONS, environment)
    assert_installed_beside_what_was_there(before, after, python, environment, published)
    # Warnings, and what libraries complain of, would stand between the text and the pictures.
    cells = notebook.cells[set_up + 1 :]
    if "handwritten digits" in printed(cells, "stdout"):  # CIFAR-10 was not available, and the warning says so
        cells = [cell for cell in cells if "load_cifar10" not in cell.source]
    complaints = printed(cells, "stderr")
    for expected in (SLOW_COMPILATION, DIGITS_INSTEAD):
        complaints = expected.sub("", complaints)
    assert complaints.strip() == ""
    for text in shown_markdown(notebook):
        assert not site_only(text)


def test_the_set_up_cell_installs_where_there_is_no_colab(python, environment, published, tmp_path, monkeypatch):
    kernel(tmp_path, python, "ipykernel_launcher", monkeypatch)
    before = answer(python, VERSIONS, environment)
    notebook = nbformat.read(CHAPTERS[0], as_version=4)
    set_up = next(index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells = [
        *notebook.cells[: set_up + 1],
        nbformat.v4.new_code_cell("import mml.models, sys; print('google.colab' in sys.modules, mml.__file__)"),
    ]
    run(notebook, tmp_path, environment)
    assert printed(notebook.cells[-1:], "stdout").startswith(f"False {python.parents[1]}")
    after = answer(python, VERSIONS, environment)
    assert_installed_beside_what_was_there(before, after, python, environment, published)
