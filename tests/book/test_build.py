"""The build, tried on a book of two small chapters."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest
import yaml
from book_files import ROOT
from build import BuildError, page
from build import build as build_here
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx_extension import last_changed

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def write_chapter(path, title, *cells):
    nbformat.write(new_notebook(cells=[new_markdown_cell(f"# {title}"), *cells], metadata=KERNEL), path)


def code(name, source, *tags):
    return new_code_cell(source, id=name, metadata={"tags": list(tags)})


@pytest.fixture
def book(tmp_path):
    """A book of two chapters, with the real settings and the real build, in an empty folder."""
    (tmp_path / "book").mkdir()
    for name in ("build.py", "facts.py", "links.py", "parameters.py", "sphinx_extension.py", "references.bib"):
        shutil.copy(ROOT / "book" / name, tmp_path / "book")
    for name in ("_static", "_templates"):
        shutil.copytree(ROOT / "book" / name, tmp_path / "book" / name)
    for name in ("_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    toc = {"format": "jb-book", "root": "book/intro", "chapters": [{"file": "book/01_one"}, {"file": "book/02_two"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    (tmp_path / "book" / "intro.md").write_text("# Book\n\n<!-- data-source -->\n")
    write_chapter(
        tmp_path / "book" / "01_one.ipynb",
        "One",
        code("parameters", "DEMO_SPLIT = 0.01\nEPOCHS = 5", "parameters"),
        code("source", "print('seven numbers')", "data-source"),
        code("count", "with open('count', 'a') as file:\n    file.write('one,')\nprint(DEMO_SPLIT * 2, EPOCHS * 2)"),
    )
    write_chapter(
        tmp_path / "book" / "02_two.ipynb",
        "Two",
        code("parameters", "DEMO_SPLIT = 0.01", "parameters"),
        code("count", "with open('count', 'a') as file:\n    file.write('two,')\nprint(open('count').read())"),
    )
    return tmp_path


# A process started in the background of a shell, as these tests may be, ignores Ctrl-C, and so do its children.
HEED_CTRL_C = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(book, *arguments):
    # As from a shell, where nothing names the backend.
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.Popen(
        [sys.executable, "-c", HEED_CTRL_C, str(book / "book" / "build.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment, "NO_COLOR": "1"},
    )


def build(book, capfd, **parameters):
    """Why a build in this process fails, or None, and what it printed; a process of its own imports Keras first."""
    try:
        build_here(book, parameters)
        error = None
    except BuildError as raised:
        error = str(raised)
    return error, "".join(capfd.readouterr())


def put_good_site(book):
    (book / "_build" / "html").mkdir(parents=True)
    (book / "_build" / "html" / "index.html").write_text("a good site")


def good_site_is_untouched(book):
    return [path.name for path in (book / "_build" / "html").iterdir()] == ["index.html"] and (
        book / "_build" / "html" / "index.html"
    ).read_text() == "a good site"


def test_prints_what_papermill_ran(book):
    put_good_site(book)
    (book / "_build" / "run").mkdir()
    (book / "_build" / "run" / "count").write_text("left,")
    process = start(book, "DEMO_SPLIT=0.25")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.endswith(f"The site is ready: {book / '_build' / 'html' / 'index.html'}\n")
    pages = {
        name: (book / "_build" / "html" / "book" / f"{name}.html").read_text()
        for name in ("intro", "01_one", "02_two")
    }
    assert "seven numbers" in pages["intro"]
    assert "0.5 10" in pages["01_one"], "the parameter given, and the chapter's own"
    assert "</span>one,two,\n" in pages["02_two"], "in order, once each, in one folder that began empty"
    for name, names in (("01_one", ["DEMO_SPLIT", "EPOCHS"]), ("02_two", ["DEMO_SPLIT"])):
        (injected,) = re.findall(r"tag_injected-parameters.*?</pre>", pages[name], re.DOTALL)
        assert re.findall(r'"n">(\w+)<', injected) == names
        assert "0.25" in injected
    assert not any(str(book) in each for each in pages.values())
    for path in (book / "_build" / "html" / "_sources" / "book").glob("*.ipynb"):  # to download
        notebook = nbformat.read(path, as_version=4)
        assert not any("papermill" in each.metadata for each in [notebook, *notebook.cells]), (
            "its notes on this machine"
        )
    # The sources are as they were.
    for path in (book / "book").glob("*.ipynb"):
        assert not any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells)


@pytest.mark.parametrize(("value", "shown"), [("0.010", 1), ("0.25", 2)])
def test_shows_the_parameters_of_a_run_if_they_are_not_those_of_the_cell_above(value, shown):
    own = code("parameters", "DEMO_SPLIT = 0.01  # share of the data set", "parameters")
    given = code("given", f"# Parameters\nDEMO_SPLIT = {value}\n", "injected-parameters")
    notebook = new_notebook(cells=[own, given], metadata={"papermill": {}})
    assert len(page(notebook).cells) == shown


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("x = 1\nraise RuntimeError('too hot')", "RuntimeError: too hot"),
        ("x = 1\nimport os; os._exit(1)", "Kernel died"),
    ],
    ids=["exception", "kernel-died"],
)
def test_a_failing_cell_stops_the_build_by_name(book, capfd, source, named):
    put_good_site(book)
    write_chapter(
        book / "book" / "02_two.ipynb",
        "Two",
        new_markdown_cell("Text.\n\n## Boiling water"),
        code("fine", "print(1)"),
        code("boil", source),
        new_markdown_cell("## After"),
        code("never", "print(2)"),
    )
    error, _ = build(book, capfd, DEMO_SPLIT=0.25)
    for words in ("02_two.ipynb", "'boil'", "'Boiling water'", "x = 1", named):
        assert words in error
    assert good_site_is_untouched(book)


def test_a_warning_is_an_error(book, capfd):
    put_good_site(book)
    (book / "book" / "intro.md").write_text("# Book\n\nSee [nothing](nothing.md).\n")
    error, output = build(book, capfd)
    assert "jupyter-book found problems" in error
    assert "nothing.md" in output
    assert good_site_is_untouched(book)


def test_a_page_cannot_name_data_that_no_chapter_printed(book):
    write_chapter(book / "book" / "01_one.ipynb", "One", code("count", "print(1)"))
    process = start(book)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert output.endswith("Error: intro.md names 'data-source', which no chapter of this build provides\n")


def test_a_link_or_picture_that_is_not_there_is_an_error(book, capfd):
    put_good_site(book)
    (book / "book" / "intro.md").write_text(
        '# Book\n\n<a href="01_one.html#nowhere">There</a> <a href="02_two.html">Two</a> <img src="nothing.png">\n'
    )
    error, _ = build(book, capfd)
    assert error.splitlines() == [
        "links lead nowhere",
        "book/intro.html links to 01_one.html#nowhere, which has no such anchor",
        "book/intro.html links to nothing.png, which is not there",
    ]
    assert good_site_is_untouched(book)


def test_pages_say_what_the_run_gave(book, capfd):
    (book / "book" / "intro.md").write_text(
        "# Book\n\nWith <!-- parameters -->, took <!-- ran-for 02_two -->.\n\n<!-- at-a-glance -->\n\n"
        "<!-- executions -->\n\n<!-- machine -->\n\n```{bibliography}\n:all:\n```\n"
    )
    glance = "from IPython.display import Markdown, display\ndisplay(Markdown('Or **twelve** of them. No **more**.'))"
    write_chapter(
        book / "book" / "02_two.ipynb",
        "Two",
        new_markdown_cell("See [the norm](https://arxiv.org/abs/1910.07467), $x^2$."),
        code("wait", "import time\ntime.sleep(2)"),
        code("glance", glance, "at-a-glance"),
    )
    error, output = build(book, capfd, DEMO_SPLIT=0.25)
    assert error is None, error + output
    intro = (book / "_build" / "html" / "book" / "intro.html").read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", intro[intro.index("<article") :]))
    assert "DEMO_SPLIT = 0.25" in text
    took = re.search(r"took (\d+) s", text)
    assert 2 <= int(took[1]) < 60
    assert re.search(r"twelve\s+Or twelve of them\.\s+Two", text), text
    assert "more" not in text
    assert re.search(rf"Two \d{{4}}-\d\d-\d\d \d\d:\d\d {took[1]} s 2 s 2 ", text), text
    assert f"Python {sys.version.split()[0]}" in text
    two = (book / "_build" / "html" / "book" / "02_two.html").read_text()
    assert re.search(r'the norm</a> <span class="bibtex-citation"[^>]*>\[<a [^>]*href="intro.html#id\d+"', two), (
        "a paper that is linked is cited"
    )
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in two


def test_a_page_shows_the_day_of_its_last_commit(tmp_path):
    def git(*arguments, day="2026-01-01"):
        environment = {**os.environ, "GIT_AUTHOR_DATE": f"{day}T12:00:00", "GIT_COMMITTER_DATE": f"{day}T12:00:00"}
        author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        subprocess.run(["git", *author, *arguments], cwd=tmp_path, env=environment, check=True, capture_output=True)

    git("init")
    (tmp_path / "book" / "api").mkdir(parents=True)
    for day, names in (("2026-01-02", ["one.ipynb", "api/two.md"]), ("2026-03-04", ["one.ipynb"])):
        for name in names:
            (tmp_path / "book" / name).write_text(day)
        git("add", ".")
        git("commit", "-m", "change", day=day)
    assert last_changed(tmp_path / "book") == {"book/one": "2026-03-04", "book/api/two": "2026-01-02"}


def test_an_interrupted_build_leaves_the_site_alone(book):
    put_good_site(book)
    write_chapter(
        book / "book" / "02_two.ipynb",
        "Two",
        code("wait", "open('waiting', 'w').close()\nimport time\ntime.sleep(600)"),
    )
    process = start(book)
    while not (book / "_build" / "run" / "waiting").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert good_site_is_untouched(book)


@pytest.mark.parametrize(
    "argument",
    [
        "DEMO_SPLIT=abc",
        "DEMO_SPLIT=0",
        "DEMO_SPLIT=2",
        "DEMO_SPLIT=-0.1",
        "DEMO_SPLIT=nan",
        "DEMO_SPLIT=",
        "EPOCHS=0",
        "EPOCHS=2.5",
        "EPOCHS=many",
    ],
)
def test_a_wrong_parameter_is_named_at_once(argument):
    command = [sys.executable, str(ROOT / "book" / "parameters.py"), argument]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    name, value = argument.split("=")
    assert ran.returncode != 0
    assert f"{name} must be" in ran.stderr
    assert repr(value) in ran.stderr


def test_an_unknown_parameter_is_named():
    command = [sys.executable, str(ROOT / "book" / "parameters.py"), "EPOCH=3"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "'EPOCH'" in ran.stderr
