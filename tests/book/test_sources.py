"""The chapters' sources: what each must have so that it reads and runs the same in every place."""

import ast
import itertools
import json
import re
import runpy

import nbformat
import pytest
import yaml
from book_files import CHAPTERS, PAGES, ROOT, site_only
from PIL import Image

from mml.training import RECIPES

INTRO = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
PARAMETERS = {"DEMO_SPLIT": 0.01, "EPOCHS": 5, "SEED": 42}
DRAWS = re.compile(r"\bplt\.(show|subplots|figure|imshow|plot)\b|\bsns\.\w+plot\b|\bfigures\.\w+\(")


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    """Each chapter's path."""
    return request.param


every_notebook = pytest.mark.parametrize("chapter", [*CHAPTERS, *PAGES], ids=lambda path: path.stem, indirect=True)


@pytest.fixture
def notebook(chapter):
    """Each chapter's notebook."""
    return nbformat.read(chapter, as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def code_cells(notebook, tag=None):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and (tag is None or tag in tags(cell))]


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def toc_files():
    """The files of the reading order, in that order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [entry["file"] for part in toc["parts"] for entry in part["chapters"]]


def test_the_reading_order_names_every_chapter_once():
    listed = [file for file in toc_files() if re.match(r"book/\d\d_", file)]
    assert listed == [f"book/{path.stem}" for path in CHAPTERS]


def test_the_reading_order_names_every_page_once():
    paths = [*(ROOT / "book").rglob("*.md"), *PAGES]
    pages = {str(path.relative_to(ROOT).with_suffix("")) for path in paths}
    assert sorted(file for file in toc_files() if not re.match(r"book/\d\d_", file)) == sorted(pages - {"book/intro"})


def test_the_first_page_has_a_row_for_every_chapter():
    rows = re.findall(r"^\| \[(\d+) .+?\]\((\S+?)\.ipynb\) .*<!-- ran-for (\S+) -->", INTRO, re.MULTILINE)
    assert rows == [(str(int(path.stem[:2])), path.stem, path.stem) for path in CHAPTERS]


def test_every_module_has_a_page():
    paths = [path for path in (ROOT / "src" / "mml").iterdir() if path.suffix in ("", ".py")]
    modules = {f"mml.{path.stem}" for path in paths if not path.stem.startswith("__")}
    documented = set()
    for path in (ROOT / "book" / "api").glob("*.md"):
        documented |= set(re.findall(r"automodule:: (\S+)", path.read_text(encoding="utf-8")))
    internal = {"mml.files", "mml.optional", "mml.validation"}
    assert documented == modules - internal | {"mml.__main__", "mml_book.figures"}


@every_notebook
def test_valid_and_without_outputs(chapter, notebook):
    nbformat.validate(json.loads(chapter.read_text(encoding="utf-8")))
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


@every_notebook
def test_runs_on_the_kernel_that_every_place_has(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.execution.timeout >= 600, "seconds per cell: nbmake stops at 300, jupyter-book at 30"


@every_notebook
def test_cells_are_named(notebook):
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    random = [name for name in ids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?", name)]
    assert not random, "a failing build names the cell by its id"


def test_opens_with_a_title_and_what_to_expect(notebook):
    opening = notebook.cells[0]
    assert opening.cell_type == "markdown"
    assert opening.source.startswith("# ")
    labels = re.findall(r"\*\*(.+?):?\*\*", opening.source)
    for label in ("What you will do", "What you will learn", "What you need", "Running time"):
        assert label in [found.rstrip(":") for found in labels]


@every_notebook
def test_headings_skip_no_level(notebook):
    text = re.sub(r"^```.*?^```", "", markdown(notebook), flags=re.MULTILINE | re.DOTALL)
    levels = [len(hashes) for hashes in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@every_notebook
def test_the_set_up_cell_is_the_same_in_every_chapter(notebook):
    first = nbformat.read(CHAPTERS[0], as_version=4)
    expected = code_cells(first)[0].source
    assert code_cells(notebook)[0].source == expected


@every_notebook
def test_the_set_up_cell_comes_before_keras_and_installs_only_what_is_missing(notebook):
    set_up, *others = code_cells(notebook)
    assert 'os.environ["KERAS_BACKEND"] = "jax"' in set_up.source
    tried = r"^try:\n    import mml_book\b.*\nexcept ImportError:\n    %pip install --quiet "
    assert re.search(tried, set_up.source, re.MULTILINE)
    assert re.findall(r"^\s*(?:import|from) (\w+)", set_up.source, re.MULTILINE) == ["os", "mml_book"]
    assert not any("pip install" in cell.source for cell in others)


def test_parameters_are_one_cell_of_literals(notebook):
    used = {
        name for name in PARAMETERS if any(re.search(rf"\b{name}\b", cell.source) for cell in code_cells(notebook))
    }
    cells = code_cells(notebook, "parameters")
    if not used:
        assert not cells
        return
    (cell,) = cells
    statements = ast.parse(cell.source).body
    values = {statement.targets[0].id: ast.literal_eval(statement.value) for statement in statements}
    expected = dict(PARAMETERS)
    if "RECIPES" in "".join(cell.source for cell in code_cells(notebook)):  # trains the model made for images
        expected["EPOCHS"] = RECIPES[expected["DEMO_SPLIT"]].epochs
    assert values == {name: expected[name] for name in used}
    for other in code_cells(notebook):
        if other is not cell:
            assert not re.search(rf"^\s*({'|'.join(used)})\s*=", other.source, re.MULTILINE), "assigned again"


def test_says_which_data_it_measured(notebook):
    if any("load_cifar10" in cell.source for cell in code_cells(notebook)):
        (cell,) = code_cells(notebook, "data-source")
        assert re.search(r"print\(\w*\.?source\)", cell.source)


@every_notebook
def test_figures_have_alt_text(notebook):
    for cell in code_cells(notebook):
        if DRAWS.search(cell.source):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) >= 20, f"cell {cell.id}"


def test_exercises_with_solutions_that_run(notebook):
    assert re.search(r"^## Exercises$", markdown(notebook), re.MULTILINE)
    exercises = re.findall(r"^### Exercise (\d+)", markdown(notebook), re.MULTILINE)
    assert len(exercises) >= 2
    assert exercises == [str(number + 1) for number in range(len(exercises))]
    solutions = [cell for cell in code_cells(notebook) if cell.source.startswith("# @title Solution to exercise")]
    assert solutions
    for cell in solutions:
        assert "hide-cell" in tags(cell), cell.id
        assert cell.metadata.get("cellView") == "form", f"cell {cell.id}: Colab shows it unless cellView is form"


def test_ends_with_a_link_on(chapter, notebook):
    following = [*[path.name for path in CHAPTERS], "intro.md"][CHAPTERS.index(chapter) + 1]
    assert f"]({following})" in notebook.cells[-1].source


@every_notebook
def test_links_to_other_pages_are_there(chapter, notebook):
    for target in re.findall(r"\]\((?!https?://|#|attachment:)([^)#\s]+)", markdown(notebook)):
        assert (chapter.parent / target).exists(), target


def test_what_only_the_site_would_understand_is_found():
    for text in (
        "```{note}\nText\n```",
        "> ````{figure} picture.png\n> ````",
        "~~~{tip}\n~~~",
        "- item\n\n  :::{admonition} Title\n  :::",
        "see {numref}`figure`",
        "as {cite:p}`zhu2024` say",
        "(a-target)=\n## Heading",
        "$$\nx = y\n$$ (equation)",
        "$$x \\label{equation}$$",
        "a claim[^1]",
        "> [!NOTE]\n> Text",
        "+++",
        "{{ name }}",
        '<div class="admonition">Text</div>',
        "<img src='picture.png'>",
    ):
        assert site_only(text), text
    for text in (
        "> **Note.** Text\n\n```python\nd = {note: x}\n```",
        "the set {1, 2} and `{name}`, $\\frac{1}{2}$ (one half)",
        "`a {b}` and `c`",
        "$$\nx < y\n$$\n\n(in words: less)",
        "`a<b`, $a<b$, 1 < 2",
        "<details><summary>Solution</summary>\n\n</details>",
        "[link](page.ipynb) and <https://example.org>",
    ):
        assert not site_only(text), text


@every_notebook
def test_text_reads_well_without_the_site(notebook):
    for cell in notebook.cells:
        assert cell.cell_type in ("markdown", "code")
        if cell.cell_type == "markdown":
            assert not site_only(cell.source), f"cell {cell.id}"


@every_notebook
def test_pictures_in_the_text_have_an_address_that_every_place_can_reach(notebook):
    # Colab has the notebook alone. Links to other chapters are another matter: it makes them absolute.
    for alt, target in re.findall(r"!\[(.*?)\]\(([^)\s]+)", markdown(notebook), re.DOTALL):
        assert target.startswith(("https://", "attachment:")), target
        assert len(alt) >= 20, target


def test_keeps_freed_memory_where_it_trains(notebook):
    cells = [cell.source for cell in code_cells(notebook)]
    trains = [index for index, source in enumerate(cells) if re.search(r"\btrain\(", source)]
    calls = [
        index for index, source in enumerate(cells) if re.search(r"^keep_freed_memory\(\)", source, re.MULTILINE)
    ]
    assert not trains or (calls and calls[0] < trains[0])


def test_says_what_a_gpu_changes_where_it_trains_or_measures(notebook):
    trains = r"\btrain\(|\.fit\(|perf_counter|mml_book\.results"
    if any(re.search(trains, cell.source) for cell in code_cells(notebook)):
        runs_for = notebook.cells[0].source.split("**Running time:**")[1]
        assert re.search(r"\bGPU\b|\]\(gpu_and_tpu\.md\)", runs_for)


DRAWINGS = runpy.run_path(str(ROOT / "book" / "drawings.py"))


@pytest.mark.parametrize("name", DRAWINGS["DRAWINGS"])
def test_a_drawing_is_what_its_script_draws(name):
    assert (ROOT / "book" / name).read_text(encoding="utf-8") == DRAWINGS["DRAWINGS"][name]()


def test_the_icon_is_what_its_script_draws():
    with Image.open(ROOT / "book" / "_static" / "favicon.ico") as icon:
        assert icon.convert("RGBA").tobytes() == DRAWINGS["icon"]().tobytes()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "book" / "intro.md"], ids=lambda path: path.name)
def test_pages_link_to_files_that_are_there(page):
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert targets
    for target in targets:
        assert (page.parent / target).exists(), target
