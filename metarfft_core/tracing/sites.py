"""Sites, the places in a rule that record what is executed, and the code that writes records."""

import ast
import re
from typing import NamedTuple

from metarfft_core.tracing.sharing import Sharing
from metarfft_core.tracing.shown import brace, escape
from metarfft_core.tracing.steps import BEHIND, BETWEEN, JOIN, Fact, Step


class StepLimit(RuntimeError):
    """Raised when a rule makes more loop passes than its step limit allows."""

    def __init__(self, limit: int):
        super().__init__(f"an endless loop? A call went through more than {limit} passes of loops")


class Site(NamedTuple):
    """A place in a rule that records, with the wording of its facts."""

    line: int  # of the rule, from 1
    code: str  # what a trace recites for the line
    facts: tuple[tuple[str, str, str], ...]  # (kind, left, right): templates for the values
    template: str  # `template % values` is the line of a trace
    changes: tuple[str, ...]  # format strings for what the line changes, such as `total = {1}`
    loops: bool  # whether a pass of a loop begins or ends here

    def step(self, values: tuple[str, ...]) -> Step:
        """The step that a record of this site with these values describes."""
        rest, facts = list(values), []
        for kind, left, right in self.facts:
            sides = []
            for side in (left, right):
                count = side.replace("%%", "").count("%s")
                sides.append(side % tuple(rest[:count]))
                del rest[:count]
            facts.append(Fact(kind, *sides))
        return Step(self.code, tuple(facts))


class Emitter:
    """Writes lines of code and records; its subclass `compiler.Writer` handles the statements."""

    def __init__(self, module: ast.Module, recited: list[str], records: str, sharing: Sharing):
        self.records = records
        self.recording = records != "none"
        self.recited = recited
        self.helpers = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
        self.sharing = sharing
        self.function_name = ""
        self.sites: list[Site] = []
        self.out: list[str] = []
        self.depth = 0
        self.module = module

    def text(self) -> str:
        for node in self.module.body:
            if isinstance(node, ast.FunctionDef):
                self.function(node)
            else:
                self.emit(ast.unparse(node))
        return "\n".join(self.out) + "\n"

    # --- writing

    def emit(self, line: str) -> None:
        self.out.append("    " * self.depth + line)

    def block(self, header: str, *bodies) -> None:
        """Write a compound statement; a body is a list of statements or a function that writes."""
        self.emit(header)
        self.depth += 1
        for body in bodies:
            if callable(body):
                body()
            else:
                for statement in body:
                    self.statement(statement)
        self.depth -= 1

    def record(self, node: ast.AST, facts=(), values=(), changes=(), loops=False) -> None:
        """Write the record of a site; `values` are code, in the order of the `%s` in the facts."""
        if not self.recording:
            return
        values = list(values)
        code = self.recited[node.lineno - 1].strip()
        worded = BETWEEN.join(
            left + JOIN[kind] + right if kind != "end" else "end" for kind, left, right in facts)
        template = escape(code) + (BEHIND + worded if worded else "")
        if self.records == "text":
            self.emit(f"_t({self.formatted(template, values)})")
            return
        site = Site(node.lineno, code, tuple(facts), template, tuple(changes), loops)
        if site not in self.sites:
            self.sites.append(site)
        name = f"_s{self.sites.index(site)}"
        self.emit(f"_t(({name}, ({', '.join(values)}{',' if values else ''})))")

    def formatted(self, template: str, values) -> str:
        """The code of a template with the values in it, as one f-string."""
        template = template.replace("%%", "\0")  # so that "%%s" is not a slot
        parts = [brace(part.replace("\0", "%").replace("\\", "\\\\").replace('"', '\\"')
                        .replace("\n", "\\n")) for part in template.split("%s")]
        slots = []
        for code in values:
            if match := re.fullmatch(r'f"({[^"\\]*})"', code):
                slots.append(match[1])
            elif re.search(r"['\"\\]", code):  # not allowed inside an f-string
                self.emit(f"_q{len(self.out)} = {code}")
                slots.append(f"{{_q{len(self.out) - 1}}}")
            else:
                slots.append(f"{{{code}}}")
        return 'f"' + "".join(a + b for a, b in zip(parts, [*slots, ""], strict=True)) + '"'
