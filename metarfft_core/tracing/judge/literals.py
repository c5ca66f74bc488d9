"""Reads the literals and expressions that a text states, without executing them."""

import ast
import io
import re
import tokenize
from typing import Any

DIGITS = 4_300
"""The most digits of a number: the limit up to which Python writes numbers."""
TEXT_LIMIT = 100_000
"""The most characters of a literal or an expression that are read."""
BRACKETS = 100
"""So many brackets in a value may be nested more deeply than Python can parse."""
_CONSTANTS = {"True": True, "False": False, "None": None}
_NUMBER = r"0|-?[1-9][0-9]{0,17}"  # a short one
_STRING = r"'[ -&(-\[\]-~]*'"  # of ASCII, without quotes and backslashes
_ITEM = re.compile(f"{_NUMBER}|{_STRING}")
_LIST = re.compile(rf"\[(?:(?:{_NUMBER}|{_STRING})(?:, (?:{_NUMBER}|{_STRING}))*)?\]")
_WORDS = re.compile(f"{_STRING}|True|False|None")


class Unclear(Exception):
    """An expression that the evaluator cannot or will not evaluate."""


def literal(text: str) -> Any:
    """The value of a literal; raises Unclear if the text is not a literal, or too long a one.

    A comment is not part of a literal: `7 # or 8` is not a literal. Nor is `{1: 7, 1: 8}`, which
    gives two values for one key.
    """
    try:
        if not is_readable(text):
            raise Unclear(f"not a value that can be read: {text[:60]}")
        if text in _CONSTANTS:  # what most texts state need not be parsed
            return _CONSTANTS[text]
        if _ITEM.fullmatch(text):
            return _item(text)
        if _LIST.fullmatch(text):
            return [_item(item) for item in _ITEM.findall(text)]
        value = ast.literal_eval(text)
        if len(text) > DIGITS // 2:
            repr(value)  # fails for a hexadecimal number with too many decimal digits
        if "{" in text and _repeats_a_key(text):
            raise Unclear(f"a key stands twice: {text[:60]}")
        return value
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise Unclear(f"not a value: {text[:60]}") from None


def _item(text: str) -> int | str:
    return text[1:-1] if text[0] == "'" else int(text)


def reads_back(text: str) -> bool:
    """Is the text of a value, as Python writes it, certainly a literal? Most are."""
    if len(text) > TEXT_LIMIT or text.count("[") + text.count("(") + text.count("{") >= BRACKETS:
        return False
    return not _WORDS.sub("", text).strip("[](){}:, -0123456789")


def _repeats_a_key(text: str) -> bool:
    return any(isinstance(node, ast.Dict) and len(ast.literal_eval(node)) < len(node.keys)
               for node in ast.walk(ast.parse(text.lstrip(" \t"), mode="eval")))


def is_readable(text: str) -> bool:
    """Is a text short enough to be parsed, and without a comment?"""
    return len(text) <= TEXT_LIMIT and not ("#" in text and _has_comment(text))


def _has_comment(text: str) -> bool:
    """Does Python read a part of a text as a comment? True if Python cannot read it at all."""
    try:
        return any(token.type == tokenize.COMMENT
                   for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline))
    except (tokenize.TokenError, SyntaxError):
        return True


def same(one: Any, two: Any) -> bool:
    """Equal in value and in type, at every depth."""
    return repr(one) == repr(two)


def normal(text: str) -> str:
    """An expression's syntax tree as text, so that spelling does not count."""
    try:
        if not is_readable(text):
            raise Unclear(f"not an expression that can be read: {text[:60]}")
        return ast.dump(ast.parse(text.strip(), mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Unclear(f"not an expression: {text[:60]}") from None
