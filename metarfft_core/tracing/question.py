"""Where the arguments of a rule stand in a question.

A question comes from a template such as `What is {a} + {b}?`. With the template at hand, the
places of the arguments are known to the character. Without it they are searched for.

Standard library alone: `replay.py` uses it, so it knows no tracer.
"""

import re
from collections.abc import Mapping
from string import Formatter


def fields(template: str) -> list[str]:
    """The arguments that a template names, in the order in which each comes first.

    Raises ValueError with the reason where the braces do not name arguments.
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

    `texts` are the arguments as literals, by name. Raises ValueError where the question does not
    begin as the template does.
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
    return last  # its text is only the beginning of what stands there


def missing(question: str, texts: Mapping[str, str]) -> str | None:
    """The first argument whose text does not stand in the question behind those before it.

    This is the way without a template. It takes every place at which the text can be read as the
    whole of a literal, so it accepts all questions that name the arguments in their order. In
    return it does not see that a place belongs to the words of the question, or to a longer list.
    """
    position = 0
    for name, text in texts.items():
        match = text and re.compile(_whole(text)).search(question, position)
        if not match:
            return name
        position = match.end()
    return None


def _whole(text: str) -> str:
    """A pattern for a literal that is not a part of a longer number.

    A minus before a number is its sign, unless something to subtract from stands before it.
    """
    pattern = re.escape(text)
    if text[0].isdigit():
        pattern = r"(?<!\d)(?<![^\w)\]}'\"]-)(?<!^-)" + pattern
    if text[-1].isdigit():
        pattern += r"(?!\d)"
    return pattern
