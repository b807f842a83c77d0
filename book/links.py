"""Find the links of a built site that lead nowhere on it: python book/links.py FOLDER

Pages, pictures, downloads and anchors are looked up. Links to other sites are not: `make links` asks those.
"""

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup


def targets(page):
    """The anchors of a page, and what it links to: pairs of a path, empty for the page itself, and an anchor."""
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
    """The links that lead nowhere, a line each, for the site in the folder `site`."""
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
