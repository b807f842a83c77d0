"""The built site in a real browser: what a reader sees, hears, clicks and types."""

import functools
import gzip
import http.server
import io
import shutil
import threading

import nbformat
import numpy as np
import pytest
from book_files import CHAPTERS, CONFIG, SITE
from PIL import Image
from scipy.special import softmax

from mml.packing import read_packed

HOW = "apt install chromium, then make .venv/browser"
sync_api = pytest.importorskip("playwright.sync_api", reason=f"Playwright is not installed: {HOW}")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=f"axe is not installed: {HOW}")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(not SITE.exists(), reason="the site is not built: make book"),
    pytest.mark.skipif(CHROMIUM is None, reason=f"no Chromium was found: {HOW}"),
]
PAGES = sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if "_static" not in page.parts)
WIDTHS = {"wide": 1280, "narrow": 360}
# What a page without its pictures may weigh, in bytes as a web server sends them: compressed.
LIMIT = 500_000


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line on stderr for each."""

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    """It is not an error if a browser moves on before a file has been sent."""

    def handle_error(self, request, client_address):
        pass


@pytest.fixture(scope="module")
def address():
    """Where the site is served."""
    with Server(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Open a page of the site at a width and in a mode; `page.complaints` gathers what its console says."""
    contexts = []

    def open_page(name, width=1280, mode="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, base_url=address, **options)
        contexts.append(context)
        context.add_init_script(f"localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}')")
        page = context.new_page()
        page.complaints, page.received = [], {}
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda line: line.type == "error" and page.complaints.append(line.text))
        page.on("requestfailed", lambda request: page.complaints.append(request.url))
        page.on("request", lambda request: request.url.startswith(address) or page.complaints.append(request.url))

        def receive(response):
            if response.status >= 400:
                page.complaints.append(f"{response.status} {response.url}")
            elif response.ok and response.request.resource_type != "image":
                page.received[response.url] = len(gzip.compress(response.body()))

        page.on("response", receive)
        page.goto(f"/{name}", wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_light_and_quiet(open_page, name, width, mode):
    page = open_page(name, WIDTHS[width], mode)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.dataset.theme") == mode
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width], "scrolls sideways"
    assert page.complaints == []
    assert sum(page.received.values()) < LIMIT, page.received
    report = axe.Axe().run(page, options={"resultTypes": ["violations"]})  # last: it asks for more files
    assert report.violations_count == 0, report.generate_report()


def test_the_first_page_opens_at_the_root(open_page):
    page = open_page("index.html")
    page.wait_for_url("**/book/intro.html")
    assert page.complaints == []


def test_formulas_are_drawn(open_page):
    page = open_page("book/04_transformer_block.html")
    formulas = page.locator("math").all()
    assert formulas
    for formula in formulas:
        box = formula.bounding_box()
        assert box["width"] > 3 and box["height"] > 3


def test_search_finds_a_hyphenated_word(open_page):
    page = open_page("book/intro.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("straight-through")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=straight-through*")
    results = page.locator("ul.search li a")
    results.first.wait_for()
    page.wait_for_function("!document.querySelector('#search-progress')?.textContent.includes('Preparing')")
    found = " ".join(result.get_attribute("href") for result in results.all())
    assert "book/03_patch_embedding.html" in found
    assert "book/glossary.html" in found
    assert page.complaints == []


def test_the_dark_switch_darkens(open_page):
    page = open_page("book/intro.html")
    background = "getComputedStyle(document.body).backgroundColor"
    seen = {page.evaluate("document.documentElement.dataset.theme"): page.evaluate(background)}
    for _ in range(3):  # light, dark, as the system has it
        page.locator("button.theme-switch-button").first.click()
        seen[page.evaluate("document.documentElement.dataset.theme")] = page.evaluate(background)
    assert set(seen) == {"light", "dark"}
    assert seen["light"] != seen["dark"]


def test_a_switch_is_kept_on_the_next_page(browser, address):
    page = browser.new_page(base_url=address, color_scheme="light")
    page.goto("/book/intro.html")
    while page.evaluate("document.documentElement.dataset.mode") != "dark":
        page.locator("button.theme-switch-button").first.click()
    page.goto("/book/notation.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.close()


def test_the_sidebar_opens_and_leads_on_a_telephone(open_page):
    page = open_page("book/intro.html", WIDTHS["narrow"])
    link = page.locator(".bd-sidebar-primary").get_by_role("link", name="Patches", exact=True)
    assert not link.is_visible() or link.bounding_box()["x"] < 0
    page.locator("button.primary-toggle").click()
    page.wait_for_function("document.querySelector('.bd-sidebar-primary').getBoundingClientRect().x >= 0")
    link.click()
    page.wait_for_url("**/book/02_patches.html")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_solutions_open_and_close(open_page, chapter):
    page = open_page(f"book/{chapter.stem}.html")
    solutions = page.locator("details").filter(has=page.locator("summary", has_text="Show the solution")).all()
    assert solutions
    for solution in solutions:
        code = solution.locator("pre").first
        assert not code.is_visible()
        solution.locator("summary").first.press("Enter")
        assert code.is_visible()
        assert "Solution to exercise" in code.inner_text()


def test_copy_copies_the_code(open_page):
    page = open_page("book/02_patches.html", permissions=["clipboard-read", "clipboard-write"])
    cell = page.locator("div.cell_input").filter(has_text="DEMO_SPLIT").first
    cell.hover()
    cell.locator("button.copybtn").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('DEMO_SPLIT = 0.01'))")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_launch_and_repository_buttons_lead_to_the_source(open_page, chapter):
    page = open_page(f"book/{chapter.stem}.html")
    repository = CONFIG["repository"]
    path = f"{repository['url'].removeprefix('https://github.com')}/blob/{repository['branch']}/book/{chapter.name}"
    page.locator(".dropdown-launch-buttons > button").click()
    colab = page.locator(".dropdown-launch-buttons").get_by_role("link", name="Colab")
    assert colab.is_visible()
    assert colab.get_attribute("href") == f"{CONFIG['launch_buttons']['colab_url']}/github{path}"
    page.keyboard.press("Escape")
    page.locator(".dropdown-source-buttons > button").click()
    link = page.locator(".dropdown-source-buttons").get_by_role("link", name="Repository")
    assert link.is_visible()
    assert link.get_attribute("href") == repository["url"]


def test_download_gives_the_notebook_as_executed(open_page):
    page = open_page("book/02_patches.html")
    page.locator(".dropdown-download-buttons > button").click()
    with page.expect_download() as download:
        page.locator(".dropdown-download-buttons").get_by_role("link", name=".ipynb").click()
    notebook = nbformat.read(io.StringIO(download.value.path().read_text(encoding="utf-8")), as_version=4)
    nbformat.validate(notebook)
    assert any(cell.get("outputs") for cell in notebook.cells)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "arxiv.org" in text and "{cite" not in text


def test_a_chapter_prints_without_what_surrounds_it(open_page):
    page = open_page("book/02_patches.html")
    page.emulate_media(media="print")
    for part in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer"):
        assert not page.locator(part).first.is_visible(), part
    assert page.get_by_role("heading", name="Patches", exact=True).first.is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_previous_and_next_go_through_the_book(open_page):
    page = open_page("book/intro.html")
    for chapter in CHAPTERS:
        page.locator("a.right-next").click()
        page.wait_for_url(f"**/book/{chapter.stem}.html")
    for chapter in CHAPTERS[-2::-1]:
        page.locator("a.left-prev").click()
        page.wait_for_url(f"**/book/{chapter.stem}.html")


@pytest.mark.parametrize("name", ["book/intro.html", "book/05_training.html", "book/api/index.html"])
def test_the_keyboard_reaches_everything(open_page, name):
    page = open_page(name)
    page.evaluate(
        """() => document.querySelectorAll("a[href], button, summary, input").forEach((element, i) => {
            if (element.checkVisibility({visibilityProperty: true})) element.dataset.reach = i;
        })"""
    )
    visible = set(
        page.evaluate("[...document.querySelectorAll('[data-reach]')].map(element => element.dataset.reach)")
    )
    assert len(visible) > 10
    reached = set()
    for _ in range(3 * len(visible)):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.reach"))
        if visible <= reached:
            break
    missed = [page.locator(f"[data-reach='{i}']").evaluate("element => element.outerHTML") for i in visible - reached]
    assert missed == []


def test_the_first_tab_skips_to_the_text(open_page):
    page = open_page("book/05_training.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Enter")
    page.wait_for_url("**#main-content")  # a navigation, so it may take a moment


def test_each_page_says_when_it_last_changed(open_page):
    for name in ("book/intro.html", "book/02_patches.html"):
        page = open_page(name)
        assert page.locator(".last-updated").inner_text().startswith("Last updated on 20")


def test_the_demonstration_answers_as_keras_does(open_page, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype="uint8")
    picture = picture.repeat(8, 0).repeat(8, 1)  # of the model's size already, so that nothing is resized
    Image.fromarray(picture).save(tmp_path / "picture.png")
    packed = read_packed(SITE / "_static" / "demo" / "model.safetensors")
    logits = packed.build().predict(picture[None].astype("float32"), verbose=0)[0]
    expected = {name: 100 * share for name, share in zip(packed.class_names, softmax(logits), strict=True)}

    page = open_page("book/intro.html")
    page.get_by_label("A picture").set_input_files(tmp_path / "picture.png")
    page.locator("#demo li").first.wait_for()
    answer = [line.split(": ") for line in page.locator("#demo li").all_inner_texts()]
    shares = {name: float(share.removesuffix("%")) for name, share in answer}
    assert len(shares) == 5 and list(shares.values()) == sorted(shares.values(), reverse=True)
    for name, share in shares.items():
        assert abs(share - expected[name]) < 5, "8-bit rounding moves a probability only slightly"
    assert page.complaints == []


def test_the_demonstration_says_what_is_wrong_with_a_file(open_page, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear reader")
    page = open_page("book/intro.html")
    page.get_by_label("A picture").set_input_files(tmp_path / "letter.txt")
    page.get_by_text("letter.txt is not a picture that this browser can read").wait_for()
