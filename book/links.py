"""Find the broken links within a built site: python book/links.py FOLDER

The script checks pages, pictures, downloads, and anchors. `make links` checks links to other sites.
"""

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup


def targets(page):
    """Return a page's anchors and its links, which are pairs of a path (empty for the page itself) and an anchor."""
    soup = BeautifulSoup(page.read_bytes(), "html.parser")
    anchors = {tag[name] for name in ("id", "name") for tag in soup.find_all(attrs={name: True})}
    links = set()
    for name in ("href", "src"):
        for tag in soup.find_all(attrs={name: True}):
            url = urlsplit(tag[name])
            if not url.scheme and not url.netloc:
                links.add((unquote(url.path), unquote(url.fragment)))
    return anchors, links


def broken(site):
    """Return the broken links of the site in the folder `site`, one line for each."""
    pages = {page.resolve(): targets(page) for page in sorted(site.rglob("*.html")) if "_static" not in page.parts}
    found = []
    for page, (_, links) in pages.items():
        for path, anchor in sorted(links):
            target = (page.parent / path).resolve() if path else page
            if target.is_dir():
                target /= "index.html"
            name = f"{page.relative_to(site.resolve())} links to {path}{'#' * bool(anchor)}{anchor}"
            if not target.exists():
                found.append(f"{name}, which is not there")
            elif anchor and target in pages and anchor not in pages[target][0]:
                found.append(f"{name}, which has no such anchor")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(broken(Path(sys.argv[1]))) or None)
