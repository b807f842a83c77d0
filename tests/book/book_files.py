"""Where the book is: its root, its chapters in order, and the built site."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb"))
SITE = ROOT / "_build" / "html"
