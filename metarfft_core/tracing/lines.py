"""The lines of a rule's text: what ends them, and which statement takes which of them."""

import io
import tokenize

from metarfft_core.tracing.expressions import RuleError


def refuse_other_line_ends(source: str) -> None:
    """Refuse carriage returns: Python would read each as one more end of a line."""
    for number, line in enumerate(source.split("\n"), start=1):
        if "\r" in line:
            raise RuleError(f"line {number}: a carriage return in a rule; in a string write \\r")


def refuse_comments(source: str) -> None:
    """Refuse comments, which a trace would recite as facts."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            raise RuleError(f"line {token.start[0]}: no comments in a rule: a trace writes its "
                            "values behind ' # '")


def refuse_form_feeds(source: str) -> None:
    """Refuse form feeds: Python reads them as blanks, other programs as ends of lines."""
    lines, end = [*source.split("\n"), ""], (1, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        number, column = token.end if token.type == tokenize.INDENT else token.start
        if "\f" in lines[number - 1][end[1] if end[0] == number else 0:column]:
            raise RuleError(f"line {number}: a form feed in a rule")
        end = token.end


def ends(source: str) -> dict[int, int]:
    """The line on which each statement or header ends, by the line on which it begins."""
    ends, start = {}, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            ends[start], start = token.start[0], 0
        elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            start = start or token.start[0]
    return ends
