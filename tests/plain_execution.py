"""A rule executed as plain Python under `sys.settrace`, which knows nothing of tracing."""

import copy
import sys
from types import FrameType
from typing import Any


class TooLong(Exception):
    """A rule that executes too many lines, or whose values grow too large."""


class Watched:
    """The lines of a rule, each as (frame, line, representations of the variables after it).

    Lines are in the order in which they are finished. A call is the line of its `def`. Raises
    whatever the rule raises, and TooLong.
    """

    def __init__(self, source: str, name: str, inputs: dict[str, Any], most: int = 10**6,
                 size: int = 10**9):
        """`most` lines may be executed; a value's text and a table have at most this `size`."""
        self.lines: list[tuple[FrameType, int, dict[str, str]]] = []
        self.most, self.size = most, size
        self.running: dict[FrameType, int] = {}
        names: dict[str, Any] = {}
        exec(compile(source, "<plain>", "exec"), names)
        self.tables = [value for name, value in names.items() if name.startswith("TABLE")]
        before_tables = repr(self.tables)
        arguments = copy.deepcopy(list(inputs.values()))
        before = sys.gettrace()
        sys.settrace(self.called)
        try:
            self.answer = names[name](*arguments)
        finally:
            sys.settrace(before)
        self.tables_changed = repr(self.tables) != before_tables

    def called(self, frame, event, argument):
        if frame.f_code.co_filename != "<plain>":
            return None
        self.running[frame] = frame.f_lineno
        return self.local

    def local(self, frame, event, argument):
        if event == "line" and self.running.get(frame) == frame.f_lineno:
            return self.local  # Python says so of a line within which it jumps
        if event in ("line", "return") and frame in self.running:
            after = {name: repr(value) for name, value in frame.f_locals.items()}
            sizes = map(len, [*after.values(), *self.tables])
            if len(self.lines) > self.most or max(sizes, default=0) > self.size:
                raise TooLong
            self.lines.append((frame, self.running.pop(frame), after))
        if event == "line":
            self.running[frame] = frame.f_lineno
        return self.local
