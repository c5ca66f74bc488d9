"""The positions of a rule's arguments in a question.

A question comes from a template such as `What is {a} + {b}?`. If the template is known, the
position of each argument is known to the character. Without it the arguments are searched for.

This module uses only the standard library. The judge (`judge/replay.py`) imports it, so it must
not import the tracer.
"""

import re
from collections.abc import Mapping
from string import Formatter


def fields(template: str) -> list[str]:
    """The arguments that a template names, in the order of their first occurrence.

    Raises:
        ValueError: A pair of braces does not hold the name of an argument.
    """
    names: list[str] = []
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        if form or conversion or not name.isidentifier():
            written = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise ValueError(f"{{{written}}} is not the name of an argument in braces")
        if name not in names:
            names.append(name)
    return names


def misplaced(template: str, question: str, texts: Mapping[str, str]) -> str | None:
    """The first argument whose text does not fill its place in the question, or None.

    Args:
        texts: The arguments as literals, by name.

    Raises:
        ValueError: The question does not begin as the template does.
    """
    position, last = 0, None
    for words, name, _, _ in Formatter().parse(template):
        if not question.startswith(words, position):
            break
        position += len(words)
        if name is None:
            continue
        last = name
        text = texts.get(name, "")
        if not text or not question.startswith(text, position):
            return name
        position += len(text)
    else:
        if position == len(question):
            return None
    if last is None:
        raise ValueError(f"the question is not made from the template {template!r}")
    return last  # its text is only the beginning of what the question has in that place


def missing(question: str, texts: Mapping[str, str]) -> str | None:
    """The first argument that does not follow the earlier ones in the question, or None.

    This check needs no template. It accepts every place where the text can be read as a whole
    literal, so it accepts all questions that name the arguments in their order. It cannot tell
    whether a place belongs to the words of the question or to a longer list.

    Args:
        texts: The arguments as literals, by name, in their order.
    """
    position = 0
    for name, text in texts.items():
        place = question.find(text, position) if text else -1
        while place >= 0 and not _is_whole(text, question, place):
            place = question.find(text, place + 1)
        if place < 0:
            return name
        position = place + len(text)
    return None


_BEGINS = re.compile(r"(?<!\d)(?<![^\w)\]}'\"]-)(?<!^-)")
"""Where a number begins: a minus before it is its sign, unless it follows something to subtract
from."""
_ENDS = re.compile(r"(?!\d)")


def _is_whole(text: str, question: str, place: int) -> bool:
    """Is the literal at this place of the question no part of a longer number?"""
    begins = not text[0].isdigit() or _BEGINS.match(question, place)
    ends = not text[-1].isdigit() or _ENDS.match(question, place + len(text))
    return bool(begins and ends)
