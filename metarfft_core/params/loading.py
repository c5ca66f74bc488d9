"""Reads and checks parameters from a file, a mapping, or the variables of a notebook."""

import difflib
import os
import types
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

    Values are as papermill has read them: in a file given with -f, `0100` arrives as 64. A relative
    path in $METARFFT_OUTPUTS, $METARFFT_PARAMS or a similar variable is in the project, from which
    JupyterLab is started, not in the notebooks' folder (see `places`).

    Args:
        namespace: The notebook's `globals()`.

    Raises:
        ParamsError: A value is wrong, or a variable is not a parameter (papermill only warns about
            a misspelt one).
    """
    places.settle()
    given = {key: value for key, value in namespace.items()
             if not key.startswith("_") and key not in ("In", "Out", "exit", "quit", "open")
             and not isinstance(value, (types.ModuleType, types.FunctionType, types.MethodType))
             and not isinstance(value, type)}
    values = {key: value for key, value in given.items() if value is not None}
    if "name" in values:
        return check(values, "the notebook's parameters")
    path = places.variable(ENVIRONMENT_VARIABLE) or DEFAULT_FILE
    return check(read(path) | values, f"{path} and the notebook's parameters")
