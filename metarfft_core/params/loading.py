"""Reads and checks parameters from a file, a mapping, or the variables of a notebook."""

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
"""The parameter file of a notebook if no other is named."""

ENVIRONMENT_VARIABLE = "METARFFT_PARAMS"
"""The environment variable that names the parameter file of a notebook."""

_SECRET = {"base_url": "an address without a user, a password or a query",
           "key_variable": "the name of an environment variable, such as METARFFT_API_KEY"}
"""Keys in which someone may write a secret, so no message repeats their values, and what is
expected of each."""


def load(path: str | os.PathLike) -> Params:
    """Read and check a parameter file.

    Raises:
        ParamsError: The file cannot be read, or a value is wrong; the message names the key.
    """
    return check(read(path), str(path))


def read(path: str | os.PathLike) -> dict:
    """Read the mapping in a parameter file, without checking its keys.

    Raises:
        ParamsError: The file cannot be read, or it is not a mapping.
    """
    if not (places.is_checkout() or places.absolute(path).exists()):
        raise ParamsError(f"{path}: No such file; the kit's own parameter files lie in a checkout "
                          "of the project, not in the installed package")
    values = yaml_files.read(path)
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def check(values: dict, origin: str = "parameters") -> Params:
    """Build the parameters from a mapping.

    Args:
        values: The keys and values of a parameter file.
        origin: Where they come from, for the message.

    Raises:
        ParamsError: A value is wrong; the message names `origin` and every wrong key.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise ParamsError(f"{origin}: {problems}") from None


def _explain(problem: dict) -> str:
    """Explain one pydantic error: the key, what is allowed, and what was given."""
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
    if keys and keys[-1] in _SECRET:
        return (f"{where}: {message}: expected {_SECRET[keys[-1]]} (the value is not shown, "
                "because it may hold a secret)")
    if keys[:1] == ["evaluation"] and isinstance(got, (dict, list)):  # it may hold such a value
        return f"{where}: {message}, got a {type(got).__name__}"
    hint = ""
    if isinstance(got, str) and problem["type"].startswith(("float", "int")):
        hint = " (a string; in YAML write a small number as 1.0e-5)"
    return f"{where}: {message}, got {got!r}{hint}"


def _allowed_keys(keys: list[str]) -> list[str]:
    section = Params
    for key in keys:
        if key.isdigit():  # an index in a list
            continue
        annotation = section.model_fields[key].annotation
        section, *_ = get_args(annotation) or (annotation,)  # unwraps an optional section
    return list(section.model_fields)


def from_notebook(namespace: dict[str, Any]) -> Params:
    """Build the parameters of a notebook from its variables.

    Papermill sets a variable for each top-level key of a parameter file. If `name` is set, the
    variables are the whole file. Otherwise the file in $METARFFT_PARAMS (by default
    params/smoke.yaml) is read, and each variable that is not None replaces the value of its key.
    No other variable of the notebook is read, so a cell can run again at any time. A misspelt
    parameter is found in the cells that were executed (see `_misspelt`).

    Values are as papermill has read them: in a file given with -f, `0100` arrives as 64. A relative
    path in $METARFFT_OUTPUTS, $METARFFT_PARAMS or a similar variable is in the project, from which
    JupyterLab is started, not in the notebooks' folder (see `places`).

    Args:
        namespace: The notebook's `globals()`.

    Raises:
        ParamsError: A value is wrong, or a parameter is misspelt (papermill only warns about it).
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
