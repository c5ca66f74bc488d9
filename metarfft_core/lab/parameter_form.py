"""A form for a parameter file: each key with its help, what the run costs, what differs, saving.

    from metarfft_core import lab
    lab.form("smoke")

The form starts from a file, its base. What is written in a field is read as YAML and checked by the
schema at once; the cost is planned beside it. The form saves a copy of the base with the changed
values and all its comments.
"""

import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import traitlets

from metarfft_core import params
from metarfft_core.lab import html
from metarfft_core.lab.widget import STATIC, Widget
from metarfft_core.params import ParamsError, loading
from metarfft_core.params.fields import Field, fields, section_help
from metarfft_core.planning import display, plan
from metarfft_core.system import places, yaml_files
from metarfft_core.system.files import write_whole

MADE = "# Made by lab.form from "
"""How a file that the form has saved begins; no other file is overwritten."""
_FILES = Path(__file__).parent / "static"
_PATIENCE = 1.0  # seconds that the static twin of a live form waits for the plan


def form(base: str | os.PathLike | None = None) -> "Form":
    """A form for a parameter file.

    Args:
        base: The preset, such as "smoke", or the path of the file to start from; by default the
            file in $METARFFT_PARAMS, else params/smoke.yaml.

    Raises:
        ParamsError: There is no such file, or a value in it is wrong.
    """
    return Form(base)


class Form(Widget):
    """The form and what it knows: all that a reader sees is in these traits.

    Args:
        base: As for `form`.
    """

    _esm = _FILES / "form.js"
    _css = _FILES / "form.css"
    sections = traitlets.List(help="the sections in order: key, help, fields").tag(sync=True)
    base = traitlets.Unicode(help="the path of the base, for a reader").tag(sync=True)
    original = traitlets.Dict(help="what each field holds in the base").tag(sync=True)
    texts = traitlets.Dict(help="what is written in each field, by its key").tag(sync=True)
    messages = traitlets.Dict(help="what is wrong, by the key of a field or section").tag(sync=True)
    difference = traitlets.List(help="key, the base's value, the new value").tag(sync=True)
    cost = traitlets.List(help="the plan: what, value, note").tag(sync=True)
    status = traitlets.Unicode(help="what is the matter with the plan, if any").tag(sync=True)
    target = traitlets.Unicode(help="the file that saving would write").tag(sync=True)
    asked = traitlets.Int(0, help="how often saving was asked for").tag(sync=True)
    outcome = traitlets.Unicode(help="what came of saving").tag(sync=True)

    def __init__(self, base: str | os.PathLike | None = None):
        path = params.base_file(base)
        self._values, self._text = params.read(path), path.read_text(encoding="utf-8")
        self._original = params.check(self._values, places.shown(path))
        self._fields = {field.key: field for field in fields()}
        self.config: params.Params | None = self._original
        self._changes: dict = {}
        self._planned: Future | None = None
        given = _given(self._values, self._fields)
        original = {key: field.text(given[key]) if key in given else ""
                    for key, field in self._fields.items()}
        super().__init__(base=places.shown(path), original=original, texts=dict(original),
                         sections=_sections(self._fields.values()))
        self._update()

    @traitlets.observe("texts")
    def _update(self, _=None) -> None:
        """Check what is written, and tell what differs, what is wrong and what it costs."""
        changes, wrong = {}, {}
        for key, field in self._fields.items():
            text = self.texts.get(key, "")
            if text.strip() == self.original[key]:
                continue
            try:
                changes[key] = field.read(text)
            except ParamsError as error:
                wrong[key] = str(error)
        checked = loading.problems(_merged(self._values, changes))
        self.config = None
        if isinstance(checked, params.Params):
            if not wrong:
                self.config = checked.model_copy(
                    update={"name": loading.own_name(checked, self._original)})
        else:
            for where, what in checked:
                key, message = self._place(where, what)
                wrong[key] = f"{wrong[key]}; {message}" if key in wrong else message
        self._changes = changes
        self.messages = wrong
        self.difference = [[key, self.original[key] or "not given", self.texts[key] or "not given"]
                           for key in changes | wrong if key in self._fields]
        self.outcome = ""
        self.target = str(_place_of(self.config)) if self.config and changes else ""
        self._plan()

    def _place(self, where: str, what: str) -> tuple[str, str]:
        """The field or section that a message of the schema belongs to, and the message there."""
        if not where:
            first, _, rest = what.partition(": ")
            return (first, rest) if first in self._fields else ("", what)
        key = where
        sections = {section["key"] for section in self.sections}
        while key and key not in self._fields and key not in sections:
            key = key.rpartition(".")[0]
        inside = where[len(key):].lstrip(".")
        return key, f"{inside}: {what}" if inside else what

    def _plan(self) -> None:
        """Plan the run in another process; a newer plan replaces one that has not begun."""
        before, self._planned = self._planned, None
        if before:
            before.cancel()
        if self.config is None:
            self.status = "Not planned: mend what is marked first."
            return
        self.status = "Planning ..."
        self._planned = _planner().submit(_cost_of, self.config)
        self._planned.add_done_callback(self._take)

    def _take(self, planned: Future) -> None:
        """Show a plan, unless a newer one is under way."""
        if planned is not self._planned:
            return
        error = planned.exception()
        self.cost = [] if error else [list(line) for line in planned.result()]
        self.status = str(error) if error else ""

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the plan; returns whether it is there."""
        planned = self._planned
        if planned:
            try:
                planned.exception(seconds)
            except TimeoutError:
                return False
            self._take(planned)
        return True

    def set(self, **texts: str) -> None:
        """Write into fields from Python, by key; a dot is two underscores: `model__name="x"`."""
        self.texts = self.texts | {key.replace("__", "."): text for key, text in texts.items()}

    @traitlets.observe("asked")
    def _save_asked(self, _) -> None:
        try:
            path = self.save()
        except ParamsError as error:
            self.outcome = f"Not saved: {error}"
        else:
            self.outcome = f'Saved as {places.shown(path)}. In a notebook: base = "{path.stem}"'

    def save(self) -> Path:
        """Write the base with the changed values, and all its comments, as params/<name>.yaml.

        Returns:
            The path of the file.

        Raises:
            ParamsError: A value is wrong, nothing differs, or a file of that name exists that the
                form has not made.
        """
        if self.config is None:
            wrong = "; ".join(f"{key}: {what}" if key else what
                              for key, what in self.messages.items())
            raise ParamsError(wrong)
        if not self._changes:
            raise ParamsError(f"nothing differs from {self.base}")
        path = places.absolute(_place_of(self.config), places.project())
        if path.exists() and not path.read_text(encoding="utf-8").startswith(MADE):
            raise ParamsError(f"{places.shown(path)} exists and was not made by the form: give "
                              "the run another name")
        changes = self._changes | {"name": self.config.name}
        head = f"{MADE}{self.base}, with another {', '.join(changes)}.\n"
        try:
            write_whole(path, head + yaml_files.replaced(self._text, changes))
        except OSError as error:
            raise ParamsError(f"{path} cannot be written: {error.strerror}") from None
        return path

    def twin(self) -> str:
        ready = self.wait(None if os.environ.get(STATIC) else _PATIENCE)
        status = self.status if ready else "The plan was not ready when this was stored."
        blocks = [html.tag("p", html.tag("strong", f"Parameters, from {self.base}"))]
        blocks.append(self._twin_of_difference())
        if status:
            blocks.append(html.tag("p", status))
        if self.cost and ready:
            blocks.append(html.table(["the plan", "", "what it rests on"], self.cost))
        for section in self.sections:
            rows = [(html.tag("code", field["key"]), html.tag("code", self.texts[field["key"]]),
                     field["help"], self.messages.get(field["key"], ""))
                    for field in section["fields"]]
            blocks.append(html.details(
                f"{section['title']} ({len(rows)} keys)",
                html.table(["key", "value", "help", "what is wrong"] if any(row[3] for row in rows)
                           else ["key", "value", "help"],
                           rows if any(row[3] for row in rows) else [row[:3] for row in rows])))
        return html.tag("div", html.join(blocks))

    def _twin_of_difference(self) -> html.Html:
        if not self.difference:
            return html.tag("p", f"Nothing differs from {self.base}.")
        return html.table(["key", "in the base", "here"], self.difference,
                          caption=f"What differs from {self.base}")

    def plain(self) -> str:
        keys = ", ".join(key for key, *_ in self.difference)
        return f"Parameters from {self.base}" + (f", with another {keys}" if keys else "")


_COUNTED: dict = {}
"""The samples that the plans have counted, in the process that plans."""


@cache
def _planner() -> ProcessPoolExecutor:
    """The process that plans, so that neither the fields nor the notebook wait for it.

    A thread would not do: Python 3.11 cannot parse in two threads at once (the planned tasks' rules
    in one, a notebook's cell in the other). An interrupt of the notebook is not the process's.
    """
    return ProcessPoolExecutor(1, get_context("spawn"), signal.signal,
                               (signal.SIGINT, signal.SIG_IGN))


def _cost_of(config: params.Params) -> list[display.Estimate]:
    return display.summary(plan.plan(config, counted=_COUNTED))


def _place_of(config: params.Params) -> Path:
    """Where a run's file is saved, relative to the project: its name is the run's."""
    return Path("params") / f"{config.name}.yaml"


def _given(values: dict, known: dict[str, Field], prefix: str = "") -> dict:
    """The values of a file by the keys of the form's fields."""
    given = {}
    for key, value in values.items():
        if prefix + key in known:
            given[prefix + key] = value
        else:
            given |= _given(value, known, f"{prefix}{key}.")
    return given


def _merged(values: dict, changes: dict) -> dict:
    """Values with the changes, whose keys are joined by dots."""
    for keys, value in changes.items():
        for key in reversed(keys.split(".")):
            value = {key: value}
        values = _replaced(values, value)
    return values


def _replaced(values: dict, change: dict) -> dict:
    (key, value), = change.items()
    inner = values.get(key)
    if isinstance(inner, dict) and isinstance(value, dict):
        value = _replaced(inner, value)
    return values | {key: value}


def _sections(known) -> list[dict]:
    """The fields by section, as the browser gets them."""
    sections: dict[str, dict] = {}
    for field in known:
        section = sections.setdefault(field.section, {
            "key": field.section, "title": field.section or "the run",
            "help": section_help(field.section), "fields": []})
        section["fields"].append({
            "key": field.key, "label": field.key.rpartition(".")[2],
            "help": field.help.replace("`", ""), "type": field.type, "kind": field.kind,
            "options": list(field.options), "required": field.required,
            "default": "" if field.default is None else field.text(field.default)})
    return list(sections.values())
