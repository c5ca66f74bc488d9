"""The compiler from a rule's text to a function that traces in the paper's wording.

It extends the writer in `tracing/compiler.py`. Only the text of a record differs: it has several
lines, and it saves the variables that a line reads before the line is executed. `paper.py` defines
the words.
"""

import ast

from metarfft_core.tracing.compiler import Writer
from metarfft_core.tracing.sharing import Sharing
from metarfft_core.tracing.shown import escape, literal_code
from metarfft_core.tracing.wordings import paper


class PaperWriter(Writer):
    """Writes the functions of a module out again, with records in the paper's wording.

    In the written code, `_w` holds the recited line and the variables that it reads.
    """

    def __init__(self, module: ast.Module, recited: list[str], sharing: Sharing):
        super().__init__(module, recited, "text", sharing)
        self.headings = paper.headings(module)
        self.tables = frozenset(paper.tables(module))
        self.bound: dict[int, set[str]] = {}
        for function in module.body:
            if isinstance(function, ast.FunctionDef):
                arguments = {argument.arg for argument in function.args.args}
                _surely_bound(function.body, arguments, self.bound)

    def say(self, template: str, values=()) -> None:
        self.emit(f"_t({self.formatted(template, list(values))})")

    def recite(self, node: ast.stmt) -> None:
        """Write code that saves the line and the values of the variables that it reads.

        A condition may name a variable that is not bound yet if Python does not evaluate that part.
        """
        template, values = escape(self.recited[node.lineno - 1].strip()), []
        for name in paper.reads(node, self.tables):
            code, shown = literal_code(ast.Name(name)), f"{name} = %s"
            if name not in self.bound[node.lineno]:
                value, unset = f"f'{name} = {{{name}!r}}'", f"'{name}{paper.UNSET}'"
                code = self.taken(f"{value} if '{name}' in locals() else {unset}")
                shown = "%s"
            template += f"\n{shown}"
            values.append(code)
        self.emit(f"_w = {self.formatted(template, values)}")

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.While, ast.For, ast.Return)):
            self.say(self.headings[node.lineno].above)
        if not isinstance(node, (ast.While, ast.For, ast.If)):
            self.recite(node)
        super().statement(node)

    def test(self, node: ast.If | ast.While, loops: bool) -> None:
        self.recite(node)
        super().test(node, loops)

    def record(self, node: ast.AST, facts=(), values=(), changes=(), loops=False) -> None:
        """Write the record of a step; `values` fill the lines that `facts` become."""
        values = list(values)
        match node:
            case ast.FunctionDef():
                lines = [self.headings[node.lineno].above, escape(self.recited[node.lineno - 1])]
                lines += [f"{name} = %s" for _, name, _ in facts]
                return self.say("\n".join(lines), values)
            case ast.For():
                self.recite(node)
                lines, values = self.items(node, facts, values)
            case ast.While() | ast.If():
                lines, values = self.verdict(node, facts), []
            case ast.Return(value=ast.Name()):
                lines, values = [], []  # the variable has been shown
            case _:
                lines, values = self.done(node, facts, values)
        self.say("\n".join(["%s", *lines]), ["_w", *values])

    def verdict(self, node: ast.If | ast.While, facts) -> list[str]:
        """The line that says whether to enter, and the heading of a pass of a loop."""
        what = "loop" if isinstance(node, ast.While) else "branch"
        lines = [paper.VERDICTS[what][right == "True"] for _, _, right in facts]
        enters = not facts or facts[0][2] == "True"
        if what == "loop" and enters:
            lines.append(self.headings[node.lineno].each)
        return lines

    def items(self, node: ast.For, facts, values: list[str]) -> tuple[list[str], list[str]]:
        """The lines for the item of a pass or for the end of the loop, and their values."""
        if facts[0][0] == "end":
            return [paper.VERDICTS["loop"][False]], []
        if facts[0][0] == "each":
            lines = [facts[0][2]]
            values = values[-1:]
        else:
            lines = [f"{left} = {right}" for _, left, right in facts]
        return [*lines, paper.VERDICTS["loop"][True], self.headings[node.lineno].each], values

    def done(self, node: ast.stmt, facts, values: list[str]) -> tuple[list[str], list[str]]:
        """The lines that say what a statement computed and changed, and their values."""
        target = getattr(node, "target", None) or getattr(node, "targets", [None])[0]
        name = f"{paper.NOW}{escape(ast.unparse(target))} = " if target else paper.SO
        lines, kept, rest = [], [], list(values)
        for kind, left, right in facts:
            count = (left + right).replace("%%", "").count("%s")
            used, rest = rest[:count], rest[count:]
            if kind == "test":
                lines.append(paper.VERDICTS["choice"][right == "True"])
                continue
            begins = paper.SO if isinstance(node, ast.Return) else paper.NOW
            lines.append(f"{name if kind == 'calc' else begins}{left} = {right}")
            kept += used
        return lines, kept


def _surely_bound(statements: list[ast.stmt], names: set[str],
                  found: dict[int, set[str]]) -> set[str]:
    """The variables that are surely bound after these statements.

    Args:
        names: The variables that are bound before them.
        found: Receives the variables that are bound before each line.
    """
    for node in statements:
        found[node.lineno] = names
        targets = getattr(node, "targets", None) or [getattr(node, "target", ast.Tuple([]))]
        own = names | {part.id for part in ast.walk(targets[0])
                       if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        match node:
            case ast.For() | ast.While():
                _surely_bound(node.body, own, found)  # the body may never run
            case ast.If():
                names = _surely_bound(node.body, names, found) & _surely_bound(
                    node.orelse, names, found)
            case _:
                names = own
    return names


def write(module: ast.Module, recited: list[str], sharing: Sharing) -> str:
    """Write the text of a module whose functions record what they do in the paper's wording."""
    return PaperWriter(module, recited, sharing).text()
