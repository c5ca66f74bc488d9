"""The exercises of the class: each is drawn for a student's name, and has no stored answer.

The judge's own walk writes the traces (`Written`). It continues from a planted slip, as a model's
text does. The judge decides later what is right.
"""

import ast
import copy
import hashlib
import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from metarfft_core import errors, tasks
from metarfft_core.lab import html
from metarfft_core.system.places import ROOT
from metarfft_core.tracing.judge import replay
from metarfft_core.tracing.judge.claims import Lines
from metarfft_core.tracing.judge.walk import Walk
from metarfft_core.tracing.steps import ANSWER, BEHIND, BETWEEN, JOIN, Fact

RUN = ROOT / "outputs" / "reference" / "laptop"
"""The stored run that the class reads."""
DRAWN = 50
"""The instances of exercise 4."""
WANTED = 45
"""How many of their answers must differ."""

_READ = ("lc_283", "lc_485", "lc_461", "lc_2529")  # of exercises 1 and 2
_CHANGE = ("lc_485", "lc_2529", "lc_461")  # of exercise 4
_MIXTURE = (("right", True, 3), ("wrong_copy", True, 1), ("wrong_copy", False, 2),
            ("wrong_arithmetic", False, 2), ("wrong_branch", False, 2))
"""The traces of exercise 5: (class, is the answer right?, how many)."""
_MOST_LINES = 35  # of a trace in exercise 5


class Written(Lines):
    """The trace that the judge's walk expects, written instead of judged.

    Args:
        slip: Takes the number of a line, from 0, and its true facts, and returns the facts to
            write. The walk continues with what is written. By default the facts are true.
    """

    def __init__(self, slip: Callable[[int, list[Fact]], list[Fact]] = lambda _, facts: facts):
        super().__init__("")
        self.slip = slip
        self.written: list[str] = []
        self.answer: str | None = None  # a repr; None if the rule fails or does not end

    def facts(self, code: str, expected: list[Fact], loops: bool, changed=()) -> list[Fact]:
        self.count(expected)
        claims = self.slip(len(self.written), expected)
        texts = [f"{fact.left}{JOIN[fact.kind]}{fact.right}" if fact.kind != "end" else "end"
                 for fact in claims]
        self.written.append(code + (BEHIND + BETWEEN.join(texts) if texts else ""))
        return claims

    def silent(self, code: str, changes: list[str]) -> None:
        self.count([])
        self.written.append(code)

    def end(self, answer: Any) -> None:
        self.answer = repr(answer)
        self.written.append(f"{ANSWER}{answer!r}")


def write(rule: str, inputs: dict[str, Any], **options) -> Written:
    """Walk a rule on `inputs` with the judge's own evaluator, which executes no code."""
    written = Written(**options)
    Walk(rule, copy.deepcopy(inputs), written).judge()
    return written


@dataclass(frozen=True)
class KeptTrace:
    """A model's trace that the stored run keeps."""

    method: str
    task: str
    inputs: dict[str, Any]
    question: str
    rule: str
    text: str
    finish_reason: str
    right: str  # the right trace, to hold it against


@dataclass(frozen=True)
class Exercise:
    """What a student is given. A notebook shows it as a page; `print` shows it as text."""

    number: int
    title: str
    todo: str
    task: str = ""
    inputs: dict[str, Any] | None = None
    instances: tuple[dict[str, Any], ...] = ()  # of exercise 4
    rule: str = ""
    question: str = ""
    trace: str = ""
    traces: tuple[KeptTrace, ...] = ()  # of exercise 5
    total: int = 0  # of exercise 6: the number of answers, all of them right
    share: float = 0.0  # of exercise 6

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Headings and the texts below them."""
        parts = [("The question", self.question), ("The rule", self.rule.rstrip("\n")),
                 ("The trace", numbered(self.trace))]
        parts += [(f"Trace {number}: {kept.question}", f"{kept.rule}\n{numbered(kept.text)}")
                  for number, kept in enumerate(self.traces, start=1)]
        return [(heading, text) for heading, text in parts if text]

    def __repr__(self) -> str:
        shown = [f"Exercise {self.number}: {self.title}", self.todo]
        shown += [f"{heading}\n{text}" for heading, text in self.parts]
        return "\n\n".join(shown)

    def _repr_html_(self) -> str:
        title = html.tag("strong", f"Exercise {self.number}: {self.title}")
        lines = [html.tag("p", text) for text in (title, self.todo, self.question) if text]
        folded = bool(self.traces)
        parts = [html.details(heading, html.tag("pre", html.tag("code", text)), open=not folded)
                 for heading, text in self.parts if text != self.question]
        return html.tag("div", *lines, *parts)


def numbered(text: str) -> str:
    """A text with the numbers of its lines, from 1."""
    return "\n".join(f"{number:3d}  {line}" for number, line in
                     enumerate(text.split("\n"), start=1)) if text else ""


def seed_of(student: str) -> int:
    """A number made from a name: the same in every process, on every machine.

    Upper and lower case, and white space around the name, do not count.
    """
    name = unicodedata.normalize("NFC", student.strip().casefold())
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])


@lru_cache(maxsize=64)
def draw(number: int, student: str) -> Exercise:
    """The exercise with this number, from 1 to 6, for a student."""
    seed = seed_of(student)
    return _DRAW[number](Random(f"class/{seed}/{number}"), seed)


def rest_of(exercise: Exercise) -> list[str]:
    """The lines that follow the next line of exercise 1, to the answer."""
    written = write(exercise.rule, exercise.inputs).written
    return written[exercise.trace.count("\n") + 2:]


def _given(key: str, length: int, seed: int) -> dict[str, Any]:
    """What every exercise about one instance of a task has."""
    task = tasks.get(key)
    inputs = task.sample(length=length, seed=seed, index=0, stream="class").inputs
    return {"task": task.id, "inputs": inputs, "rule": task.rule_source,
            "question": task.ask(inputs)}


def _next_line(rng: Random, seed: int) -> Exercise:
    given = _given(rng.choice(_READ), 5, seed)
    lines = write(given["rule"], given["inputs"]).written
    places = [position for position in range(4, len(lines) - 2) if "=" in lines[position].partition(
        BEHIND)[2]]
    position = rng.choice(places)
    return Exercise(1, "write the next line", "The trace below breaks off. Write its next line, "
                    "including the text after the sign #.",
                    trace="\n".join(lines[:position]), **given)


def _false_line(rng: Random, seed: int) -> Exercise:
    given = _given(rng.choice(_READ), 5, seed)
    length = len(write(given["rule"], given["inputs"]).written)
    while True:
        position = rng.randrange(length // 3, length - 2)
        lines = write(given["rule"], given["inputs"], slip=_planted(rng, position)).written
        text = "\n".join(lines)
        false = replay.judge_trace(given["rule"], given["question"], text)
        if [line.line for line in false] == [position + 1] and len(lines) <= 2 * length:
            return Exercise(2, "find the false line", "One line of this trace is false. The lines "
                            "after it are true to what it claims. Which line is it? Answer with "
                            "its number.", trace=text, **given)


def _planted(rng: Random, place: int) -> Callable[[int, list[Fact]], list[Fact]]:
    """A slip in the last fact of one line: another value, where it has one."""
    def slip(number: int, facts: list[Fact]) -> list[Fact]:
        if number != place or not facts or facts[-1].kind not in ("calc", "state"):
            return facts
        value = ast.literal_eval(facts[-1].right)
        return [*facts[:-1], facts[-1]._replace(right=repr(_other(rng, value)))]

    return slip


def _other(rng: Random, value: Any) -> Any:
    """A value near to this one; the value itself where nothing is near."""
    if type(value) is int:
        return 1 - value if value in (0, 1) else value + rng.choice((-1, 1))
    if isinstance(value, list) and value:
        place = rng.randrange(len(value))
        return [*value[:place], _other(rng, value[place]), *value[place + 1:]]
    if isinstance(value, str) and value:
        place = rng.randrange(len(value))
        near = sorted(set(value) - {value[place]})
        return value[:place] + (rng.choice(near) if near else "") + value[place + 1:]
    return value


def _lucky_slip(rng: Random, seed: int) -> Exercise:
    given = _given("nupa_length", rng.choice((4, 5, 6)), seed)
    trace = "\n".join(write(given["rule"], given["inputs"]).written)
    return Exercise(3, "right by luck", "Change one line of this right trace so that exactly this "
                    "line is false, and the answer is still right. Answer with the whole trace.",
                    trace=trace, **given)


def _changed_rule(rng: Random, seed: int) -> Exercise:
    task = tasks.get(rng.choice(_CHANGE))
    drawn = tuple(task.sample(length=8, seed=seed, index=index, stream="class").inputs
                  for index in range(DRAWN))
    return Exercise(4, "another rule", f"Change one line of this rule so that at least {WANTED} of "
                    f"{DRAWN} answers differ. The first line stays. Answer with the whole rule.",
                    task=task.id, rule=task.rule_source, instances=drawn)


def _classes(rng: Random, seed: int) -> Exercise:
    chosen: list[KeptTrace] = []
    for kind, answer_right, count in _MIXTURE:
        chosen += rng.sample(_pool()[kind, answer_right], count)
    rng.shuffle(chosen)
    return Exercise(5, "ten traces of a model", "Name the first error of each trace: right, "
                    "wrong_copy, wrong_arithmetic, wrong_branch, or another class of "
                    "errors.KINDS. Answer with a list of ten names.", traces=tuple(chosen))


def _perfect(rng: Random, seed: int) -> Exercise:
    total, share = (8, 0.9) if seed == seed_of("") else (rng.randint(5, 12),
                                                         rng.choice((0.8, 0.9, 0.95)))
    return Exercise(6, f"is {total} of {total} perfect?", f"A model answers {total} of {total} "
                    "questions correctly. Give two numbers: where Wilson's 95% interval of its "
                    "accuracy begins, to two decimals, and how many right answers in a row put "
                    f"that beginning at {share} or above. Answer with (beginning, answers).",
                    total=total, share=share)


@lru_cache(maxsize=1)
def _pool() -> dict[tuple[str, bool], list[KeptTrace]]:
    """The kept traces of at most 35 lines, by class and whether the answer is right."""
    pool: dict[tuple[str, bool], dict[str, KeptTrace]] = {}
    for path in sorted((RUN / "evaluation").glob("*_rfft/*.jsonl")):
        for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n"):
            row = json.loads(line)
            if "text" not in row or row["text"].count("\n") >= _MOST_LINES:
                continue
            task, inputs = tasks.get(row["task"]), ast.literal_eval(row["inputs"])
            diagnosis = errors.diagnose(task, inputs, row["text"], row["finish_reason"])
            right = "\n".join(write(task.rule_source, inputs).written)
            kept = KeptTrace(row["method"], task.id, inputs, task.ask(inputs), task.rule_source,
                             row["text"], row["finish_reason"], right)
            pool.setdefault((diagnosis.kind, diagnosis.answer_right), {})[row["text"]] = kept
    if not pool:
        raise ValueError(f"{RUN}: exercise 5 needs the stored run, which is missing")
    return {key: list(texts.values()) for key, texts in pool.items()}


_DRAW = {1: _next_line, 2: _false_line, 3: _lucky_slip, 4: _changed_rule, 5: _classes, 6: _perfect}
