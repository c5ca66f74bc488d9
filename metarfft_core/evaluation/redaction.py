"""Takes the API key out of what a server says, before anything prints or stores it.

A server may repeat the key whole, in part, masked (`sk-ab***89`) or encoded. The text is read with
the usual escapes undone, without white space and invisible characters, and every piece of the key
in it is replaced.
"""

import base64
import html
import re
from collections.abc import Iterator

INSTEAD = "(the key)"
SHORTEST_PIECE = 6
"""The characters of the key in a row that are taken out of a server's message."""
SHORTEST_IN_ANSWER = 12
"""The same for an answer, which is a result: a model may write a few of them by chance."""
SHORTEST_KEY = 8
"""A shorter key is refused: taken out of answers, it could take ordinary words with it."""
LONGEST_MESSAGE = 300
"""The characters that are kept of a server's message."""

_READ = 4000  # of a longer message only this many characters are looked at
_LARGE = 1 << 20  # an answer of more characters than this is left out whole if it has the key
_ENCODED = re.compile(r"%(?:25)*[0-9a-fA-F]{2}|&#?[0-9a-zA-Z]{1,8};"
                      r"|(?<!\\)\\+(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[0-7]{3}|(?=[/\"']))")
"""A character that is percent-encoded, also twice; an escape of JSON or Python; or an entity."""
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2060-\u2064\ufeff]+")
_UNIT = re.compile(f"({_ENCODED.pattern})|.", re.DOTALL)
_MASK = r"[*.#xX_\u2022\u2026-]{2,}"


def message(text: str, key: str | None) -> str:
    """Return a server's message in one short line, without the key."""
    text = text[:_READ]
    if key:
        text = _masked(key).sub(INSTEAD, _without(text, key, SHORTEST_PIECE))
    return " ".join(text.split())[:LONGEST_MESSAGE]


def answer(text: str, key: str | None) -> str:
    """Return a model's answer without the key; any other answer stays as it is."""
    return _without(text, key, min(SHORTEST_IN_ANSWER, len(key))) if key else text


def _masked(key: str) -> re.Pattern[str]:
    """Match the beginning of the key with a mask after it, and the end that may follow.

    The beginning is also matched if it has been replaced already.
    """
    def parts(least: int, end: bool) -> str:
        return "|".join(re.escape(key[-count:] if end else key[:count])
                        for count in range(len(key) - 1, least - 1, -1))

    begun = "|".join(filter(None, [re.escape(INSTEAD), parts(3, end=False)]))
    ended = "|".join(filter(None, [re.escape(INSTEAD), parts(1, end=True)]))
    either = rf"(?:{begun}){_MASK}(?:{ended})?"
    if alone := parts(3, end=True):  # the look-behind keeps the search linear
        either += rf"|(?<![*.#xX_\u2022\u2026-]){_MASK}(?:{alone})"
    return re.compile(either, re.IGNORECASE)


def _without(text: str, key: str, least: int) -> str:
    """Replace every `least` or more characters in a row of the key, encoded or not."""
    plain = decoded(text)
    if not any(form[start:start + least] in plain for form in _forms(key)
               for start in range(max(1, len(form) - least + 1))):
        return text
    if len(text) > _LARGE:
        return INSTEAD
    units = [(unit[0], _read(unit[1]) if unit[1] else _small(unit[0]))
             for unit in _UNIT.finditer(text)]
    places = [place for place, (_, char) in enumerate(units) if char and not _UNSEEN.match(char)]
    plain = "".join(units[place][1] for place in places)
    secret: set[int] = set()
    for form in _forms(key):
        for first, last in _pieces(plain, form, min(least, len(form))):
            secret.update(range(places[first], places[last - 1] + 1))
    parts = []
    for place, (unit, _) in enumerate(units):
        if place not in secret:
            parts.append(unit)
        elif place - 1 not in secret:
            parts.append(INSTEAD)
    return "".join(parts)


def decoded(text: str) -> str:
    """Return what a text means, in small letters, as the key is looked for in it."""
    return _UNSEEN.sub("", _ENCODED.sub(lambda unit: _read(unit[0]), text).lower())


def _read(unit: str) -> str:
    """Return what an encoded character is; "" for a backslash that only escapes the next."""
    if unit[0] == "&":
        unit = html.unescape(unit)
    elif unit[0] == "%":
        unit = chr(int(unit[-2:], 16))
    else:
        digits = unit.lstrip("\\")
        unit = chr(int(digits[1:], 16) if digits[:1] in ("u", "x") else int(digits, 8)
                   ) if digits else ""
    return _small(unit)


def _small(unit: str) -> str:
    low = unit.lower()
    return low if len(low) < 2 else "\0"


def _forms(key: str) -> Iterator[str]:
    """Yield the key, also backwards, its hexadecimal digits, and its base64.

    A key that has an escape itself is also yielded as it is read in a text. The base64 is that of
    each of the three alignments.
    """
    content = key.encode()
    for one in {key.lower(), decoded(key)}:
        yield one
        yield one[::-1]
    yield content.hex()
    for shift in range(3):
        padded = base64.b64encode(b"\0" * shift + content).decode().rstrip("=").lower()
        # The first and last characters also depend on the neighbours.
        inner = padded[(0, 2, 3)[shift]:len(padded) - ((shift + len(content)) % 3 > 0)]
        yield from {inner, inner.replace("+", "-").replace("/", "_")}


def _pieces(plain: str, form: str, least: int) -> Iterator[tuple[int, int]]:
    """Yield where a text has at least `least` characters in a row of a form of the key."""
    for start in range(len(form) - least + 1):
        at = plain.find(piece := form[start:start + least])
        while at >= 0:
            yield at, at + least
            at = plain.find(piece, at + 1)
