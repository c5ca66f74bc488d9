"""Makes the page of all parameters, docs/parameters.md, from the schema.

    python -m metarfft_core.params.reference

The type, bounds and default of a key come from pydantic. Its meaning is the comment beside the
field in the schema, so it is written only once, next to the code that it describes.
"""

import ast
import inspect
import io
import json
import textwrap
import tokenize
from collections.abc import Iterator
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from metarfft_core.params.schema import WITHOUT_EFFECT, Params, kinds
from metarfft_core.params.schema.kinds import Section
from metarfft_core.system.files import write_whole
from metarfft_core.system.places import ROOT

PAGE = ROOT / "docs" / "parameters.md"
UNNAMED = 2**63
"""A limit that the libraries set for all whole numbers; the rows do not repeat it."""
_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_EXPANDED = {kinds.Lengths: "a range such as `1-15`, or a list of lengths",
             kinds.TaskIds: "`pretrain`, `downstream`, or a list of tasks by id or name"}


def page() -> str:
    """Return the page as Markdown: a table of the top-level keys, then one for each section."""
    parts = [textwrap.dedent("""\
        # Parameters

        A parameter file is one run. It is checked before anything starts: an unknown key, a wrong
        type or an impossible combination stops the run with one line that names the key. In YAML,
        write a small number as `1.0e-5`, because `1e-5` is a text there.

        `python -m metarfft_core.params.reference` makes this page from the schema; do not edit it.
        The presets are in the folder `params/`. The values of the paper are in
        [7b.yaml](../params/7b.yaml) and [32b.yaml](../params/32b.yaml), and
        [Deviations](deviations.md) says which of them the paper does not state.
        """)]
    for section in sections(Params):
        rows = [f"| `{key}` | {type_of(field)} | {_default(field)} | {meaning} |" for (key, field),
                meaning in zip(section.model_fields.items(), meanings(section).values(),
                               strict=True)]
        parts.append("\n".join([f"## {section.__name__}", "", inspect.cleandoc(section.__doc__),
                                "", "| key | type | default | meaning |", "|---|---|---|---|",
                                *rows, ""]))
    free = ", ".join(f"`{key}`" for key in sorted(WITHOUT_EFFECT))
    parts.append("## Keys without effect on results\n\nThese keys change no result, except by "
                 f"rounding, so a run may continue with other values of them: {free}.\n")
    return "\n".join(parts)


def sections(section: type[Section]) -> list[type[Section]]:
    """Return a section and all sections in it, each once, in the order of the file."""
    every = [section]
    for field in section.model_fields.values():
        for inner in inside(field.annotation):
            every += [nested for nested in sections(inner) if nested not in every]
    return every


def inside(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections that a type contains, such as the section in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from inside(argument)


def meanings(section: type[Section]) -> dict[str, str]:
    """Return the meaning of each key of a section, which is the comment at its field."""
    texts = {}
    for cls in reversed(section.__mro__):
        if issubclass(cls, Section):
            texts |= _comments(cls)
    return {name: texts[name] or _summary(field) for name, field in section.model_fields.items()}


def _summary(field: FieldInfo) -> str:
    """Return the summary of the section in a key, for a key without its own comment."""
    inner = next(inside(field.annotation), None)
    return inspect.cleandoc(inner.__doc__).partition("\n")[0] if inner else ""


@cache
def _comments(cls: type[Section]) -> dict[str, str]:
    """Return the comment above each field of a class or on its lines; "" if there is none."""
    source = textwrap.dedent(inspect.getsource(cls))
    comments = {token.start[0]: token.string.lstrip("# ") for token in
                tokenize.generate_tokens(io.StringIO(source).readline)
                if token.type == tokenize.COMMENT}
    lines, by_name = source.split("\n"), {}
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign):
            first = node.lineno
            while lines[first - 2].lstrip().startswith("#"):
                first -= 1
            by_name[node.target.id] = " ".join(comments[line] for line in
                                             range(first, node.end_lineno + 1) if line in comments)
    return by_name


def type_of(field: FieldInfo) -> str:
    """Describe the type of a field and its bounds, in words."""
    for kind, words in _EXPANDED.items():
        if kind.__metadata__[0] in field.metadata:
            return words
    return _described(field.annotation, field.metadata)


def _described(annotation: Any, metadata: Any = ()) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if hasattr(annotation, "__metadata__"):
        fields = [item for item in annotation.__metadata__ if isinstance(item, FieldInfo)]
        rules = [rule for field in fields for rule in field.metadata]
        return _described(annotation.__origin__, rules)
    if get_origin(annotation) is list:
        return f"list: {_described(get_args(annotation)[0])}"
    if annotation in _WORDS:
        return ", ".join([_WORDS[annotation], *_bounds(metadata)])
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    [annotation] = [kind for kind in get_args(annotation) if kind is not NoneType]
    return _described(annotation, metadata)


def _bounds(metadata: Any) -> Iterator[str]:
    for rule in metadata:
        for name, words in _BOUNDS.items():
            bound = getattr(rule, name, None)
            if bound is not None and bound < UNNAMED:
                yield f"{words} {int(bound) if bound == int(bound) else bound:,}"
        if getattr(rule, "pattern", None):
            yield f"like `{rule.pattern}`"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default in (None, []) else f"`{json.dumps(field.default)}`"


if __name__ == "__main__":
    write_whole(PAGE, page())
    print(PAGE)
