"""The page docs/tasks.md, which shows each task: its question, its rule, a trace in each format.

`metarfft gallery` writes the page from the registry alone.
"""

import re
from pathlib import Path

from metarfft_core import formats, tasks
from metarfft_core.system import places
from metarfft_core.system.files import write_whole
from metarfft_core.system.places import ROOT
from metarfft_core.tasks.definition import Task

PAGE = ROOT / "docs" / "tasks.md"
LENGTH = 3
"""The length of the instances on the page; a task that cannot draw it shows its shortest."""
COMMAND = "metarfft gallery"


def page() -> str:
    """The page as Markdown: a table of contents, then a section for each task."""
    every = [*tasks.select(), *map(tasks.get, tasks.OTHERS)]
    counts = ", ".join(f"{len(tasks.select(source=source))} {source}"
                       for source in tasks.SOURCES)
    head = [
        "# The tasks", "",
        f"All {len(tasks.IDS)} tasks of the paper's Table 1 ({counts}), in the paper's order, and "
        f"at the end the task of its Figure 8 ({', '.join(tasks.OTHERS)}). That one belongs to no "
        f"split: a parameter file has to name it. `{COMMAND}` makes this page from the registry; "
        "do not edit it.", "",
        f"Each section shows an instance of length {LENGTH} (or the task's shortest): the "
        "question, the rule as the model reads it, and, folded, the right completion in each "
        "format. In an `rfft` completion, a line of the rule is recited exactly, and after ` # ` "
        "comes what it did; `rfft_nl` recites the rule's numbered sentences in the same way. A "
        "counterfactual changes only lines of the rule; it is used only for evaluation.", "",
        "If `and` or `or` joins several tests, a trace states what is true for each of them, and "
        "then the verdict of the code. For `if not s or s[0] != word[0]:` it says `s is not empty "
        "or 's' != 's' -> False`: `s` is not empty, so `not s` is false; `'s' != 's'` is false "
        "too, and so is the condition.", "",
        "A task has a title, a name and an id. Commands and parameter files accept the name or "
        "the id; stored results contain the id.", "",
        "| task | name | id | source | split | lengths | length is |", f"|{'---|' * 7}",
    ]
    rows = [f"| [{task.title}](#{task.id}) | {task.name} | {task.id} | {task.source} | "
            f"{task.split} | {_lengths(task)} | {_cell(task.length_definition)} |"
            for task in every]
    return "\n".join([*head, *rows, ""]) + "".join(map(_section, every))


def write(path: Path = PAGE) -> Path:
    """Write the page atomically and return its path.

    Raises:
        ParamsError: The page belongs in the project, but there is no checkout.
    """
    if path == PAGE:
        places.need_checkout("the page docs/tasks.md needs")
    write_whole(path, page())
    return path


def _lengths(task: Task) -> str:
    return f"{task.lengths[0]} to {task.lengths[-1]}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _section(task: Task) -> str:
    """The section of one task."""
    length = LENGTH if LENGTH in task.lengths else task.lengths[0]
    instance = task.sample(length=length, seed=0, index=0)
    parts = [f'\n<a id="{task.id}"></a>\n\n## {task.title} '
             f'(`{task.name}`, `{task.id}`)\n',
             f"{task.summary}\n",
             f"{task.source}, {task.split}. Length: {task.length_definition}, {_lengths(task)}.\n",
             f"Question, at length {length}:\n", _fence(task.ask(instance.inputs)),
             "Rule:\n", _fence(task.rule_source, "python")]
    parts += _fold("the rule in sentences", task.rule.in_words)
    for name in formats.FORMATS:
        parts += _fold(name, formats.render(task, instance, name).completion)
    if task.counterfactual:
        parts += _counterfactual(task, instance.inputs, instance.answer)
    return "\n".join(parts)


def _counterfactual(task: Task, inputs: dict, answer: object) -> list[str]:
    """The changed lines of a counterfactual, and its answer."""
    pairs = zip(task.rule_source.split("\n"), task.counterfactual.rule_source.split("\n"),
                strict=True)
    changes = [f"-{old}\n+{new}" for old, new in pairs if old != new]
    other = repr(task.counterfactual.rule.execute(inputs))
    here = "the same here" if other == repr(answer) else f"here `{other}`, not `{answer!r}`"
    return [f"Counterfactual `{task.counterfactual.id}`; its answer is {here}.\n",
            _fence("\n".join(changes), "diff")]


def _fold(summary: str, text: str) -> list[str]:
    return [f"<details><summary>{summary}</summary>\n", _fence(text), "</details>\n"]


def _fence(text: str, language: str = "") -> str:
    """A code block, fenced with more backticks than the text has in a row."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}\n"
