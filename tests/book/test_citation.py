"""What GitHub offers to cite is what the README says."""

import re
import tomllib

import yaml
from book_files import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_readme_cites_the_same():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    entry = re.search(r"```bibtex\n(.*?)```", readme, re.DOTALL)[1]
    fields = {
        name: value.strip("{}") for name, value in re.findall(r"^\s+(\w+)\s*=\s*(\{.*\}),?$", entry, re.MULTILINE)
    }
    preferred = CITATION["preferred-citation"]
    assert fields == {
        "title": preferred["title"],
        "author": preferred["authors"][0]["name"],
        "year": str(preferred["year"]),
        "url": preferred["url"],
    }
    assert len(preferred["authors"]) == 1


def test_it_is_the_version_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (CITATION["version"], CITATION["license"]) == (project["version"], project["license"])
    assert CITATION["title"] == CITATION["preferred-citation"]["title"]
