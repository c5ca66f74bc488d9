"""The lines of a rule's text: what ends them, and which statement takes which of them."""

import io
import tokenize

from metarfft_core.tracing.expressions import RuleError


def refuse_other_line_ends(source: str) -> None:
    """Refuse carriage returns: Python would read each as one more end of a line."""
    for number, line in enumerate(source.split("\n"), start=1):
        if "\r" in line:
            raise RuleError(f"line {number}: a carriage return in a rule; in a string write \\r")


def tokens(source: str) -> list[tokenize.TokenInfo]:
    """The tokens of a rule's text, which Python can parse."""
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


def refuse_tokens(found: list[tokenize.TokenInfo]) -> None:
    """Refuse comments, semicolons, and names that another name may look like.

    Python reads a name in wide letters as the name in ASCII, but a trace recites it as it stands.
    """
    for token in found:
        line = f"line {token.start[0]}: "
        if token.type == tokenize.COMMENT:
            raise RuleError(f"{line}no comments in a rule: a trace writes its values after ' # '")
        if token.type == tokenize.NAME and not token.string.isascii():
            raise RuleError(f"{line}the name {token.string} has letters beyond ASCII, which may "
                            "look like others")
        if token.type == tokenize.OP and token.string == ";":
            raise RuleError(f"{line}each statement takes a line of its own, without a semicolon")


def refuse_gaps(source: str, found: list[tokenize.TokenInfo]) -> None:
    """Refuse what is neither a token nor a blank.

    Python reads a form feed as a blank, other programs as the end of a line. A backslash joins two
    lines into one statement.
    """
    lines, end = [*source.split("\n"), ""], (1, 0)
    for token in found:
        number, column = token.end if token.type == tokenize.INDENT else token.start
        for place in range(end[0], number + 1):
            gap = lines[place - 1][end[1] if place == end[0] else 0:
                                   column if place == number else None]
            if "\f" in gap:
                raise RuleError(f"line {place}: a form feed in a rule")
            if "\\" in gap:
                raise RuleError(f"line {place}: a statement takes one line, without a backslash")
        end = token.end


def ends(found: list[tokenize.TokenInfo]) -> dict[int, int]:
    """The line on which each statement or header ends, by the line on which it begins."""
    ends, start = {}, 0
    for token in found:
        if token.type == tokenize.NEWLINE:
            ends[start], start = token.start[0], 0
        elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            start = start or token.start[0]
    return ends
