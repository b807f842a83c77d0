"""What the tests of the book share: its settings and its chapters."""

import nbformat
import pytest
import yaml

from book_files import CHAPTERS, ROOT


@pytest.fixture(scope="session")
def config():
    """The settings of `_config.yml`."""
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    """Each chapter's path."""
    return request.param


@pytest.fixture
def notebook(chapter):
    """Each chapter's notebook."""
    return nbformat.read(chapter, as_version=4)
