"""What the site adds to jupyter-book: formulas as MathML, dates on pages, and links from API pages to chapters."""

import ast
import inspect
import os
import re
import subprocess
from pathlib import Path

import latex2mathml.converter
import nbformat
import pybtex.database
from docutils import nodes
from sphinx.writers.html5 import HTML5Translator

BOOK = Path(__file__).resolve().parent
os.environ.setdefault("KERAS_BACKEND", "jax")  # for the API pages, which import the library


def visit_math(self: HTML5Translator, node):
    """Write a formula as MathML, which browsers can display and read aloud without a script."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    formula = latex2mathml.converter.convert(node.astext(), display=display)
    if display == "block":  # so that the keyboard can scroll a formula that is wider than the page
        formula = self.starttag(node, "div", CLASS="math", tabindex="0") + formula + "</div>\n"
    self.body.append(formula)
    raise nodes.SkipNode


def visit_citation(self: HTML5Translator, node):
    """Write an entry of the bibliography without the deprecated role that docutils gives it."""
    self.body.append(self.starttag(node, "div", CLASS="citation"))


def depart_citation(self: HTML5Translator, node):
    """Close what `visit_citation` opened."""
    self.body.append("</div>\n")


def leave_thebe_out(app):
    """Disconnect sphinx-thebe, which jupyter-book always loads. Its script is there twice and fails."""
    for listeners in app.events.listeners.values():
        for listener in [each for each in listeners if each.handler.__module__ == "sphinx_thebe"]:
            listeners.remove(listener)


def last_changed(book):
    """Return the day of the last commit of each file of the book, by its path below the root, without suffix."""
    log = subprocess.run(
        ["git", "log", "--format=%cs", "--name-only", "--", "."],
        cwd=book,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    days = {}
    for line in log.splitlines():
        if re.fullmatch(r"\d{4}-\d\d-\d\d", line):
            day = line
        elif line:
            days.setdefault(str(Path(line).with_suffix("")), day)
    return days


def arxiv_keys(path):
    """Return the citation key of each bibliography entry that has an arXiv address, by arXiv number."""
    entries = pybtex.database.parse_file(str(path)).entries
    addresses = {key: entry.fields.get("url", "") for key, entry in entries.items()}
    return {url.rpartition("/")[2]: key for key, url in addresses.items() if url.startswith("https://arxiv.org/abs/")}


def cite(papers, text, citation):
    """Add a citation after each `arXiv:…` and each linked arXiv address in a text.

    >>> cite({"1910.07467": "zhang2019root"}, "the [norm](https://arxiv.org/abs/1910.07467) here", "{cite:p}`%s`")
    'the [norm](https://arxiv.org/abs/1910.07467) {cite:p}`zhang2019root` here'
    """

    def add(found):
        key = papers.get(found["number"])
        return f"{found[0]} {citation % key}" if key else found[0]

    return re.sub(r"(?:\]\(https://arxiv\.org/abs/|arXiv:)(?P<number>\d{4}\.\d{4,5})\)?", add, text)


def names_used(notebook):
    """Return the full names of the classes and functions of `mml` and `mml_book` that a chapter's code uses.

    `from mml.layers import DenseMML` counts, and so do `mml.layers.DenseMML` after `import mml`, and
    `figures.matrices(...)` after `from mml_book import figures`.
    """
    used, modules = set(), {"mml": "mml", "mml_book": "mml_book"}
    for cell in notebook.cells:
        if cell.cell_type != "code" or re.search(r"^\s*[%!]", cell.source, re.MULTILINE):
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("mml", "mml_book"):
                for name in node.names:
                    modules[name.asname or name.name] = f"{node.module}.{name.name}"
                    used.add(f"{node.module}.{name.name}")
            elif isinstance(node, ast.Attribute):
                name, _, rest = ast.unparse(node).partition(".")
                if name in modules:
                    used.add(f"{modules[name]}.{rest}")
    return used


def chapters_that_use(book):
    """Return, for each chapter by its Sphinx document name, the full names that it uses from the two packages."""
    return {
        f"/book/{path.stem}": names_used(nbformat.read(path, as_version=4))
        for path in sorted(book.glob("[0-9][0-9]_*.ipynb"))
    }


def signature(app, what, name, obj, options, arguments, returned):
    """Show the arguments of a layer's own `__init__`, because Keras wraps `__new__`, which accepts anything."""
    if what == "class" and obj.__module__.split(".")[0] == "mml":
        own = inspect.signature(obj.__init__)
        parameters = list(own.parameters.values())[1:]
        return str(own.replace(parameters=parameters, return_annotation=inspect.Signature.empty)), None
    return None


def lighten(app, pagename, templatename, context, doctree):
    """Remove what a page would load but not use: the styles of cards, and a font just for the GitHub icon."""
    unused = (
        ["sphinx-thebe"] if "sd-card" in context.get("body", "") else ["sphinx-thebe", "sphinx-design", "design-tabs"]
    )
    for kind in ("css_files", "script_files"):
        context[kind] = [file for file in context[kind] if not any(name in str(file.filename) for name in unused)]
    for button in context.get("header_buttons", []):
        for each in [button, *button.get("buttons", [])]:
            each["icon"] = each.get("icon", "").replace("fab fa-github", "fas fa-code-branch")


def setup(app):
    """Register everything with Sphinx, which calls this function."""
    papers = arxiv_keys(BOOK / "references.bib")
    days = last_changed(BOOK)
    chapters = chapters_that_use(Path(app.srcdir) / "book")

    def mend_notebook(app, docname, source):
        if Path(app.env.doc2path(docname)).suffix == ".ipynb":
            text = cite(papers, source[0], "{cite:p}`%s`")
            # pandas leaves the corner of a table empty, and an empty cell is not a heading
            source[0] = text.replace("<th></th>", "<td></td>")

    def link_docstring(app, what, name, obj, options, lines):
        lines[:] = [cite(papers, line, ":cite:p:`%s`") for line in lines]
        links = [f":doc:`{chapter}`" for chapter, names in chapters.items() if name in names]
        if links:
            lines += ["", ".. rubric:: In the book", "", ", ".join(links)]

    def date_page(app, pagename, templatename, context, doctree):
        context["last_updated"] = days.get(pagename)

    app.add_node(nodes.citation, override=True, html=(visit_citation, depart_citation))
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("builder-inited", leave_thebe_out)
    app.connect("source-read", mend_notebook)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", link_docstring, priority=900)  # after napoleon
    app.connect("html-page-context", date_page)
    app.connect("html-page-context", lighten, priority=900)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
