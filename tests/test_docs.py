"""The pages: the site builds from them without a warning, and what they name exists."""

import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

from metarfft_core import cli, formats, tasks
from metarfft_core.params import reference
from metarfft_core.params.schema import Params
from metarfft_core.system.places import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md",
         *(page for page in sorted(DOCS.glob("*.md")) if page.name != "tasks.md")]
"""Every page but that of all tasks, which is made from the registry."""
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)

FOLDERS = (ROOT, ROOT / "metarfft_core", ROOT / "params" / "accelerate",
           ROOT / "outputs" / "reference" / "laptop")
"""What a name of a file may be relative to, beside the page's own folder."""
SUFFIXES = r"\.(?:py|yaml|yml|md|ipynb|json|jsonl|csv|parquet|sh|txt|toml|cff|in)$"
MADE = {"adapt/", "rl/", "general/", "work/", "work/class", "logs/", "checkpoints/", "reports/",
        "notebooks/", "log.jsonl", "hashes.json", "manifest.json", "flips.csv", "docs/_build/html",
        "outputs/laptop", "outputs/from_reference/", "my_tasks.py", "my_run.yaml"}
"""Names of what is made by a run, a report, `make docs` or the reader."""


def blocks(page, language=r"[a-z]*"):
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"),
                      re.DOTALL | re.MULTILINE)


def spans(page):
    """The text in single backticks on a page, outside of code blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


@lru_cache
def keys():
    """Every key of a parameter file, with its sections: corpus.pretrain.lengths."""
    def below(section, path):
        for name, field in section.model_fields.items():
            yield (*path, name)
            for inner in reference.inside(field.annotation):
                yield from below(inner, (*path, name))

    return {".".join(path) for path in below(Params, ())}


def named(name):
    """What a dotted name of the package, such as models.pissa_start, means; None if nothing."""
    parts = name.removeprefix("metarfft_core.").split(".")
    for cut in range(len(parts), 0, -1):
        module = f"metarfft_core.{'.'.join(parts[:cut])}"
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part, None)
        return found
    return None


def test_the_readme_is_a_front_page():
    """It has at most 150 lines, a figure that exists, and a link to each section of the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    figure, = re.findall(r"^!\[.+\]\((.+)\)$", text, re.MULTILINE)
    assert (ROOT / figure).exists()
    linked = set(re.findall(r"\]\(([\w/]+\.md)\)", text))
    assert {f"docs/{name}.md" for name in ("results", "architecture", "notebooks", "guides",
                                           "reference", "running", "deviations")} <= linked


def test_the_readme_shows_a_real_trace():
    """Its rule is the beginning of a task's, and its trace a part of what the kit writes."""
    task = tasks.get("lc_283")
    rule, trace = blocks(ROOT / "README.md")[:2]
    assert task.rule_source.startswith(rule.removesuffix("    ...\n"))
    assert trace.count("\n") == 5
    instance = task.sample(length=3, seed=0, index=7)
    assert instance.inputs == {"nums": [4, 0, 3]}
    assert trace == "\n".join(
        formats.render(task, instance, "rfft").completion.splitlines()[3:8]) + "\n"


@every_page
def test_every_file_that_a_page_names_exists(page):
    """A path or a file's name in backticks is there, from the root, the package or a run folder."""
    files = {span for span in spans(page) if re.fullmatch(r"[\w./-]+", span)
             and ("/" in span.strip(".") or re.search(SUFFIXES, span))}
    missing = {name for name in files - MADE
               if not any((folder / name).exists() for folder in (*FOLDERS, page.parent))
               and not list((ROOT / "metarfft_core").rglob(name))}
    assert missing == set()


@every_page
def test_every_name_of_the_package_that_a_page_uses_exists(page):
    """A dotted name that begins with a room is a function, a constant or a key of the schema."""
    rooms = {path.stem for path in (ROOT / "metarfft_core").iterdir()}
    sections = {key.partition(".")[0] for key in keys()}
    missing = set()
    for span in spans(page):
        name = span.partition("(")[0].partition(":")[0].strip()
        if not re.fullmatch(r"\w+(\.\w+)+", name) or re.search(SUFFIXES, name):
            continue
        first = name.removeprefix("metarfft_core.").partition(".")[0]
        if first in rooms | sections and name not in keys() and named(name) is None:
            missing.add(name)
    assert missing == set()


def test_the_architecture_names_the_file_of_a_function():
    """Where the page says that a function is in a file, it is defined there."""
    text = " ".join((DOCS / "architecture.md").read_text(encoding="utf-8").split())
    said = re.findall(r"((?:`[\w.]+`(?: and )?)+), in `(metarfft_core/[\w/]+\.py)`", text)
    functions = [(name, file) for names, file in said for name in re.findall(r"`(.+?)`", names)]
    assert len(functions) >= 5
    assert {name: file for name, file in functions
            if Path(inspect.getsourcefile(named(name))) != ROOT / file} == {}


@every_page
def test_every_import_on_a_page_works(page):
    """What a block of Python imports from the package is there."""
    lines = re.findall(r"^from (metarfft_core[\w.]*) import (.+)$", "\n".join(blocks(page)),
                       re.MULTILINE)
    for module, names in lines:
        for name in names.split(", "):
            assert named(f"{module}.{name}") is not None, f"from {module} import {name}"


@every_page
def test_every_command_on_a_page_exists(page, capsys):
    """`metarfft` has every command that a page names, with the options that it gives it."""
    code = "\n".join([*blocks(page), *spans(page)]).replace("\\\n", " ")
    for name, rest in re.findall(r"\bmetarfft ([a-z-]+)\b([^#`\n|&;]*)", code):
        with pytest.raises(SystemExit) as end:
            cli.main([name, "--help"])
        assert end.value.code == 0, name
        known = capsys.readouterr().out
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= set(re.findall(r"--[a-z-]+", known))


@pytest.mark.parametrize("size", ["7b", "32b"])
def test_every_assumption_is_explained(size):
    """docs/deviations.md has a row, with its value, for each key that is marked: assumption."""
    rows = {row[1].strip(" `"): row[2] for row in (
        line.split("|") for line in (DOCS / "deviations.md").read_text().splitlines()
        if line.startswith("| `"))}
    marked = assumptions(ROOT / "params" / f"{size}.yaml")
    assert len(marked) > 30
    assert set(marked) - set(rows) == set()
    assert {key: value for key, value in marked.items()
            if value and not value.startswith("[") and value not in rows[key]} == {}


def assumptions(path):
    """The keys of a parameter file that are marked, with their values; "" where it is nested."""
    found, stack, above = {}, [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = re.match(r"( *)(\w+):(?: +([^#]*?))?(?= *#|$)", line)
        if not entry:
            above = above or bool(line.startswith(" ") and "assumption" in line)
            continue
        stack = [*(one for one in stack if one[0] < len(entry[1])), (len(entry[1]), entry[2])]
        if above or "assumption" in line:
            found[".".join(name for _, name in stack)] = entry[3] or ""
        above = False
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in found:  # a slip above would name a key that is not there
        part = values
        for name in key.split("."):
            part = part[name]
    return found


def test_each_word_of_the_glossary_is_said_once():
    """No word has two entries, and every one says something."""
    entries = re.findall(r"^- \*\*(.+?)\*\*: (\w?)", (DOCS / "glossary.md").read_text(),
                         re.MULTILINE)
    words = [word.lower() for entry, _ in entries for word in entry.split(", ")]
    assert len(words) == len(set(words)) > 40
    assert all(meaning for _, meaning in entries)


@pytest.mark.parametrize(("docstring", "expected"), [
    ("Takes *any* `a*b` and seeds_.", "Takes \\*any\\* `a*b` and seeds\\_."),
    ("As in\n\n    metarfft run\n\nand on.", "As in\n\n::\n\n        metarfft run\n\nand on."),
    ("Do it.\n\nArgs:\n    run: what is run", "Do it.\n\nArgs:\n    run: what is run"),
    ("| a | b |\n|---|---|\n| 1 | 2 |",
     ".. list-table::\n   :header-rows: 1\n\n   * - a\n     - b\n   * - 1\n     - 2"),
    ("With N and M:\na   N * M\n    more", "::\n\n    With N and M:\n    a   N * M\n        more")])
def test_docstrings_become_restructured_text(docstring, expected):
    """Backticks, tables, examples and sections of a docstring are shown as they are meant."""
    spec = importlib.util.spec_from_file_location("docstrings", DOCS / "docstrings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "\n".join(module.converted(docstring.splitlines())).rstrip() == expected


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built with every warning an error and no way to a network."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-c", "docs",
         "-d", str(folder / "doctrees"), ".", str(folder / "html")],
        cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_site_builds_without_a_warning(site):
    """Every page, every notebook with its outputs and every room of the package is in it."""
    for page in (*PAGES, DOCS / "tasks.md", *(ROOT / "notebooks").glob("[0-9]*.ipynb"),
                 *(ROOT / "notebooks" / "class").glob("*.[im]*")):
        assert (site / page.relative_to(ROOT).with_suffix(".html")).exists(), page
    rooms = [path for path in (ROOT / "metarfft_core").iterdir()
             if path.suffix == ".py" or (path / "__init__.py").exists()]
    for room in rooms:
        assert room.stem.startswith("__") or (site / "docs/api" / f"{room.stem}.html").exists()
    assert "meta_rfft" in read(site / "notebooks/04_evaluation.html")  # of a stored output
    assert "<img" in read(site / "notebooks/04_evaluation.html")
    assert 'id="metarfft_core.formats.render"' in read(site / "docs/api/formats.html")


def test_the_first_page_of_the_site_leads_to_the_readme(site):
    """index.html opens the README, which links to each section and shows the figure."""
    assert "url=README.html" in read(site / "index.html")
    front = read(site / "README.html")
    assert "accuracy_by_length.png" in front
    for name in ("results", "architecture", "notebooks", "guides", "reference"):
        assert f'href="docs/{name}.html"' in front


def test_the_site_needs_no_other_site(site):
    """No page loads a script, a style or a font from elsewhere."""
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://[^\"]+", read(page))
        assert loaded == [], page
