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
        match = 0 < len(text) <= len(question) and re.compile(_whole(text)).search(
            question, position)
        if not match:
            return name
        position = match.end()
    return None


def _whole(text: str) -> str:
    """A pattern for a literal that is not part of a longer number.

    A minus before a number is its sign, unless it follows something to subtract from.
    """
    pattern = re.escape(text)
    if text[0].isdigit():
        pattern = r"(?<!\d)(?<![^\w)\]}'\"]-)(?<!^-)" + pattern
    if text[-1].isdigit():
        pattern += r"(?!\d)"
    return pattern
