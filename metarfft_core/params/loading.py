"""Reads and checks parameters: out of a file, a mapping, or the variables of a notebook."""

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

    Papermill puts every top-level key of a parameter file into a variable of that name. Where
    `name` was given, those variables are the whole file. Otherwise the file named by
    $METARFFT_PARAMS (else params/smoke.yaml) holds, and a variable that is not None replaces
    its key. A variable that is no parameter was misspelt: papermill itself only warns. A value here
    is what papermill has read: of a file given with -f, `0100` arrives as 64. A relative path in
    $METARFFT_OUTPUTS, $METARFFT_PARAMS or a variable like them lies in the project, from which
    JupyterLab is started, not in the notebooks' folder (see `places`).
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
