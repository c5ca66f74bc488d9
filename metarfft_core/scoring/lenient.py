"""The lenient score: the same answers, in the ways that models without our training write them."""

import ast
import re
from collections.abc import Mapping

from metarfft_core.scoring.strict import same_answer

_PLAIN = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'",
                        "\u2212": "-", "\u2013": "-", "\u2014": " - ", "\u00d7": "*"})
"""Typographic quotes, minus, dashes and times, and the signs that mean the same."""
_CLAIM = re.compile(r"(?:\b(?P<word>[\w']{1,20})[ \t]{1,3})?\banswer[*_`]*(?:, ?\w+,)?\s*"
                    r"(?:\bis\b|:|=|→|\n|$)[*_]*:?|####", re.IGNORECASE)
_RESULT = re.compile(r"(?:^|[.!]\s+|\n)[*_# ]*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?"
                     r"(?:final\s+)?(?:result|output|solution)[*_]*\s*(?:\bis\b|:|=)[*_]*:?",
                     re.IGNORECASE)
_CLAIMING = {"", "the", "final", "correct", "my", "our", "so", "therefore"}
"""The words before "answer" that leave it the model's; "the naive answer is 3" is not a claim."""
_GOVERNED = re.compile(
    r"\b(?:if|unless|whether|doubt|not|never|suppose|assume|think)\W+(?:that\W+)?"
    r"(?:(?:the|my|our|final|correct)\W+){0,9}$|n't\W+(?:that\W+)?(?:the\W+)?$|\b(?:initially|currently|"
    r"at first|so far|for now|at this point|thought|(?:not|un|in)[ -]?(?:true|correct)|false that|"
    r"wrong that|not the case)\b[^.!?\n]*$", re.IGNORECASE)
"""The text before a claim that the model does not make, or not yet."""
_LEAD = re.compile(r"(?:\s|:|[*_]{1,2}(?=\s))*(?:(?:simply|just|indeed|clearly|exactly|therefore|"
                   r"thus|equal to|the (?:number|integer|string|word|list|array|value))\b[\s:]*)?",
                   re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:[1-9]\d{0,2}(?:(?:,|\{,\}|\\,|[\u00a0\u2009\u202f])\d{3})+(?!\d)"
                     r"|\d+)(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_FENCE = re.compile(r"```[a-z]*[ \t]*\n(.*?)\n?[ \t]*```|(`+)(?!`)(.+?)(?<!`)\2(?!`)",
                    re.DOTALL | re.IGNORECASE)
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)|\\\((.+?)\\\)|\\\[(.+?)\\\]"
                       r"|\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)
_TEX = re.compile(r"\\(?:boxed|fbox|text|texttt|textbf|mathrm|mathtt|mathbf)\s*\{")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_MOST_BOXES = 50  # a text that repeats itself to its end has thousands
_REASON = r"(?:because|since|which|as (?:there|it|the|we|this|all|each|every|no|they))\b"
_CLAUSE = re.compile(rf"(?P<clause>.*?)(?P<end>$|[.!](?=\s|$)|[;:,(\n]|\)|\s-+\s|\b"
                     rf"{_REASON}|=(?![=>]))(?P<tail>.*)", re.DOTALL | re.IGNORECASE)
_CHANGES = re.compile(
    r"[\d'\"`\[\]{}<>+*/^%÷?|&~\\]|\b(?:or|and|nor|not|to|through|hundred|thousand|million|"
    r"billion|dozen|half|point|more|less|fewer|than|if|unless|when|assuming|over|plus|minus|divided|"
    r"mod|modulo|squared|cubed|factorial|remainder|is|isn|was|would|too|can|cannot|percent|true|"
    r"false|none|first|second|bound|far|each|per|even|odd|then|[b-z]|times\s+\w|"
    r"negative|positive|maximum|minimum|max|min|at|below|above|under|with|without|base)\b",
    re.IGNORECASE)
"""What may not come between a value and the end of its clause, because it can change the value."""
_RETRACTS = re.compile(
    r"\b(?:wait|actually|correction|correct answer|right answer|oops|sorry|mistake|hmm|however|but|"
    r"rather|instead|incorrect|wrong|scratch that|i meant|second thought|reflection|should be|"
    r"let me (?:re|double|check|verify|count|see|think|fix|correct|try)\w*|double[- ]check|recheck|"
    r"final|alternatively|not sure|unsure|maybe|perhaps|possibly|"
    r"probably|likely|approximately|roughly|i (?:think|guess)|estimated?|if we|otherwise)\b"
    r"|(?<!\w)no[,:] |[-+*/]=|\b(?:hold on|again|error|update|edit|revised?|i mean|"
    r"not (?:quite )?right|changes? to)\b", re.IGNORECASE)
_CONTINUES = re.compile(r"\b(?:next|then|becomes?|(?:has|have) to be|must be|we get|giv(?:es|ing)|"
                        r"add(?:s|ing|ed)?|subtract\w*|remains? to)\b", re.IGNORECASE)
_BESIDE = re.compile(r"[\d\[{(<'\"`+-]|(?:or|and|nor|to|true|false|none|mod|modulo|plus|minus|"
                     r"times|then|if|unless|when|assuming|base|in base|reversed|repeated|except|"
                     r"excluding|without|[b-z] ?=)(?!\w)", re.IGNORECASE)
"""What may not follow a comma, a colon or a bracket after the value."""
_LAST_VALUE = re.compile(r"""(?<![\w.])(-?\d+(?:\.\d+)?|true|false|'[^'\n]*'|"[^"\n]*"|"""
                         r"""\[[^\[\]\n]*\])[\s.!*_`)$]*$""", re.IGNORECASE)
_SPOILS = re.compile(r"(?:\b(?:not|n't|or|than|never)|\\neq?|(?<!\\)[-+*/^<>~≈≠!(,\[])[\s$*]*$",
                     re.IGNORECASE)
"""What may not come before a box."""
_LEFT_SIDE = re.compile(r"[a-z_]\w*|(?!.*\b(?:or|and)\b)[\w\s.*/()+-]*[+*/-][\w\s.*/()+-]*",
                        re.IGNORECASE)
_LISTED = re.compile(r"^\s*(?:first|start|begin|step|let|we|initial)|\n\s*\d+[.)]\s", re.IGNORECASE)


def same_answer_lenient(answer: str, gold: str) -> bool:
    """Whether a text that is not in the trained format states the stored answer.

    Accepts what `same_answer` accepts, and the same value after "the answer is", in quotes, in
    Markdown, in LaTeX's \\boxed, in a code fence, with thousands separators, with a unit, a full
    stop or an explanation after it. The type must be the answer's, but for quotes. A text that
    takes its answer back or offers two is not the answer. docs/metrics.md has the table.

    Args:
        answer: What a model wrote: a whole text, or the part that `formats.parse_answer` returns.
        gold: The stored answer, a repr.
    """
    if same_answer(answer, gold):
        return True
    try:
        return _says(answer, ast.literal_eval(gold.strip()), gold)
    except (ValueError, SyntaxError, RecursionError):  # no literal, or marks thousands deep
        return False


def _says(answer: str, value: object, gold: str) -> bool:
    """Whether a text states `value`, whose repr is `gold`."""
    text = answer.rpartition("</think>")[2].translate(_PLAIN)
    text = text.replace("\\left", "").replace("\\right", "").strip()
    start, claimed = _claim(text)
    if start is None or len(_BOX.findall(text)) > _MOST_BOXES:
        return False
    region = text[start:]
    if region.strip() and same_answer(region, gold):
        return True
    rest = _after(region[_LEAD.match(region).end():], value) if claimed else None
    if rest is None:
        rest = _after(region, value)
    if rest is None and claimed:
        rest = _after(_right_side(region.strip().partition("\n")[0]), value)
    if rest is not None:
        return _leaves(rest, value, claimed)
    return _in_a_box(region, value, claimed)


def lenient_outcome(row: Mapping) -> str | None:
    """The outcome of an evaluated row by the lenient score, one of OUTCOMES.

    It differs from the row's strict outcome only where that is "wrong" or "no_answer" and the text
    states the answer in another way: a text that was cut stays cut.

    Args:
        row: With `outcome`, `finish_reason`, `gold_answer` and, if it was kept, `text`. A row that
            already has `outcome_lenient` keeps it.

    Returns:
        None if it cannot be told, because the text was not kept.
    """
    if row.get("outcome_lenient"):
        return row["outcome_lenient"]
    if row["outcome"] not in ("wrong", "no_answer") or row["finish_reason"] == "refused":
        return row["outcome"]
    if "text" not in row:
        return None
    return "right" if same_answer_lenient(row["text"], row["gold_answer"]) else row["outcome"]


def _claim(text: str) -> tuple[int | None, bool]:
    """Where the last statement of an answer begins, and whether words announce it.

    None if the last announcement is of an answer that is not the model's own.
    """
    claims = list(_CLAIM.finditer(text))
    if not claims:
        results = [result for result in _RESULT.finditer(text)
                   if "\n" not in text[result.end():].strip()]
        return (results[-1].end(), True) if results else (0, False)
    last = claims[-1]
    if (last["word"] or "").lower() not in _CLAIMING or _GOVERNED.search(
            text[:last.start()][-200:] + last.group().lower().partition("answer")[0]):
        return None, False
    return last.end(), True


def _after(text: str, value: object) -> str | None:
    """What follows `value` in a text that begins with it; None if it does not begin with it."""
    text = text.strip()
    if isinstance(value, str) and value and text.startswith(value) and not _number(value):
        rest = text[len(value):]
        if re.fullmatch(rf"[.!]*|\s*\n.*|[,;:]?\s+(?:{_REASON}|\().*|[.!]\s+[A-Z].*", rest,
                        re.DOTALL):
            return rest
    if match := _FENCE.match(text) or _QUOTED.match(text):
        quoted = match.re is _QUOTED
        inner = match.group() if quoted else match[1] or match[3] or ""
        return text[match.end():] if _exactly(inner, value, quoted) else None
    if match := _TEX.match(text):
        end = _closing(text, match.end() - 1)
        return _joined(text[match.end():end - 1], text[end:], value) if end else None
    if match := _EMPHASIS.match(text):
        inner = next(part for part in match.groups()[1:] if part)
        rest = _joined(inner, text[match.end():], value)
        if rest is not None:
            return rest
    return _after_literal(text, value)


def _joined(inner: str, outer: str, value: object) -> str | None:
    rest = _after(inner, value)
    return None if rest is None else rest + outer


def _exactly(inner: str, value: object, quoted: bool) -> bool:
    """Whether a text in quotes, or the content of a code span, is the value and nothing else."""
    inner = inner.strip()
    if not quoted:
        return inner == value or same_answer(inner, repr(value)) or (
            _after_literal(inner, value) == ""
            or (_QUOTED.fullmatch(inner) is not None and _exactly(inner, value, True)))
    if isinstance(value, str):
        return inner[1:-1] == value or same_answer(inner, repr(value))
    return type(value) in (int, float) and inner[1:-1] == repr(value)


def _after_literal(text: str, value: object) -> str | None:
    """What follows `value` in a text that begins with it, without quotes or marks around it."""
    if text[:1] in ("[", "(", "{") and text:
        end = _closing(text, 0)
        return text[end:] if end and _same_list(text[:end], value) else None
    if isinstance(value, bool):
        return text[len(repr(value)):] if re.match(rf"{value!r}\b", text, re.IGNORECASE) else None
    wanted = value if isinstance(value, str) else repr(value)
    if number := _NUMBER.match(text.removeprefix("$").removeprefix("\\$")):
        written = re.sub(r"[^\d.eE+-]", "", number.group()).removeprefix("+")
        if isinstance(value, float) and "." in written:
            written = repr(float(written))
        same = _number(wanted) and written == wanted
        return text.removeprefix("\\").removeprefix("$")[number.end():] if same else None
    if value is None and re.match(r"None\b", text):
        return text[4:]
    return None


def _right_side(text: str) -> str:
    """The text after the = of "x = 3" or "1 + 2 = 3"; "" in any other text."""
    left, _, right = text[:500].rpartition("=")
    return right if _LEFT_SIDE.fullmatch(left.strip().strip("$*`").strip()) else ""


def _is_number(value: object) -> bool:
    return _number(value if isinstance(value, str) else repr(value))


def _number(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text))


def _closing(text: str, start: int) -> int | None:
    """The position after the bracket that closes the one at `start`; None if there is none."""
    pairs, open_, position = {"[": "]", "(": ")", "{": "}"}, [], start
    while position < len(text):
        if quoted := open_ and _QUOTED.match(text, position):
            position = quoted.end()
            continue
        sign = text[position]
        if sign in pairs:
            open_.append(pairs[sign])
        elif open_ and sign == open_[-1]:
            open_.pop()
            if not open_:
                return position + 1
        position += 1
    return None


def _same_list(text: str, value: object) -> bool:
    """Whether a bracketed text is the value; words in it may have no quotes, as in [a, b]."""
    text = text.replace("\\_", "_")
    if same_answer(text, repr(value)):
        return True
    if not (isinstance(value, list) and text.startswith("[")):
        return False
    words = [word.strip() for word in text[1:-1].split(",")]
    return len(words) == len(value) and all(
        same_answer(word, repr(item))
        or (isinstance(item, bool) and word == repr(item).lower())
        or (word == item and re.fullmatch(r"(?!(?:True|False|None)$)[A-Za-z][\w-]*", word))
        for word, item in zip(words, value, strict=True))


def _leaves(rest: str, value: object, claimed: bool) -> bool:
    """Whether the text after a value leaves it as it is: nothing, a unit, or an explanation."""
    rest = rest.partition("\n\nQ: ")[0]  # a base model continues with a question of its own
    boxes = _boxes(rest)
    if _RETRACTS.search(rest) or any(not _alone(inner, value) for inner in boxes):
        return False
    if boxes:
        rest = rest[:_BOX.search(rest).start()]
    rest = re.sub(r"\\text\s*\{([^}]*)\}", r"\1", rest)
    rest = re.sub(r"^[*_`$}]+(?![\w*])|```|[*_`$]+\s*$|\\[)\]]|\*\*", "", rest).rstrip()
    if re.match(r"\s*\.\.", rest):
        return False
    if not rest.strip(" \n.!)"):
        return True
    if re.match(r"[^\s.,;:!)(]|[.,;:!)]+[^\s.)*_]", rest):
        return False
    if not claimed and (rest.startswith(")") or (
            rest.startswith(".") and _LISTED.search(rest[1:]))):
        return False
    clause = _CLAUSE.fullmatch(rest)
    units = 0 if not _is_number(value) else 6 if claimed else 3
    if _CHANGES.search(clause["clause"]) or len(clause["clause"].split()) > units:
        return False
    end, tail = clause["end"].strip().lower(), clause["tail"].strip(" \n*_`$#>-")
    if not tail:
        return True
    if end == "=" or re.fullmatch(_REASON, end, re.IGNORECASE):
        return True
    if _CONTINUES.search(tail):
        return False
    if clause["end"] == "\n" or end in {".", "!", ")"}:
        return _is_prose(tail, value, clause["end"] == "\n" or not claimed)
    return not _BESIDE.match(tail)


def _is_prose(text: str, value: object, own_line: bool) -> bool:
    """Whether the text after a value is prose about it, not a further value or a next step.

    A text that ends with another number, or with another truth value, may be a new answer.
    """
    words = re.findall(r"(?i)\b(?!(?:true|false|none|yes|no)\b)[a-z]{2,}", text)
    last = _LAST_VALUE.search(text)
    if last and last[1].strip("'\"").lower() != str(value).lower():
        return False
    if re.match(r"(?i)(?:so|thus|hence|therefore)\b", text) and set(
            re.findall(r"\d+", text)) - {str(value)}:
        return False
    return len(words) >= (3 if own_line else 1) and not (own_line and re.match(r"[\d\[{'\"]", text))


def _boxes(text: str) -> list[str]:
    """The content of each \\boxed of a text."""
    ends = [(box.end(), _closing(text, box.end() - 1)) for box in _BOX.finditer(text)]
    return [text[start:end - 1] for start, end in ends if end]


def _alone(inner: str, value: object) -> bool:
    """Whether a boxed text is the value, perhaps with a unit."""
    inner = inner.replace("\\_", "_").replace("\\ ", " ")
    rest = _after(inner, value)
    if rest is None:
        rest = _after(_right_side(inner), value)
    return rest is not None and _leaves(rest, value, False)


def _in_a_box(text: str, value: object, claimed: bool) -> bool:
    """Whether the last line with a \\boxed holds the value alone, and nothing takes it back."""
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return False
    before = text[:boxes[-1].start()]
    line = before.rpartition("\n")[2]
    if _SPOILS.search(before) or (
            claimed and re.search(r"[\d'\"\[]|\b(?:true|false)\b", before, re.IGNORECASE)):
        return False
    inners = _boxes(line + text[boxes[-1].start():])
    end = _closing(text, boxes[-1].end() - 1)
    return bool(end) and all(_alone(inner, value) for inner in inners) and _leaves(
        text[end:], value, True)
