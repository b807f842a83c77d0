"""Where the book is: its root, settings, chapters in order, and the built site; and what its text may hold."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
CHAPTERS = sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb"))
PAGES = sorted({*(ROOT / "book").glob("*.ipynb")} - {*CHAPTERS})  # that run as chapters do, for reference
SITE = ROOT / "_build" / "html"

CODE = re.compile(r"^( *)(```|~~~)\w*$.*?^\1\2$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
LABEL = re.compile(r"\\(?:label|ref|eqref)\{")
SITE_ONLY = re.compile(
    r"^[ >]*(?:`{3,}|~{3,}|:{3,})\{"  # directives
    r"|\{[a-z][\w:+.-]*\}`"  # roles
    r"|^\([\w-]+\)=\s*$"  # targets
    r"|\$ *\([\w-]+\)\s*$"  # names of formulas
    r"|\[\^[^\]]+\]"  # footnotes
    r"|^> *\[!\w+\]"  # boxes of GitHub
    r"|^\+\+\+|\{\{"  # block breaks, substitutions
    r"|</?(?!details\b|summary\b|https?:)[a-z]\w*[^>]*>",  # HTML
    re.MULTILINE,
)


def site_only(text):
    """Return the parts of this Markdown that only the site renders and Colab shows raw."""
    prose = FORMULA.sub("$", CODE.sub("`", text))
    return [*LABEL.findall(text), *(match.group() for match in SITE_ONLY.finditer(prose))]
