"""What the library imports: nothing of the book's package, and no package of the extra `book` before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[1] / "src" / "mml"
EXTRA = "matplotlib seaborn pandas scipy sklearn".split()

# Imports every module of mml, while no module of mml can import the packages named on the command line. Keras and its
# backend still can: JAX needs SciPy.
IMPORT_WITHOUT = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1:]:
            frame = sys._getframe(1)
            while "importlib" in frame.f_code.co_filename:
                frame = frame.f_back
            importer = frame.f_globals["__name__"]
            if importer.split(".")[0] in ("mml", "__main__"):
                raise ModuleNotFoundError(f"{importer} imports {name}", name=name)

sys.meta_path.insert(0, Blocked())
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{name} is not blocked")

import mml

names = [module.name for module in pkgutil.walk_packages(mml.__path__, "mml.")]
for name in names:
    importlib.import_module(name)
print(*names)
"""


def imported(source):
    """The full names of all modules that this code imports, at its top or in a function."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "require"):
            names |= {name.value for name in node.args[:1] if isinstance(name, ast.Constant)}
    return names


def test_imports_are_found():
    source = """
import a.b, c as d
from e import f
def function():
    from g.h import i as j
    import k
    importlib.import_module("l.m"), require("n", "purpose"), other("o")
"""
    assert imported(source) == {"a.b", "c", "e.f", "g.h.i", "k", "l.m", "n"}


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_no_module_of_the_library_imports_the_book(path):
    roots = {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))}
    assert "mml_book" not in roots


def test_importing_all_of_the_library_needs_nothing_of_the_extra():
    command = [sys.executable, "-c", IMPORT_WITHOUT, *EXTRA]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert {"mml.data", "mml.costs", "mml.layers.dense_mml"} <= set(ran.stdout.split())


BOOK_WITHOUT = """
import sys
from importlib import util

find_spec = util.find_spec
util.find_spec = lambda name: None if name in sys.argv[1:] else find_spec(name)
import mml_book
print("imported", *sorted({"jax", "keras", "matplotlib"} & set(sys.modules)))
"""


def import_the_book(*missing):
    return subprocess.run([sys.executable, "-c", BOOK_WITHOUT, *missing], capture_output=True, text=True, check=False)


def test_the_book_s_package_names_what_is_missing():
    ran = import_the_book("pandas", "jax")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "ImportError: `mml_book` needs jax, pandas. "
        "Install what the chapters need with: pip install 'mml-vision[book]'"
    )


def test_the_book_s_package_imports_nothing_itself():
    ran = import_the_book()
    assert (ran.stdout, ran.stderr) == ("imported\n", "")
