"""YAML files whose values mean what a person reads in them.

PyYAML and papermill read YAML 1.1, which reads `0100` as 64, `1:30` as 90 and `no` as false, and
keeps only the last value of a duplicate key. This module refuses values that are not read as they
look; the error names the key and says what to write instead. When it writes a file, it quotes every
text that it would refuse.
"""

import math
import os
import re
from typing import Any

import yaml

from metarfft_core.system.places import ParamsError, absolute

_PLAIN = {kind: re.compile(form) for kind, form in {
    "tag:yaml.org,2002:null": r"~|null|Null|NULL|",
    "tag:yaml.org,2002:bool": r"true|True|TRUE|false|False|FALSE",
    "tag:yaml.org,2002:int": r"[-+]?(0|[1-9][0-9]*)",
    "tag:yaml.org,2002:float": r"([-+]?(0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?",
    "tag:yaml.org,2002:merge": "<<"}.items()}
"""The plain forms of a value that all readers and all versions of YAML read alike."""
_NUMBER = re.compile(r"[-+]?(([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?"
                     r"|0[oO][0-7_]+|0[xX][0-9a-fA-F_]+|0[bB][01_]+)")
"""Text that looks like a number, whether YAML 1.1 reads it as a number or as a text."""
_TEXT, _DOUBTFUL = "tag:yaml.org,2002:str", "!doubtful"
NODES, CHARACTERS = 20_000, 1_000_000
"""The most values of a file, with every alias in full, and the most characters of its text."""
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
"""Characters that end a line, and thus a comment, in YAML 1.1 but nowhere else."""


class _Refused(Exception):
    """A file contains something that YAML 1.1 does not read as it looks."""


class _Careful(yaml.resolver.Resolver):
    """Marks plain values that are not read as they look as doubtful."""

    def resolve(self, kind, value, implicit):
        tag = super().resolve(kind, value, implicit)
        if kind is not yaml.ScalarNode or not implicit[0]:
            return tag
        if tag == _TEXT:
            return _DOUBTFUL if _NUMBER.fullmatch(value) else tag
        return tag if tag in _PLAIN and _PLAIN[tag].fullmatch(value) else _DOUBTFUL


class _Dumper(_Careful, yaml.SafeDumper):
    """Quotes a text that would be doubtful without quotes."""


class _Loader(_Careful, yaml.SafeLoader):
    """Refuses doubtful values, tags and duplicate keys."""

    def __init__(self, stream):
        super().__init__(stream)
        self.keys: list[str] = []  # the path of keys to the current node

    def compose_node(self, parent, index):
        part = [] if index is None else [str(getattr(index, "value", index))]
        self.keys += part
        event = self.peek_event()
        if getattr(event, "tag", None) not in (None, "!"):
            self.refuse(event, f"the tag {event.tag} is not read here: write the value without it")
        node = super().compose_node(parent, index)
        if node.tag == _DOUBTFUL:
            self.refuse(node, _advice(node.value))
        del self.keys[len(self.keys) - len(part):]
        return node

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        first = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            before = first.setdefault((key.tag, key.value), key)
            if before is not key:
                self.keys.append(key.value)
                self.refuse(key, "this key is given twice, the first time in line "
                                 f"{before.start_mark.line + 1}")
        return node

    def get_single_node(self):
        node = super().get_single_node()
        if node is not None:
            self.measure(node, {})
        return node

    def measure(self, node, sizes: dict[int, int | None]) -> int:
        """The values in a node, with every alias in full; refuses too many, and endless ones."""
        if id(node) in sizes:
            size = sizes[id(node)]
            if size is None:
                self.refuse(node, "this value holds an alias of itself")
            return size
        sizes[id(node)] = None
        size = 1
        if not isinstance(node, yaml.ScalarNode):
            for part in node.value:
                size += sum(self.measure(inner, sizes)
                            for inner in (part if isinstance(part, tuple) else (part,)))
                if size > NODES:
                    self.refuse(node, f"with its aliases this has more than {NODES:,} values")
        sizes[id(node)] = size
        return size

    def refuse(self, found, what: str) -> None:
        where = "".join(f"{key}." for key in self.keys)[:-1]
        raise _Refused(f"line {found.start_mark.line + 1}: " + (f"{where}: " if where else "")
                       + what)


def _advice(text: str) -> str:
    """Explain how YAML 1.1 reads a doubtful value, and what to write instead."""
    quoted = f'"{text}" in quotes'
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return f"{text} cannot be read in this form: write {quoted}"
    if isinstance(value, bool):
        return (f"{text} is read as {str(value).lower()}: write true or false, or {quoted} for the "
                "word")
    if not (isinstance(value, (int, float)) or _NUMBER.fullmatch(text)):
        return f"{text} is read as a {type(value).__name__}: write {quoted}"
    instead = "the number in plain decimal digits"
    if isinstance(value, float) and not math.isfinite(value):
        instead = "a finite number"
    elif "e" in text.lower() and "x" not in text.lower():
        instead = "a small number as 1.0e-5, a large one as 1.0e+5"
    read = f"the text {text!r}" if isinstance(value, str) else value
    return f"{text} is read as {read}: write {instead}, or {quoted} for a text"


def read(path: str | os.PathLike) -> Any:
    """Read the value in a YAML file.

    Raises:
        ParamsError: The file cannot be read or is not YAML, a value is not read as it looks, or a
            key is a duplicate. The message names the file and, if known, the line and the key.
    """
    try:
        with open(absolute(path), encoding="utf-8") as file:
            return _parse(file.read(CHARACTERS + 1))
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}") from None
    except _Refused as error:
        raise ParamsError(f"{path}, {error}") from None
    except RecursionError:
        raise ParamsError(f"{path}: not a YAML file of parameters: nested too deeply") from None
    except yaml.MarkedYAMLError as error:  # its text would repeat the line, with any secret in it
        line = (error.problem_mark or error.context_mark).line + 1
        why = " ".join(filter(None, (error.context, error.problem)))
        raise ParamsError(f"{path}: not a YAML file: line {line}: {why}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ParamsError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None


def _parse(text: str) -> Any:
    if len(text) > CHARACTERS:
        raise _Refused(f"line 1: the file has more than {CHARACTERS:,} characters")
    if ending := _LINE_ENDS.search(text):
        line = text.count("\n", 0, ending.start()) + 1
        raise _Refused(f"line {line}: the character U+{ord(ending[0]):04X} is a line break in "
                       "YAML, but not in a text editor: delete it, or write it as an escape in "
                       "double quotes")
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def dump(values: Any) -> str:
    """Write values as YAML, with keys in their order; `read` returns the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def dump_inline(value: Any) -> str:
    """Write a value as YAML in one line, as it is written after a key."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False,
                     width=math.inf, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def parse_inline(text: str) -> Any:
    """Read a value after a key, as `read` reads it in a file.

    Raises:
        ParamsError: It is not YAML, or not read as it looks.
    """
    try:
        return _parse(text)
    except _Refused as error:
        raise ParamsError(str(error).removeprefix("line 1: ")) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ParamsError(f"expected a value as in YAML, got {text!r}") from None


_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser, which is ten times as fast, where PyYAML was built with it."""


def replaced(text: str, changes: dict[str, Any]) -> str:
    """A YAML file's text with other values, and all else as it was: order, spaces, comments.

    Args:
        text: The text of a file of nested mappings.
        changes: The new values by their keys, joined by dots. A key that the file does not have
            is added at the end of its section.
    """
    for keys, value in changes.items():
        start, end, new = _edit(yaml.compose(text, _PARSER), text, keys.split("."), value)
        text = text[:start] + new + text[end:]
    return text


def _edit(node: yaml.MappingNode, text: str, keys: list[str], value: Any) -> tuple[int, int, str]:
    """The piece of a text that changes with one value, and what takes its place."""
    entry = next(((key, inner) for key, inner in node.value if key.value == keys[0]), None)
    if entry is None:
        return _added(node, text, keys, value)
    key, inner = entry
    if len(keys) > 1 and isinstance(inner, yaml.MappingNode):
        return _edit(inner, text, keys[1:], value)
    for outer in reversed(keys[1:]):
        value = {outer: value}
    start, new = inner.start_mark.index, dump_inline(value)
    on_lines = isinstance(inner, yaml.CollectionNode) and not inner.flow_style
    if on_lines and inner.start_mark.column <= key.start_mark.column:
        new = f"  {new}"
    if start == inner.end_mark.index and text[start - 1:start] == ":":  # an empty value
        new = f" {new}"
    return start, _end(inner), new


def _added(node: yaml.MappingNode, text: str, keys: list[str], value: Any) -> tuple[int, int, str]:
    """A key at the end of its section, on a line of its own or within the braces."""
    for outer in reversed(keys[1:]):
        value = {outer: value}
    new = f"{dump_inline(keys[0])}: {dump_inline(value)}"
    end = _end(node)
    if node.flow_style:
        return end - 1, end - 1, f", {new}" if node.value else new
    line_end = text.find("\n", end)
    position = len(text) if line_end < 0 else line_end
    return position, position, "\n" + " " * node.start_mark.column + new


def _end(node: yaml.Node) -> int:
    """Where a value ends; that of lines ends with its last line's value, before any comment."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        return node.end_mark.index
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)
