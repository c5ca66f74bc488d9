"""Reads and checks parameters: out of a file, a mapping, or the variables of a notebook."""

import ast
import difflib
import os
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import (
    ValidationError,
)

from metarfft_core.params.schema import Params
from metarfft_core.system import places, yaml_files
from metarfft_core.system.places import ROOT, ParamsError

DEFAULT_FILE = ROOT / "params" / "smoke.yaml"


ENVIRONMENT_VARIABLE = "METARFFT_PARAMS"


def load(path: str | os.PathLike) -> Params:
    """Read and check a parameter file; ParamsError says what is wrong with it."""
    return check(read(path), str(path))


def read(path: str | os.PathLike) -> dict:
    """The mapping in a parameter file, not yet checked."""
    if not (places.is_checkout() or places.absolute(path).exists()):
        raise ParamsError(f"{path}: No such file; the kit's own parameter files lie in a checkout "
                          "of the project, not in the installed package")
    values = yaml_files.read(path)
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def check(values: dict, origin: str = "parameters") -> Params:
    """Build the parameters from a mapping; ParamsError names every wrong key of `origin`."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise ParamsError(f"{origin}: {problems}") from None


def _explain(problem: dict) -> str:
    """One problem of pydantic's in the kit's words: key, what is allowed, what was got."""
    keys = [str(part) for part in problem["loc"]]
    where, got = ".".join(keys), problem["input"]
    if problem["type"] == "extra_forbidden":
        allowed = _allowed_keys(keys[:-1])
        near = difflib.get_close_matches(keys[-1], allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{where}: unknown key{hint} (allowed: {', '.join(allowed)})"
    if problem["type"] == "missing":
        return f"{where}: this key is missing"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return f"{where}: {message}" if where else message
    hint = ""
    if isinstance(got, str) and problem["type"].startswith(("float", "int")):
        hint = " (a string; in YAML write a small number as 1.0e-5)"
    return f"{where}: {message}, got {got!r}{hint}"


def _allowed_keys(keys: list[str]) -> list[str]:
    section = Params
    for key in keys:
        if key.isdigit():  # a place in a list
            continue
        annotation = section.model_fields[key].annotation
        section, *_ = get_args(annotation) or (annotation,)  # of an optional section: the section
    return list(section.model_fields)


def from_notebook(namespace: dict[str, Any]) -> Params:
    """The parameters of a notebook, out of its variables (call it with `globals()`).

    Papermill puts every top-level key of a parameter file into a variable of that name. If
    `name` is given, those variables are the whole file. Otherwise the file named by
    $METARFFT_PARAMS (else params/smoke.yaml) holds, and a variable that is not None replaces
    its key. No other variable of the notebook is read, so that a cell can run again at any time.
    A misspelt parameter is refused all the same (see `_misspelt`). A value here is what papermill
    has read: of a file given with -f, `0100` arrives as 64. A relative path in
    $METARFFT_OUTPUTS, $METARFFT_PARAMS or a variable like them lies in the project, from which
    JupyterLab is started, not in the notebooks' folder (see `places`).

    Raises:
        ParamsError: a value is wrong, a key is missing, or a parameter is misspelt.
    """
    places.settle()
    values = {key: namespace[key] for key in Params.model_fields
              if namespace.get(key) is not None}
    values |= dict.fromkeys(_misspelt(namespace.get("In", [])))
    if "name" in values:
        return check(values, "the notebook's parameters")
    path = places.variable(ENVIRONMENT_VARIABLE) or DEFAULT_FILE
    return check(read(path) | values, f"{path} and the notebook's parameters")


def _misspelt(sources: Iterable[str]) -> list[str]:
    """The names that a notebook's parameter cells assign and that are no parameters.

    Papermill itself only warns of them. It injects a cell that begins with "# Parameters"; the
    notebook's own cell is the one that assigns most of the parameters. Of each kind the cell that
    was executed last counts, so that a mistake can be mended without a new kernel.

    Args:
        sources: the executed cells in order, as IPython keeps them in `In`.
    """
    own, injected = [], []
    for source in sources:
        assigned = _assigned(source)
        if source.lstrip().startswith("# Parameters"):
            injected = assigned
        elif 2 * len(Params.model_fields.keys() & set(assigned)) > len(Params.model_fields):
            own = assigned
    return [name for name in dict.fromkeys([*own, *injected]) if name not in Params.model_fields]


def _assigned(source: str) -> list[str]:
    """The plain names that a cell's statements assign; none if it is not Python alone."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return []
    targets = [target for statement in statements if isinstance(statement, ast.Assign)
               for target in statement.targets]
    targets += [statement.target for statement in statements
                if isinstance(statement, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
