"""Where the book is: its root, its settings, its chapters in order, and the built site."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
CHAPTERS = sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb"))
SITE = ROOT / "_build" / "html"
