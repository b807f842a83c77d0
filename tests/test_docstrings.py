"""Every public class and function says what its arguments are and shows an example, which pytest runs."""

import importlib
import inspect
import pkgutil
import re

import keras
import pytest

import mml
import mml_book

MODULES = [
    module.name
    for package in (mml, mml_book)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.startswith("mml_book.results")  # scripts, and the tables that they wrote
]


def members():
    """Public classes and functions, and their public methods that no base class has."""
    for name in MODULES:
        module = importlib.import_module(name)
        for member in vars(module).values():
            if getattr(member, "__module__", None) != name or getattr(member, "__name__", "_").startswith("_"):
                continue
            if inspect.isclass(member) or inspect.isfunction(member):
                yield member
            if inspect.isclass(member):
                for method in vars(member).values():
                    inherited = any(hasattr(base, getattr(method, "__name__", "")) for base in member.__mro__[1:])
                    if inspect.isfunction(method) and not method.__name__.startswith("_") and not inherited:
                        yield method


MEMBERS = {f"{member.__module__}.{member.__qualname__}": member for member in members()}
every_member = pytest.mark.parametrize("name", sorted(MEMBERS))


def arguments(docstring):
    """The names below `Args:`."""
    section = re.search(r"^Args:\n((?:    .*\n|\n)+)", inspect.cleandoc(docstring) + "\n", re.MULTILINE)
    lines = re.findall(r"^    (\S[^:]*):", section[1] if section else "", re.MULTILINE)
    return [name.strip(" *`") for line in lines for name in line.split(",")]


def test_the_names_below_args_are_found():
    docstring = """One.

    Args:
        a: First.
            b: no.
        b, *c: Rest.

    Returns:
        d: e.
    """
    assert arguments(docstring) == ["a", "b", "c"]
    assert arguments("Nothing.") == []


def test_members_are_found():
    assert {"mml.layers.dense_mml.DenseMML", "mml_book.figures.images.image_rows"} <= set(MEMBERS)
    assert "mml.layers.dense_mml.DenseMML.set_ternary_kernel" in MEMBERS
    assert "mml.layers.dense_mml.DenseMML.call" not in MEMBERS


@every_member
def test_shows_an_example(name):
    docstring = inspect.getdoc(MEMBERS[name])
    assert docstring
    if name.rpartition(".")[0] not in MEMBERS:  # that of a class shows its methods
        assert re.search(r"^Example:\n\n>>> ", docstring, re.MULTILINE)


@pytest.mark.parametrize("name", mml.layers.__all__)
def test_a_layer_says_what_it_takes_and_returns(name):
    docstring = inspect.getdoc(getattr(mml.layers, name))
    for section in ("Call arguments", "Returns"):
        assert re.search(rf"^{section}:\n    \S", docstring, re.MULTILINE), section


@every_member
def test_names_its_arguments(name):
    parameters = inspect.signature(MEMBERS[name]).parameters.values()
    described = [argument for argument in arguments(inspect.getdoc(MEMBERS[name])) if argument != "kwargs"]
    if any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters):  # it passes on what Keras takes
        assert described and set(described) <= set(
            inspect.signature(getattr(keras.layers, name.split(".")[-1])).parameters
        )
    else:
        names = [parameter.name for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD]
        assert sorted(described) == sorted(set(names) - {"self"})
