"""Reads and checks parameters from a file, a mapping, or the variables of a notebook."""

import ast
import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from metarfft_core.params.schema import WITHOUT_EFFECT, Params
from metarfft_core.system import places, yaml_files
from metarfft_core.system.mappings import flat
from metarfft_core.system.places import ROOT, ParamsError

DEFAULT_FILE = ROOT / "params" / "smoke.yaml"
"""The parameter file of a notebook if no other is named."""

ENVIRONMENT_VARIABLE = "METARFFT_PARAMS"
"""The environment variable that names the parameter file of a notebook."""

LONGEST_VALUE = 200
"""The characters of a wrong value that a message repeats."""

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
        raise ParamsError(f"{path}: No such file; the kit's own parameter files are in a checkout "
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
    checked = problems(values)
    if isinstance(checked, Params):
        return checked
    told = "; ".join(f"{where}: {what}" if where else what for where, what in checked)
    raise ParamsError(f"{origin}: {told}")


def problems(values: dict) -> Params | list[tuple[str, str]]:
    """Check a mapping without an exception, for a form.

    Returns:
        The parameters; or what is wrong, as pairs of a key (joined by dots; "" if the message names
        the keys) and a message that says what is allowed and what was given.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        details = error.errors()
        # Without the tasks of a refused file, keys that name them are refused, too.
        code = [problem for problem in details if problem["loc"][:1] == ("task_files",)]
        return [_explain(problem) for problem in code or details]


def _explain(problem: dict) -> tuple[str, str]:
    """Explain one pydantic error: the key, and what is allowed and what was given."""
    keys = [str(key) for key in problem["loc"]]
    where, got = ".".join(keys), problem["input"]
    if problem["type"] == "extra_forbidden":
        allowed = _allowed_keys(keys[:-1])
        near = difflib.get_close_matches(keys[-1], allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return where, f"unknown key{hint} (allowed: {', '.join(allowed)})"
    if problem["type"] == "missing":
        return where, "this key is missing"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return where, message
    if keys and keys[-1] in _SECRET:
        return where, (f"{message}: expected {_SECRET[keys[-1]]} (the value is not shown, because "
                       "it may hold a secret)")
    if keys[:1] == ["evaluation"] and (isinstance(got, (dict, list)) or (
            keys[1:2] in ([], ["api"]) and len(keys) < 4)):  # it may hold such a value
        return where, f"{message}, got a {type(got).__name__}"
    hint = ""
    if isinstance(got, str) and problem["type"].startswith(("float", "int")):
        hint = " (a string; in YAML write a small number as 1.0e-5)"
    shown = repr(got)
    shown = shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}..."
    return where, f"{message}, got {shown}{hint}"


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

    A notebook has a variable for each top-level key of a parameter file, and `base`, which names
    the file that they change: a preset of params/ such as "smoke", or a path. Without `base` it is
    the file in $METARFFT_PARAMS, else params/smoke.yaml. A variable that is None changes nothing. A
    mapping changes only the keys that it has, at any depth. If a value differs from the file's and
    `name` is not given, the run gets a name of its own (see `own_name`), and a line is printed.

    If papermill has set all keys, as with `-f FILE`, the variables are the whole file.

    No other variable of the notebook is read, so a cell can run again at any time. A misspelt
    parameter is found in the cells that were executed (see `_misspelt`). Values are as papermill
    has read them: in a file given with -f, `0100` arrives as 64.

    Args:
        namespace: The notebook's `globals()`.

    Raises:
        ParamsError: A value is wrong, or a parameter is misspelt (papermill only warns about it).
    """
    places.settle()
    sources = namespace.get("In", [])
    values = {key: namespace[key] for key in Params.model_fields
              if namespace.get(key) is not None}
    values |= dict.fromkeys(_misspelt(sources))
    base = namespace.get("base")
    if base is None and _is_whole_file(sources) and "name" in values:
        return check(values, "the notebook's parameters")
    path = base_file(base)
    preset = read(path)
    config = check(merge(preset, values), f"{places.shown(path)} and the notebook's parameters")
    if "name" in values:
        return config
    original = check(preset, places.shown(path))
    name = own_name(config, original)
    if name != config.name:
        config = config.model_copy(update={"name": name})
        print(f"A run of its own, named {name}, because it differs from {places.shown(path)} in "
              f"{', '.join(differing(config, original))}.")
    return config


def base_file(base: str | os.PathLike | None = None) -> Path:
    """The path of the parameter file that a notebook or a form starts from.

    Args:
        base: A preset of params/ such as "smoke", or a path, relative to the current folder or the
            project; by default the file in $METARFFT_PARAMS, else params/smoke.yaml.

    Raises:
        ParamsError: There is no such preset or file.
    """
    if base is None:
        path = places.variable(ENVIRONMENT_VARIABLE)
        if path and not path.is_file():
            raise ParamsError(f"${ENVIRONMENT_VARIABLE}: expected a parameter file, got {path}")
        return path or DEFAULT_FILE
    if not isinstance(base, (str, os.PathLike)):
        raise ParamsError(f"base: expected a preset or a path, got {base!r}")
    path = Path(base)
    if len(path.parts) == 1 and not path.suffix:
        path = DEFAULT_FILE.parent / f"{base}.yaml"
    path = places.existing(path, Path.cwd())
    if not path.is_file():
        presets = sorted(preset.stem for preset in DEFAULT_FILE.parent.glob("*.yaml"))
        near = difflib.get_close_matches(str(base), presets, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ParamsError(f"base: no file {str(base)!r}{hint} (presets: {', '.join(presets)})")
    return path


def merge(values: dict, changes: dict) -> dict:
    """Change values, at any depth: a mapping changes only the keys that it has."""
    merged = dict(values)
    for key, value in changes.items():
        before = merged.get(key)
        merged[key] = (merge(before, value) if isinstance(before, dict) and isinstance(value, dict)
                       else value)
    return merged


def own_name(config: Params, original: Params) -> str:
    """The name of a run that was made from another by changing values.

    It stays as it is if no value differs that can change a result, or if it was changed itself.
    Otherwise the seed follows it, as in `smoke-seed1`, or a part of a hash of the values.
    """
    if config.digest == original.digest or config.name != original.name:
        return config.name
    if original.model_copy(update={"seed": config.seed}).digest == config.digest:
        return f"{original.name}-seed{config.seed}"
    return f"{original.name}-{config.digest[:6]}"


def differing(config: Params, other: Params) -> list[str]:
    """The keys, joined by dots, whose values differ and change a result; `name` is none of them."""
    ours, theirs = flat(config.model_dump()), flat(other.model_dump())
    return [key for key in dict.fromkeys([*ours, *theirs])
            if ours.get(key) != theirs.get(key) and key not in WITHOUT_EFFECT | {"name"}]


def _is_whole_file(sources: Iterable[str]) -> bool:
    """Whether papermill has set a whole file, as with -f: it then sets the name and the model."""
    injected = [source for source in sources if source.lstrip().startswith("# Parameters")]
    return bool(injected) and {"name", "model"} <= set(_assigned(injected[-1]))


def _misspelt(sources: Iterable[str]) -> list[str]:
    """The names that a notebook's parameter cells assign but that are not parameters.

    Papermill itself only warns about them. It injects a cell that begins with "# Parameters"; the
    notebook's own cell is the one that assigns most of the parameters. Of each kind, the cell that
    was executed last counts, so a mistake can be corrected without a new kernel.

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
    return [name for name in dict.fromkeys([*own, *injected])
            if name not in Params.model_fields and name != "base"]


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
