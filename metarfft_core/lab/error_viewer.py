"""The error viewer: where the traces of a run leave their rules, and the traces themselves.

    lab.errors("outputs/reference/laptop")

It shows a trace of a model beside the right one, step by step, and marks and names the first
divergence. Filters select by method, task, length, class, and right answers with a wrong trace.
"""

import ast
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import traitlets

from metarfft_core import evaluation, params, tasks
from metarfft_core.analysis import diagnoses
from metarfft_core.analysis.run_folder import RunFolder
from metarfft_core.errors import KINDS, Diagnosis
from metarfft_core.errors.reading import Gold, Text
from metarfft_core.lab import html
from metarfft_core.lab.html import Html, tag
from metarfft_core.lab.widget import Widget
from metarfft_core.params import LABELS, METHODS, Params, ParamsError
from metarfft_core.system import places
from metarfft_core.tracing.steps import ANSWER

if TYPE_CHECKING:
    from pandas import DataFrame, Series

FILES = Path(__file__).parent / "static"

CLASSES = {
    "right": ("right trace", "every step and the answer are right"),
    "loop_left_early": ("loop left early", "the trace leaves a loop that the rule goes through "
                                           "once more"),
    "loop_not_left": ("loop not left", "the trace stays in a loop that the rule leaves"),
    "wrong_branch": ("wrong branch", "the verdict of a condition is wrong, its operands are right"),
    "wrong_arithmetic": ("wrong arithmetic", "the result of an expression is wrong, its operands "
                                             "are right"),
    "wrong_copy": ("wrong copy", "a value that is read or shown is not the variable's value"),
    "line_skipped": ("line skipped", "a line that the rule executes is missing"),
    "line_invented": ("line invented", "the trace executes a line that the rule does not execute "
                                       "there"),
    "wrong_recitation": ("wrong recitation", "the line is the right one, but its text is wrong"),
    "format": ("format", "the line cannot be read, or it is not of the expected form"),
    "cut": ("cut", "the decoding limit ended the text; everything before is right"),
    "answer_not_from_trace": ("answer not from trace", "the trace is right, but the answer is "
                                                       "wrong or missing"),
}
"""The name and the reason of each kind of `errors.KINDS`."""

FILTERS = {"method": "Method", "task": "Task", "length": "Length", "kind": "Class"}
"""The columns of the diagnoses that are filtered by, with their labels."""

_KEY = ["method", "task", "seed", "length", "index"]
_BEFORE, _AFTER = 6, 4  # steps around the first divergence in the static twin
_SHOWN = 1_000  # the most steps of a trace in the widget
_LONGEST = 300  # the most characters of a step
_LATE = ("format", "answer_not_from_trace", "cut", "right")  # classes that are shown last


class StepPair(NamedTuple):
    """A step of the model's trace beside a step of the right one; one of them may be missing."""

    number: int | None  # of the right step, from 1
    model: str | None
    rule: str | None
    where: str  # "before", "at" or "after" the first divergence


def errors(run: Params | RunFolder | str | os.PathLike) -> "ErrorViewer":
    """A widget that shows where the traces of a run leave their rules.

    Args:
        run: The folder of a run, its parameter file, its parameters, or what `open_run` returns. A
            path that does not exist in the current folder is looked for in the project.

    Raises:
        ParamsError: There is no such run, or it has no diagnosed traces.
    """
    if isinstance(run, RunFolder):
        run = run.folder
    if not isinstance(run, Params):
        path = places.absolute(run)
        path = path if path.exists() else places.absolute(run, places.project())
        run = params.of_folder(path) if path.is_dir() else params.load(path)
    return ErrorViewer(run)


class ErrorViewer(Widget):
    """A widget over the diagnoses of a run.

    Attributes:
        chosen: The filters that are set: a value by a name of `FILTERS`, and `luck`.
        number: Which of the chosen traces is shown, from 0.
        view: All that is shown: the counts, and the trace beside the right one.
    """

    _esm = FILES / "errors.js"
    _css = FILES / "errors.css"
    chosen = traitlets.Dict().tag(sync=True)
    number = traitlets.Int().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, config: Params):
        super().__init__()
        self._config = config
        self._diagnosed = diagnoses.read(config)
        if self._diagnosed.empty:
            raise ParamsError(f"{config.folder} holds no finished evaluation of rule-following "
                              "traces")
        self._note = diagnoses.note(config)
        self._kept = _with_texts(config, self._diagnosed)
        self._values = {name: _values(self._diagnosed, name) for name in FILTERS}
        self.observe(self._show, ["chosen", "number"])
        self._show()

    def counts(self, **chosen: Any) -> dict[str, dict]:
        """How many diagnoses each choice leaves, by filter and value.

        The counts of a filter respect the other filters, not the filter itself.

        Args:
            chosen: A value for some of `FILTERS`, and `luck=True` for right answers with a wrong
                trace.
        """
        counted = {}
        for name, values in self._values.items():
            rest = {key: value for key, value in chosen.items() if key != name}
            numbers = _choose(self._diagnosed, rest)[name].value_counts()
            counted[name] = {value: int(numbers.get(value, 0)) for value in values}
        rest = {key: value for key, value in chosen.items() if key != "luck"}
        counted["luck"] = {True: len(_choose(self._diagnosed, rest | {"luck": True}))}
        return counted

    def examples(self, **chosen: Any) -> "DataFrame":
        """The rows whose text is kept and that the filters choose, in the order of the widget."""
        return _choose(self._kept, chosen)

    def _show(self, change: object = None) -> None:
        chosen = {name: value for name, value in self.chosen.items()
                  if name == "luck" or name in FILTERS}
        examples, total = self.examples(**chosen), len(_choose(self._diagnosed, chosen))
        position = min(max(self.number, 0), max(len(examples) - 1, 0))
        self.view = {
            "filters": self._filters(chosen), "chosen": chosen, "place": position,
            "kept": len(examples), "total": total, "said": _said(len(examples), total),
            "note": self._note,
            "example": _example(self._config, examples.iloc[position]) if len(examples) else None}

    def _filters(self, chosen: dict[str, Any]) -> list[dict]:
        counts = self.counts(**chosen)
        return [{"name": name, "label": label, "all": sum(counts[name].values()), "options": [
            {"value": value, "label": _label(name, value), "count": counts[name][value]}
            for value in self._values[name]]} for name, label in FILTERS.items()
        ] + [{"name": "luck", "label": "right by luck", "count": counts["luck"][True]}]

    def plain(self) -> str:
        """One line: the run, its diagnoses and the texts that are kept."""
        return (f"Errors of {self._config.name}: {len(self._diagnosed):,} diagnosed traces, "
                f"{len(self._kept):,} with their texts")

    def twin(self) -> Html:
        """The table of counts, and three traces."""
        shown = [_example(self._config, row) for row in _three(self._kept)]
        return tag("div", tag("p", f"{self.plain()}. {self._note}"),
                   _count_table(self._diagnosed), *map(_folded, shown))


def _with_texts(config: Params, diagnosed: "DataFrame") -> "DataFrame":
    """The diagnosed rows whose text is kept; those that leave their rule are first, short before
    long."""
    rows = evaluation.read(config, partial=True)
    rows = rows[rows["text"].notna()]
    taken = [*_KEY, "inputs", "text", "finish_reason"]
    frame = diagnosed.merge(rows[taken], on=_KEY)
    late = frame["kind"].map(lambda kind: _LATE.index(kind) + 1 if kind in _LATE else 0)
    late = late.where((late > 0) | (frame["step"] > 1), 1)
    order = frame.assign(late=late).sort_values(["late", "length", *_KEY], kind="stable")
    return order.drop(columns="late").reset_index(drop=True)


def _values(diagnosed: "DataFrame", name: str) -> list:
    """The values of a column that are filtered by, in the order in which they are shown."""
    values = [value.item() if hasattr(value, "item") else value
             for value in diagnosed[name].unique()]
    if name == "kind":
        return [kind for kind in KINDS if kind in values]
    return sorted(values) if name == "length" else values


def _choose(frame: "DataFrame", chosen: dict[str, Any]) -> "DataFrame":
    for name in FILTERS:
        if chosen.get(name) is not None:
            frame = frame[frame[name] == chosen[name]]
    return frame[_by_luck(frame)] if chosen.get("luck") else frame


def _by_luck(frame: "DataFrame") -> "Series":
    return (frame["outcome"] == "right") & (frame["kind"] != "right")


def _label(name: str, value: Any) -> str:
    if name == "kind":
        return CLASSES[value][0]
    if name == "task":
        return f"{tasks.get(value).title} ({value})"
    return LABELS.get(value, value) if name == "method" else str(value)


def _said(kept: int, total: int) -> str:
    if not total:
        return "No trace is chosen."
    chosen = "1 trace is chosen" if total == 1 else f"{total:,} traces are chosen"
    return f"{chosen}." if kept == total else (f"{chosen}; the texts of {kept:,} are kept and can "
                                               "be shown.")


def _example(config: Params, row: "Series") -> dict[str, Any]:
    """A trace beside the right one, with its first divergence, as the widget and the twin show it.

    `about` says which sample it is, `named` names the divergence, `reason` explains it, and
    `steps` are `StepPair`s as lists. In the step "at", `differs` splits model and rule into what
    is the same before, what differs, and what is the same after it.
    """
    diagnosis = diagnoses.diagnose(config, row)
    name, reason = CLASSES[diagnosis.kind]
    steps = list(_steps(config, row, diagnosis))
    at = next((step for step in steps if step.where == "at"), None)
    where = ""
    if diagnosis.step:
        where = (f" at step {diagnosis.step} of {diagnosis.steps}"
                 if diagnosis.step <= diagnosis.steps else " at the answer")
    seed = f", seed {row.seed}" if row.seed != config.seed else ""
    luck = (", although the trace is wrong"
            if diagnosis.answer_right and diagnosis.kind != "right" else "")
    return {
        "about": f"{LABELS[row.method]} on {_label('task', row.task)}, length {row.length}, "
                 f"index {row['index']}{seed}",
        "named": f"{name}{where}", "reason": reason, "kind": diagnosis.kind,
        "answer": f"The answer is {'right' if diagnosis.answer_right else 'not right'}{luck}.",
        "steps": [list(step) for step in steps[:_SHOWN]],
        "left_out": max(0, len(steps) - _SHOWN),
        "differs": _differs(at.model or "", at.rule or "") if at else None}


def _steps(config: Params, row: "Series", diagnosis: Diagnosis) -> Iterator[StepPair]:
    """Align the steps of a text with the right ones, as the diagnosis compares them.

    Before the first divergence they are aligned one by one, after it by the lines that both recite.
    """
    from difflib import SequenceMatcher

    task, inputs = tasks.get(row.task), ast.literal_eval(row.inputs)
    gold = Gold(task, inputs, METHODS[row.method].format, config.corpus.wording)
    model, rule = map(_short, Text(task, row.text, gold).texts), map(_short, gold.texts)
    model, rule = list(model), list(rule)
    first = diagnosis.step - 1 if diagnosis.step else len(rule)
    for number in range(first):
        yield StepPair(number + 1, model[number], rule[number], "before")
    if diagnosis.step:
        yield StepPair(diagnosis.step, *(side[first] if first < len(side) else None
                                 for side in (model, rule)), "at")
    model, rule, numbers = model[first + 1:], rule[first + 1:], count(first + 2)
    matcher = SequenceMatcher(None, *map(_recited, (model, rule)), autojunk=False)
    for kind, start, end, low, high in matcher.get_opcodes():
        if kind == "equal":
            pairs = zip(model[start:end], rule[low:high], strict=True)
            yield from (StepPair(next(numbers), *pair, "after") for pair in pairs)
        else:
            yield from (StepPair(None, text, None, "after") for text in model[start:end])
            yield from (StepPair(next(numbers), None, text, "after") for text in rule[low:high])


def _recited(steps: list[str]) -> list[str]:
    """What each step recites, without its values."""
    return [ANSWER if text.startswith(ANSWER) else text.partition(" # ")[0] for text in steps]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _differs(model: str, rule: str) -> list[list[str]]:
    """Split two texts into what both begin with, what differs, and what both end with.

    Words and numbers are not split.
    """
    shorter = min(len(model), len(rule))
    start = next((at for at in range(shorter) if model[at] != rule[at]), shorter)
    end = next((at for at in range(shorter - start) if model[-1 - at] != rule[-1 - at]),
               shorter - start)
    while start and model[start - 1].isalnum():
        start -= 1
    while end and model[len(model) - end].isalnum():
        end -= 1
    return [[text[:start], text[start:len(text) - end], text[len(text) - end:]]
            for text in (model, rule)]


def _three(kept: "DataFrame") -> list["Series"]:
    """The first trace of each of the three most frequent classes of errors."""
    wrong = kept[~kept["kind"].isin(_LATE)]
    return [wrong[wrong["kind"] == kind].iloc[0]
            for kind in wrong["kind"].value_counts().index[:3]]


def _count_table(diagnosed: "DataFrame") -> Html:
    """The diagnoses of each class and method, and those that are right by luck."""
    methods = _values(diagnosed, "method")
    sides = [diagnosed[diagnosed["method"] == method] for method in methods] + [diagnosed]
    rows = [(CLASSES[kind][0], *((side["kind"] == kind).sum() for side in sides))
            for kind in _values(diagnosed, "kind")]
    rows += [("all", *map(len, sides)),
             ("right by luck: right answer, wrong trace", *(_by_luck(side).sum()
                                                            for side in sides))]
    return html.table(["class of the first divergence", *map(LABELS.get, methods), "all"], rows,
                      "Diagnosed traces by class and method")


def _folded(example: dict[str, Any]) -> Html:
    """A trace around its first divergence, folded below a line to click on."""
    steps = [StepPair(*step) for step in example["steps"]]
    at = next(position for position, step in enumerate(steps) if step.where == "at")
    around = steps[max(0, at - _BEFORE):at + 1 + _AFTER]
    rows = []
    for step in around:
        sides = [_code(text) for text in (step.model, step.rule)]
        if step.where == "at":
            sides = [html.join([tag("strong", said), tag("div", _marked(parts))]) for said, parts
                     in zip(("first divergence", "right"), example["differs"], strict=True)]
        rows.append(("" if step.number is None else step.number, *sides))
    return html.details(
        f"{example['about']}: {example['named']}", tag("p", f"{example['named'].capitalize()}: "
        f"{example['reason']}. {example['answer']}"),
        html.table(["step", "the model's trace", "the right trace"], rows),
        tag("p", "What follows the first divergence is not judged: it may follow from it."))


def _code(text: str | None) -> Html:
    return tag("em", "nothing") if text is None else tag("code", text)


def _marked(parts: list[str]) -> Html:
    before, differing, behind = parts
    if not "".join(parts):
        return tag("em", "nothing")
    return tag("code", before, tag("mark", differing) if differing else "", behind)
