"""The explorer: step through the rule of any task, line by line, in JupyterLab.

    lab.explore("move_zeroes", length=3, seed=0, index=7)
"""

from pathlib import Path
from typing import Any

import traitlets

from metarfft_core import models, tasks
from metarfft_core.lab import html
from metarfft_core.lab.html import Html
from metarfft_core.lab.view import Count, answer, options, view
from metarfft_core.lab.widget import Widget
from metarfft_core.tasks import Task

FILES = Path(__file__).parent / "static"
FIRST = 12
"""The steps that the static twin shows before a click."""
ROWS = 50_000
"""The most characters of HTML that the other steps take in the twin."""
VALUE, TEXT = 80, 2_000
"""The most characters of a value, and of a prompt or completion, in the twin."""


def explore(task: Task | str = "move_zeroes", length: int = 3, seed: int = 0, index: int = 0,
            model: str | None = None) -> "Explorer":
    """A widget that steps through the rule of a task; the instance and the rule can be changed.

    Args:
        task: The task, or its name or id.
        model: The model whose tokens are counted, as in a parameter file. By default the tokens of
            the embedded model are counted if it has been converted, and characters otherwise.

    Raises:
        ValueError: There is no such task, or it cannot draw the length.
        ParamsError: There is no such model.
    """
    return Explorer(_task(task), length, seed, index, _counter(model))


class Explorer(Widget):
    """The widget that `explore` makes.

    Attributes:
        position: The state that is shown, from 0. It can be set.
        request: The instance and the rule that a reader asks for; set by the browser.
        view: What is shown (see `view.view`).
        problem: Why the last request was refused (text and line), or empty.
    """

    _esm = FILES / "explorer.js"
    _css = FILES / "explorer.css"
    options = traitlets.List().tag(sync=True)
    request = traitlets.Dict().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    problem = traitlets.Dict().tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)

    def __init__(self, task: Task, length: int, seed: int, index: int, count: Count | None = None):
        self._own = task
        self._count = count
        groups = options()
        if task not in tasks.select():
            groups.insert(0, {"label": "This notebook",
                              "tasks": [{"id": task.id, "title": task.title}]})
        super().__init__(options=groups, view=view(task, length, seed, index, count=count))

    @traitlets.observe("request")
    def _asked(self, change) -> None:
        """Show what the browser asks for; where it is refused, say why and keep what is shown."""
        with self.hold_sync():
            for name, value in answer(change["new"], [self._own], self.position,
                                      self._count).items():
                setattr(self, name, value)

    def plain(self) -> str:
        asked, states = self.view["request"], self.view["states"]
        return (f"Explorer of {self.view['title']} ({asked['task']}), length {asked['length']}, "
                f"seed {asked['seed']}, index {asked['index']}: {len(states)} steps, answer "
                f"{_short(self.view['answer'])}")

    def twin(self) -> Html:
        shown, asked = self.view, self.view["request"]
        rows = [_row(number, state, shown["values"]) for number, state
                in enumerate(shown["states"])]
        return html.tag(
            "div",
            html.tag("p", html.tag("strong", shown["title"]), f" ({asked['task']}), length "
                     f"{asked['length']}, seed {asked['seed']}, index {asked['index']}. "
                     f"{_short(shown['question'], TEXT)}"),
            _steps(rows[:FIRST], "The first steps; * marks what the line changed"),
            _others(rows[FIRST:]),
            html.details("The rule", _rule(shown["rule"])),
            _formats(shown))


def _task(task: Task | str) -> Task:
    if isinstance(task, Task):
        return task
    try:
        return tasks.get(task)
    except KeyError as error:
        raise ValueError(error.args[0]) from None


def _counter(model: str | None) -> Count | None:
    """Counts a model's tokens; None where no tokenizer is at hand."""
    if model is None:
        folders = [*models.cache_folder().glob(f"{models.EMBEDDED}-*/tokenizer.json")]
        if not folders:
            return None
        model = str(folders[0].parent)
    return models.token_counter(model)


def _short(text: str, most: int = VALUE) -> str:
    return text if len(text) <= most else f"{text[:most]} …"


def _rule(source: str) -> Html:
    lines = source.rstrip("\n").split("\n")
    wide = len(str(len(lines)))
    return html.tag("pre", "\n".join(f"{number:>{wide}}  {line}"
                                     for number, line in enumerate(lines, start=1)))


def _row(number: int, state: dict[str, Any], values: list[str]) -> tuple[object, ...]:
    """A row of the table of steps; what the line changed is marked."""
    pieces: list[object] = []
    for name, place in state["variables"].items():
        text = f"{name} = {_short(values[place])}"
        pieces += [html.tag("mark", f"* {text}") if name in state["changed"] else text,
                   html.Html("<br>")]
    return number, state["line"], html.tag("code", _short(state["text"], 2 * VALUE)), html.join(
        pieces[:-1])


def _steps(rows: list[tuple[object, ...]], caption: str) -> Html:
    return html.table(["Step", "Line", "Trace", "Variables after the line"], rows, caption)


def _others(rows: list[tuple[object, ...]]) -> Html:
    """The steps after the first ones, as many as fit."""
    size = kept = 0
    while kept < len(rows) and (size := size + sum(len(str(cell)) for cell in rows[kept])) < ROWS:
        kept += 1
    if not rows:
        return Html("")
    caption = f"The next {kept} steps" + (f" of {len(rows)}" if kept < len(rows) else "")
    return html.details(caption, _steps(rows[:kept], ""))


def _formats(shown: dict[str, Any]) -> Html:
    rows = [(form["name"], f"{form['size']:,}", html.tag("pre", _short(form["completion"], TEXT)))
            for form in shown["formats"]]
    return html.details("The same instance in four formats", html.table(
        ["Format", f"Prompt and completion, in {shown['unit']}", "Completion"], rows))
