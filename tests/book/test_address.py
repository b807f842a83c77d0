"""The repository's address stands in `_config.yml`; whatever else names it must agree."""

import re
import subprocess

import nbformat
import pytest
from book_files import CHAPTERS, CONFIG, PAGES, ROOT, SITE

REPOSITORY = re.compile(
    r"github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?(?=[/\"'\s)>@]|$)"
    r"|(?:colab\.research\.google\.com/github|raw\.githubusercontent\.com)/([\w.-]+/[\w.-]+)"
)


def repositories(text):
    """Every `owner/name` that the text names at the repository's host."""
    return {first or second for first, second in REPOSITORY.findall(text)}


OURS = CONFIG["repository"]["url"].removeprefix("https://github.com/")


def sources():
    """The files that git tracks or would track and that a reader sees."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        ROOT / name
        for name in listed
        if name.endswith((".md", ".ipynb", ".toml", ".yml", ".cff", ".py")) and not name.startswith("tests/")
    ]


def test_the_pattern_finds_addresses():
    text = """git+https://github.com/a/b" https://github.com/c/d.git https://github.com/e/f/issues
    https://colab.research.google.com/github/g/h/blob/main/x.ipynb (https://github.com/i/j)"""
    assert repositories(text) == {"a/b", "c/d", "e/f", "g/h", "i/j"}


def test_no_source_names_the_repository_by_another_address():
    owner, name = OURS.split("/")
    for path in sources():
        for found in repositories(path.read_text(encoding="utf-8")):
            similar = owner in found or name in found
            assert found == OURS or not similar, f"{path.name} names {found}"


def test_every_set_up_cell_installs_from_the_address():
    assert CHAPTERS
    for path in [*CHAPTERS, *PAGES]:
        cells = nbformat.read(path, as_version=4).cells
        (install,) = [cell.source for cell in cells if cell.cell_type == "code" and "pip install" in cell.source]
        assert re.findall(r"git\+(\S+?)[\"'\s]", install + "\n") == [CONFIG["repository"]["url"]], path.name


def test_the_readme_installs_from_cites_and_opens_the_address():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("mml-vision", "mml-vision[book]"):
        assert f'pip install "{name} @ git+{CONFIG["repository"]["url"]}"' in text
    assert repositories(text) == {OURS, "PhotonicGluon/Keras-MatMulLess"}
    first = f"/{OURS}/blob/{CONFIG['repository']['branch']}/book/{CHAPTERS[0].name}"
    assert f"{CONFIG['launch_buttons']['colab_url']}/github{first}" in text


@pytest.mark.skipif(not SITE.exists(), reason="the site is not built: make book")
def test_every_launch_button_opens_the_source():
    for path in [*CHAPTERS, *PAGES]:
        html = (SITE / "book" / f"{path.stem}.html").read_text(encoding="utf-8")
        source = f"/{OURS}/blob/{CONFIG['repository']['branch']}/book/{path.name}"
        assert f'href="{CONFIG["launch_buttons"]["colab_url"]}/github{source}"' in html
        assert f'href="{CONFIG["repository"]["url"]}"' in html
