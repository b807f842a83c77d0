"""`import mml`: what it offers, and that it changes nothing. Each test asks a process of its own."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUBMODULES = [
    *("activations", "costs", "data", "images", "initializers", "layers", "memory", "models", "ops", "packing"),
    *("presets", "training"),
]


def printed(program):
    """What a fresh process prints as JSON."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_changes_nothing_in_the_process():
    found = printed("""
import json, os, signal, sys, threading, warnings

def state():
    handlers = [repr(signal.getsignal(number)) for number in signal.valid_signals()]
    return [dict(os.environ), handlers, [repr(each) for each in warnings.filters], threading.active_count(), sys.path]

before, modules = state(), set(sys.modules)
import mml
print(json.dumps([before == state(), sorted(set(sys.modules) - modules)]))
""")
    same, imported = found
    assert same
    # Without ctypes nobody has called mallopt, and without JAX nobody has set one of its options.
    foreign = [name for name in imported if name.split(".")[0] not in {"mml", *sys.stdlib_module_names}]
    assert foreign == [] and "ctypes" not in imported
    assert [name for name in imported if name.startswith("mml")] == ["mml"]


def test_submodules_are_there_without_an_import_of_their_own():
    found = printed("""
import json, sys
import mml
before = "keras" in sys.modules
print(json.dumps([before, mml.layers.DenseMML.__name__, "keras" in sys.modules, mml.layers is mml.layers]))
""")
    assert found == [False, "DenseMML", True, True]


def test_a_packed_file_is_read_without_an_import_of_the_model_that_wrote_it():
    """The file's activation has to be registered, whatever has been imported."""
    found = printed("""
import json
from importlib.resources import files
from mml.packing import load_packed
print(json.dumps(load_packed(files("mml") / "presets" / "cifar10.safetensors").output_shape))
""")
    assert found == [None, 10]


@pytest.mark.parametrize("name", SUBMODULES)
def test_each_submodule_is_imported_when_it_is_used(name, monkeypatch):
    import mml

    monkeypatch.delattr(mml, name, raising=False)  # as in a process that has not used it
    assert getattr(mml, name) is sys.modules[f"mml.{name}"]


def test_names_are_listed():
    import mml

    assert set(mml.__all__) == {*SUBMODULES, "__version__"}
    assert set(mml.__all__) <= set(dir(mml))


def test_an_unknown_name_is_an_attribute_error():
    import mml

    with pytest.raises(AttributeError, match="module 'mml' has no attribute 'no_such_module'"):
        mml.no_such_module  # noqa: B018
    with pytest.raises(ImportError, match="no_such_module"):
        from mml import no_such_module  # noqa: F401


def test_the_version_is_that_of_the_distribution():
    import mml

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "mml-vision"
    assert mml.__version__ == project["version"]


def test_a_source_tree_that_is_not_installed_has_no_version(monkeypatch):
    from importlib import metadata

    import mml

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(AttributeError, match="mml-vision, which is not installed here"):
        mml.__version__  # noqa: B018
    assert not hasattr(mml, "__version__")
