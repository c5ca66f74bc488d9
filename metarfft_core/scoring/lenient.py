"""The lenient score: the same answers, in the ways that models without our training write them."""

import ast
import re
from collections.abc import Mapping

from metarfft_core.scoring import patterns
from metarfft_core.scoring.strict import same_answer

_MOST_BOXES = 50  # a text that repeats itself to its end has thousands


def same_answer_lenient(answer: str, gold: str) -> bool:
    """Whether a text that is not in the trained format states the stored answer.

    Accepts what `same_answer` accepts, and the same value after "the answer is", in quotes, in
    Markdown, in LaTeX's \\boxed, in a code fence, with thousands separators, with a unit, a full
    stop or an explanation after it. The type must be the answer's, but for quotes. A text that
    takes its answer back or offers two is not the answer, nor is one beyond TEXT_LIMIT.
    docs/metrics.md has the table.

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
    text = answer.rpartition("</think>")[2].translate(patterns.PLAIN)
    if "<think>" in text or len(text) > patterns.TEXT_LIMIT:  # a thought is no answer yet
        return False
    for mark, plain in patterns.MARKS:
        text = re.sub(mark, plain, text)
    text = text.strip()
    if (found := patterns.BEHIND.search(text[-1000:])) and (
            (right := _alone(found["value"], value)) or patterns.VALUE.search(found["value"])):
        return right
    start, claimed = _claim(text)
    if start is None or len(patterns.BOX.findall(text)) > _MOST_BOXES:
        return False
    region = text[start:]
    claimed = claimed or region.startswith(":")  # the part of a text after "the answer is"
    if any(re.search(r"\d!", inner) for inner in _boxes(region)):  # a factorial
        return False
    if region.strip() and same_answer(region, gold):
        return True
    begins = patterns.LEAD.match(region).end() if claimed or region[:1].islower() else 0
    rest = _after(region[begins:], value)
    if rest is None:
        rest = _after(region, value)
    if rest is None and claimed:
        rest = _after(_right_side(region.strip().partition("\n")[0]), value)
    if rest is not None:
        return _leaves(rest, value, claimed)
    return _in_a_box(region, value, claimed, headed=text[:start].rstrip(" ").endswith("\n"))


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
    found = list(patterns.CLAIM.finditer(text))
    if not found:
        results = [result for result in patterns.RESULT.finditer(text)
                   if "\n" not in text[result.end():].strip()]
        return (results[-1].end(), True) if results else (0, False)
    last = found[-1]
    if (last["word"] or "").lower() not in patterns.CLAIMING or patterns.GOVERNED.search(
            text[:last.start()][-200:] + last.group().lower().partition("answer")[0]):
        return None, False
    return last.end(), True


def _after(text: str, value: object) -> str | None:
    """What follows `value` in a text that begins with it; None if it does not begin with it."""
    text = text.strip()
    plain = value.strip() if isinstance(value, str) else ""  # without quotes its ends do not show
    if plain and text.startswith(plain) and not _number(plain):
        rest = text[len(plain):]
        if re.fullmatch(rf"[.!*_]*|\s*\n.*|[,;:]?\s+(?:{patterns.REASON}|\().*|[.!]\s+[A-Z].*"
                        r"|\s+-\s+(?:the|this|these|all)\b.*", rest, re.DOTALL):
            return rest
    if found := patterns.FENCE.match(text) or patterns.QUOTED.match(text):
        quoted = found.re is patterns.QUOTED
        inner = found.group() if quoted else found[1] or found[3] or ""
        return text[found.end():] if _exactly(inner, value, quoted) else None
    if found := patterns.TEX.match(text):
        end = _closing(text, found.end() - 1)
        return _joined(text[found.end():end - 1], text[end:], value) if end else None
    if found := patterns.EMPHASIS.match(text):
        inner = next(part for part in found.groups()[1:] if part)
        rest = _joined(inner, text[found.end():], value)
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
        plain = value.strip() if isinstance(value, str) else value
        return inner == plain or same_answer(inner, repr(value)) or (
            _after_literal(inner, value) == ""
            or (patterns.QUOTED.fullmatch(inner) is not None and _exactly(inner, value, True)))
    if isinstance(value, str) and (inner[1:-1] == value or same_answer(inner, repr(value))):
        return True
    return type(value) in (int, float, str) and _is_number(value) and (
        _after_literal(inner[1:-1], value) == "")


def _after_literal(text: str, value: object) -> str | None:
    """What follows `value` in a text that begins with it, without quotes or marks around it."""
    if text[:1] in ("[", "(", "{") and text:
        end = _closing(text, 0)
        return text[end:] if end and _same_list(text[:end], value) else None
    if isinstance(value, bool):
        return text[len(repr(value)):] if re.match(rf"{value!r}\b", text, re.IGNORECASE) else None
    wanted = value if isinstance(value, str) else repr(value)
    if found := patterns.NUMBER.match(text.removeprefix("$").removeprefix("\\$")):
        written = re.sub(r"[^\d.eE+-]", "", found.group()).removeprefix("+")
        if isinstance(value, float) and "." in written:
            written = repr(float(written))
        same = _number(wanted) and written == wanted
        return text.removeprefix("\\").removeprefix("$")[found.end():] if same else None
    if value is None and re.match(r"None\b", text):
        return text[4:]
    return None


def _right_side(text: str) -> str:
    """The text after the = of "x = 3" or "1 + 2 = 3"; "" in any other text."""
    left, _, right = text[:500].rpartition("=")
    return right if patterns.LEFT_SIDE.fullmatch(left.strip().strip("$*`").strip()) else ""


def _is_number(value: object) -> bool:
    return _number(value if isinstance(value, str) else repr(value))


def _number(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text))


def _closing(text: str, start: int) -> int | None:
    """The position after the bracket that closes the one at `start`; None if there is none."""
    pairs, open_, position = {"[": "]", "(": ")", "{": "}"}, [], start
    unclosed = {"'": 0, '"': 0}  # up to here no quote of this kind begins a quoted text
    while position < len(text):
        sign = text[position]
        if open_ and position >= unclosed.get(sign, len(text)):
            if quoted := patterns.QUOTED.match(text, position):
                position = quoted.end()
                continue
            end = text.find("\n", position)
            unclosed[sign] = end if end >= 0 else len(text)
        if sign in pairs:
            open_.append(pairs[sign])
        elif open_ and sign == open_[-1]:
            open_.pop()
            if not open_:
                return position + 1
        position += 1
    return None


def _same_list(text: str, value: object) -> bool:
    """Whether a bracketed text is the value; words in it may lack quotes, as in [a, b].

    A number may lack its quotes where another word of the list shows that quotes were left out.
    """
    text = re.sub(r"\\(?:text|math)[a-z]*\s*\{([^{}]*)\}", r"\1", text.replace("\\_", "_"))
    text = re.sub(r"\\[, ]", " ", text)
    if same_answer(text, repr(value)):
        return True
    if not (isinstance(value, list) and text.startswith("[")):
        return False
    words = [re.sub(r"^(\*\*|`)(.+)\1$", r"\2", word.strip()) for word in text[1:-1].split(",")]
    if len(words) != len(value):
        return False
    bare = [word == one and patterns.BARE.fullmatch(word) is not None and not _number(word)
            for word, one in zip(words, value, strict=True)]
    return all(same_answer(word, repr(one)) or is_bare
               or (isinstance(one, bool) and word == repr(one).lower())
               or (any(bare) and word == one and _number(word))
               for word, one, is_bare in zip(words, value, bare, strict=True))


def _leaves(rest: str, value: object, claimed: bool) -> bool:
    """Whether the text after a value leaves it as it is: nothing, a unit, or an explanation."""
    rest = rest.partition("\n\nQ: ")[0]  # a base model continues with a question of its own
    boxes = _boxes(rest)
    prose = rest.lstrip(" \n\t.!*_#")
    explains = patterns.EXPLAINS.match(prose) and re.search(r"[.\n]", rest[:-len(prose)])
    retracts = patterns.TAKES_BACK if explains else patterns.RETRACTS
    if retracts.search(rest) or any(not _alone(inner, value) for inner in boxes):
        return False
    if boxes:
        rest = rest[:patterns.BOX.search(rest).start()]
    rest = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", rest)
    rest = re.sub(r"^[*_`$}]+(?![\w*])|```|\\[)\]]|\*\*", "", rest)
    rest = rest.rstrip().rstrip("*_`$").rstrip()
    if re.match(r"\s*\.\.", rest):
        return False
    if not rest.strip(" \n.!)∎■✓✅") or explains:
        return True
    if re.match(r"[^\s.,;:!)(]|[.,;:!)]+[^\s.)*_]", rest):
        return False
    if not claimed and (rest.startswith(")") or (
            rest.startswith(".") and patterns.LISTED.search(rest[1:]))):
        return False
    found = patterns.CLAUSE.fullmatch(rest)
    units = 0 if not _is_number(value) else 6 if claimed else 3
    if patterns.CHANGES.search(found["clause"]) or len(found["clause"].split()) > units:
        return False
    end, tail = found["end"].strip().lower(), found["tail"].strip(" \n*_`$#>-")
    if not tail or (end in {"", ".", ";", ":", "(", "="} and _sums_up(tail, value)):
        return True
    if end == "which":
        return not found["clause"].strip() and not patterns.CONTINUES.match(tail)
    if end == "=":
        return found["clause"][-1:] not in ("!", ":") and bool(re.search(r"\S\s*[-+*/]", tail))
    if re.fullmatch(patterns.REASON, end, re.IGNORECASE):
        return True
    if patterns.CONTINUES.search(tail):
        return False
    if found["end"] == "\n" or end in {".", "!", ")"}:
        return _is_prose(tail, value, found["end"] == "\n" or not claimed)
    return not patterns.BESIDE.match(tail)


def _sums_up(text: str, value: object) -> bool:
    """Whether a text is a sum that gives the value, as the "3 + 4 = 7" after "7:"."""
    found = patterns.SUM.fullmatch(re.sub(r"\s+", " ", text[:1000]))
    if found is None or len(text) > 1000:
        return False
    written = found["sum"].replace(" ", "")
    terms = [term.replace(" ", "") for term in re.findall(r"[-+]? ?\d+", found["sum"])]
    signed = all(term[0] in "+-" for term in terms[1:])
    if len(terms) < 2 or not signed or written != "".join(terms):
        return False
    return (found["total"] or str(value)) == str(value) == str(sum(map(int, terms)))


def _is_prose(text: str, value: object, own_line: bool) -> bool:
    """Whether the text after a value is prose about it, not a further value or a next step.

    A text that ends with another number, or with another truth value, may be a new answer.
    """
    if patterns.TURNED.match(text) or re.match(r"(?i)n?or\b", text):
        return False
    words = re.findall(r"(?i)\b(?!(?:true|false|none|yes|no)\b)[a-z]{2,}", text)
    last = patterns.LAST_VALUE.search(text)
    if last and last[1].strip("'\"").lower() != str(value).lower():
        return False
    if re.match(r"(?i)(?:so|thus|hence|therefore)\b", text) and set(
            re.findall(r"\d+", text)) - {str(value)}:
        return False
    return len(words) >= (3 if own_line else 1) and not (own_line and re.match(r"[\d\[{'\"]", text))


def _boxes(text: str) -> list[str]:
    """The content of each \\boxed of a text."""
    ends = [(found.end(), _closing(text, found.end() - 1)) for found in patterns.BOX.finditer(text)]
    return [text[start:end - 1] for start, end in ends if end]


def _alone(inner: str, value: object) -> bool:
    """Whether a boxed text is the value, perhaps with a unit."""
    inner = inner.replace("\\_", "_").replace("\\ ", " ")
    rest = _after(inner, value)
    if rest is None:
        rest = _after(_right_side(inner), value)
    return rest is not None and _leaves(rest, value, False)


def _in_a_box(text: str, value: object, claimed: bool, headed: bool) -> bool:
    """Whether the last line with a \\boxed holds the value alone, and nothing takes it back.

    Below a heading, "Final Answer", a sentence that ends with the box may have other values.
    """
    boxes = list(patterns.BOX.finditer(text))
    if not boxes:
        return False
    before = text[:boxes[-1].start()]
    line = before.rpartition("\n")[2]
    if patterns.SPOILS.search(before[-200:]) or (
            claimed and patterns.VALUE.search(before)
            and not (headed and patterns.SENTENCE.fullmatch(before.strip()))):
        return False
    inners = _boxes(line + text[boxes[-1].start():])
    end = _closing(text, boxes[-1].end() - 1)
    return bool(end) and all(_alone(inner, value) for inner in inners) and _leaves(
        text[end:], value, True)
