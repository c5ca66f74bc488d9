"""The rooms of the package: each imports only from earlier rooms, and none grows too large."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "metarfft_core"

ROOMS = ("system", "tracing", "tasks", "formats", "scoring", "errors", "authoring", "params",
         "models", "corpus", "training", "planning", "evaluation", "analysis", "claims", "figures",
         "lab", "bridges", "runner", "cli")
"""The line of the kit, in order: a folder or a module for each stage."""

LONGEST = 400  # lines of a module outside the library of tasks
MOST = 10
"""Modules in a folder outside the library of tasks, without __init__ and __main__. The aim is about
eight, which a reader sees at a glance; two more avoid splits that would make no sense."""

MODULES = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
           .removesuffix(".__init__"): path for path in sorted(PACKAGE.rglob("*.py"))}
NAMES = [name for name in MODULES if name != "metarfft_core"]


@cache
def imported(name: str) -> set[str]:
    """The modules of the package that a module imports anywhere in its text.

    Deferred imports count, and so do the names that it gives to `import_module`.
    """
    path, found = MODULES[name], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & MODULES.keys()) or {node.module}
            found |= {node.module} if inside - MODULES.keys() else set()
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {given.value for given in ast.walk(node) if isinstance(given, ast.Constant)
                      and isinstance(given.value, str)}
    return found & MODULES.keys() - {"metarfft_core", name}


def room(name: str) -> str:
    return name.split(".")[1]


def test_every_module_is_in_a_room():
    """Every module of the package belongs to a room of the line, and every room has a module."""
    assert {room(name) for name in NAMES} <= set(ROOMS)


@pytest.mark.parametrize("name", NAMES)
def test_a_module_imports_only_from_earlier_rooms(name):
    """No import points to a later room of the line, wherever it is in the text."""
    place = ROOMS.index(room(name))
    below = {other for other in imported(name) if ROOMS.index(room(other)) > place}
    assert not below, f"{name} imports {', '.join(sorted(below))}"


def test_no_circle_of_imports():
    """The modules can be put in an order in which each imports only earlier ones."""
    try:
        list(TopologicalSorter({name: imported(name) for name in NAMES}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_read_at_one_sitting(name):
    """A module outside the library of tasks has at most LONGEST lines."""
    lines = MODULES[name].read_text(encoding="utf-8").count("\n")
    assert ".library" in name or lines <= LONGEST, f"{name} has {lines} lines"


def test_a_folder_is_seen_at_a_glance():
    """A folder outside the library of tasks holds at most MOST modules."""
    for folder in {path.parent for path in MODULES.values()}:
        modules = [path for path in folder.glob("*.py") if not path.name.startswith("__")]
        assert folder.name == "library" or len(modules) <= MOST, folder


def test_a_class_name_has_one_meaning():
    """No two modules outside the library of tasks give a public class the same name."""
    classes: dict[str, list[str]] = {}
    for name in NAMES:
        for node in ast.parse(MODULES[name].read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name[0] != "_" and ".library" not in name:
                classes.setdefault(node.name, []).append(name)
    assert not {name: places for name, places in classes.items() if len(places) > 1}


@pytest.mark.parametrize("name", [name for name in NAMES if room(name) in (
    "training", "planning", "evaluation", "bridges")])
def test_method_and_task_travel_in_a_cell(name):
    """No function has a parameter for a method and one for a task, which could be swapped."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    loose = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
             and {"method", "task"} <= {argument.arg for argument in node.args.args}]
    assert not loose, f"{name}: {', '.join(loose)}"
