"""The files of a user's tasks in a run: known by their content, and executed once in a process."""

import ast
import hashlib
import multiprocessing
import sys
from pathlib import Path

from metarfft_core.authoring.loading import CheckError, load
from metarfft_core.system.files import sha256

_LOADED: dict[Path, str] = {}
"""The hash of each file that this process has executed."""


def content_hash(file: Path) -> str:
    """Return a SHA-256 of a file and of the Python files in its folder that it imports.

    Nothing is executed: imports are found in the text, also those within imported files.

    Raises:
        CheckError: The file does not exist, or is not Python.
    """
    hashed = hashlib.sha256()
    for path in _sources(file):
        name = path.relative_to(file.parent).as_posix()
        hashed.update(f"{name}\0{sha256(path)}\n".encode())
    return hashed.hexdigest()


def register(file: Path, expected: str) -> None:
    """Execute a file that declares tasks, so that this process knows them.

    The first time, a line says so, except in the workers of a process that has said it.

    Args:
        file: The absolute path.
        expected: The `content_hash` that the run was made with.

    Raises:
        CheckError: The content is another, before anything is executed; the file fails; or a task
            has the id or name of another one.
    """
    current = content_hash(file)
    if current != expected:
        raise CheckError(f"{file} has changed since this run was made (SHA-256 {expected[:12]}, "
                         f"now {current[:12]}): restore it, or give the run another name")
    known = _LOADED.get(file)
    if known == current:
        return
    if known:
        raise CheckError(f"{file} has changed since this process executed it: start the command "
                         "again, or restart the kernel")
    if multiprocessing.parent_process() is None:
        print(f"loads code from {file}", file=sys.stderr, flush=True)
    load(file)
    _LOADED[file] = current


def _sources(file: Path) -> list[Path]:
    """Return a file and what it imports from its own folder, in the order of their names."""
    if not file.is_file() or file.suffix != ".py":
        raise CheckError(f"{file}: expected a Python file that declares tasks, but there is no "
                         "such file")
    sources, left = {file}, [file]
    while left:
        path = left.pop()
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise CheckError(f"{path}: {error}") from None
        new = {one for name in _imported(tree) for one in _files(file.parent, name)} - sources
        sources |= new
        left += new
    return sorted(sources)


def _imported(tree: ast.AST) -> set[str]:
    """Return the top names of the modules that a text imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _files(folder: Path, name: str) -> list[Path]:
    """Return the files of a module or package in a folder; none if it is elsewhere."""
    module = folder / f"{name}.py"
    return [module] if module.is_file() else sorted((folder / name).rglob("*.py"))
