"""The built site, where there is one: what a reader sees on its pages."""

import html
import re

import pytest
from book_files import CHAPTERS, ROOT, SITE

pytestmark = pytest.mark.skipif(not SITE.exists(), reason="the site is not built: make book")


def article(path):
    """The HTML of a page's text, without the theme around it."""
    return re.search(r"<article.*?</article>", path.read_text(encoding="utf-8"), re.DOTALL).group()


def words(markup):
    """The text of a piece of HTML, with apostrophes as one types them."""
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    """Each chapter's path."""
    return request.param


@pytest.fixture
def page(chapter):
    """Each chapter's page."""
    return article(SITE / "book" / f"{chapter.stem}.html")


def cell_outputs(page, tag):
    """The text that the cells with this tag printed."""
    cells = re.split(r'<div class="cell ', page)
    tagged = [cell for cell in cells if re.match(rf"[^\"]*\btag_{tag}\b", cell)]
    return [
        words(text).strip()
        for cell in tagged
        for text in re.findall(r'<div class="output stream.*?</pre>', cell, re.DOTALL)
    ]


def test_the_first_page_leads_to_every_chapter():
    target = re.search(r'url=([^"]+)"', (SITE / "index.html").read_text(encoding="utf-8")).group(1)
    first = (SITE / target).read_text(encoding="utf-8")
    for chapter in CHAPTERS:
        assert f'href="{chapter.stem}.html"' in first


def test_every_code_cell_ran(page):
    # A page printed from a notebook that did not run has no output at all.
    assert 'class="cell_output' in page
    assert "Traceback (most recent call last)" not in page


def test_every_picture_is_there_and_described(page, chapter):
    for picture in re.findall(r"<img[^>]*>", page):
        alt = re.search(r'alt="([^"]*)"', picture)
        assert alt and len(alt.group(1)) >= 20, picture[:200]
        assert not re.search(r"\.(png|svg)$", alt.group(1)), "a file name is not a description"
        assert (SITE / "book" / re.search(r'src="([^"]+)"', picture).group(1)).exists()


def test_the_parameters_in_force_are_readable(page, chapter):
    if "tag_parameters" in page:
        (own,) = re.findall(r'<div class="cell tag_parameters.*?</pre>', page, re.DOTALL)
        assignment = r"^([A-Z_]+) = (\S+)"
        own = dict(re.findall(assignment, words(own), re.MULTILINE))
        assert own
        for injected in re.findall(r'<div class="cell tag_injected-parameters.*?</pre>', page, re.DOTALL):
            injected = dict(re.findall(assignment, words(injected), re.MULTILINE))
            assert list(injected) == list(own)
            assert injected != own, "it repeats the cell above"


def test_each_page_says_on_which_data_it_was_measured(page, chapter):
    if "load_cifar10" in chapter.read_text(encoding="utf-8"):
        (sentence,) = cell_outputs(page, "data-source")
        assert re.search(r"CIFAR-10|digits", sentence)


def test_the_first_page_names_the_data_of_the_first_chapter():
    (sentence,) = cell_outputs(article(SITE / "book" / f"{CHAPTERS[0].stem}.html"), "data-source")
    assert sentence in words(article(SITE / "book" / "intro.html"))


def test_no_page_shows_a_path_of_the_machine_that_built_it(page):
    assert str(ROOT) not in words(page)
