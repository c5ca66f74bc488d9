"""Tracing: what a trace says is what a debugger sees and what an outsider finds true (Section 2).

The references for the tracer: Python's own trace hook over the rule's text, and a judge of single
lines that knows string rules and arithmetic only.
"""

import ast
import copy
import os
import re
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from samples import draw

from metarfft_core import formats, tasks
from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.judge import parse
from metarfft_core.tracing.rule import Rule
from metarfft_core.tracing.sites import StepLimit
from metarfft_core.tracing.wordings import kit

ROOT = Path(__file__).resolve().parent.parent
every_task = pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
SLOW = pytest.param(20, marks=pytest.mark.slow)


def watch(source: str, inputs: dict) -> list[tuple[str, dict[str, str], set[str]]]:
    """Every line that Python executes of a rule, in the order in which lines are finished.

    Each is (line, the literals of all variables after it, the variables that it changed). A call
    is the line of its `def`. `else:` is no line of its own to Python either.
    """
    lines = source.split("\n")
    seen, running, before = [], {}, {}

    def finish(frame):
        after = {name: repr(value) for name, value in frame.f_locals.items()}
        if frame in running:
            changed = {name for name in after if after[name] != before[frame].get(name)}
            seen.append((lines[running.pop(frame) - 1].strip(), after, changed))
        before[frame] = after

    def local(frame, event, argument):
        if event in ("line", "return"):
            finish(frame)
        if event == "line":
            running[frame] = frame.f_lineno
        return local

    def called(frame, event, argument):
        if frame.f_code.co_filename != "<rule>" or frame.f_code.co_name == "<module>":
            return None
        running[frame], before[frame] = frame.f_lineno, {}
        return local

    names: dict = {}
    exec(compile(source, "<rule>", "exec"), names)
    function = names[ast.parse(source).body[-1].name]
    arguments = copy.deepcopy(list(inputs.values()))
    old = sys.gettrace()
    sys.settrace(called)
    try:
        function(*arguments)
    finally:
        sys.settrace(old)
    return seen


def stated(step) -> dict[str, str]:
    """What a step says about variables: place to literal."""
    places = {}
    target = re.match(r"(\w+) (?:[-+*%/]+)?= ", step.code)
    for fact in step.facts:
        if fact.kind == "state":
            places[fact.left] = fact.right
        elif fact.kind == "each":
            name, _, value = fact.right.partition(" = ")
            places[name] = value
        elif fact.kind == "calc" and target:
            places[target[1]] = fact.right
    if target and not step.facts:
        places[target[1]] = repr(ast.literal_eval(step.code.partition(" = ")[2]))
    return places


@pytest.mark.parametrize("count", [1, SLOW])
@every_task
def test_trace_is_what_a_debugger_sees(task, count):
    """Python's trace hook sees the recited lines, the stated values, and no further change."""
    tables = task.tables
    for instance in draw(task, count):
        completion = formats.render(task, instance, "rfft").completion
        steps, answer = parse.steps(completion)
        seen = watch(task.rule_source, instance.inputs)
        assert [step.code for step in steps] == [line for line, _, _ in seen]
        for step, (_, after, changed) in zip(steps, seen, strict=True):
            places = stated(step)
            for place, literal in places.items():
                values = tables | {name: ast.literal_eval(after[name]) for name in after
                                   if name in place}
                assert repr(eval(place, {"__builtins__": {}}, values)) == literal, step
            assert changed <= {re.match(r"\w+", place)[0] for place in places}, step
        assert answer == repr(instance.answer)


@pytest.mark.parametrize("count", [1, SLOW])
@every_task
def test_parsing_gives_the_executed_steps(task, count):
    """Parsing a trace gives the steps that the tracer recorded, and the answer."""
    for instance in draw(task, count):
        steps, answer = parse.steps(formats.render(task, instance, "rfft").completion)
        execution = task.trace(instance.inputs)
        assert steps == execution.steps
        assert (answer, repr(execution.answer)) == (repr(instance.answer),) * 2


# --- an outsider, who knows no code of ours

BUILTINS = {function.__name__: function for function in (
    abs, bool, chr, dict, divmod, int, len, list, max, min, ord, range, str, tuple)}
STANDS = re.compile(r"\b([a-z_]\w*)(?:\[[^ ]*\])* is (not empty|empty|True|False|None|-?\d+)\b")


@cache
def value(expression: str) -> str:
    """The value of an expression of literals, as a literal."""
    return repr(eval(expression, {"__builtins__": {}}, BUILTINS))


def outsider_finds_true(code: str, fact: str) -> bool:
    """Is a fact true, by string rules and arithmetic? It may be a state, which is not judged."""
    if fact == "end":
        return code.startswith("for ")
    left, arrow, right = fact.rpartition(" -> ")
    if arrow and right in ("True", "False"):
        def stands(match):  # `not x` is true where x is empty
            truth = value({"not empty": "1", "empty": "0"}.get(match[2], match[2]))
            negated = re.search(rf"\bnot {match[1]}\b(?!\S*\()", code)
            return str(bool(ast.literal_eval(truth)) != bool(negated))
        return str(bool(ast.literal_eval(value(STANDS.sub(stands, left))))) == right
    if arrow:
        return int(right.split(" = ")[1]) in eval(left, {"__builtins__": {}}, {"range": range})
    left, equals, right = fact.rpartition(" = ")
    literal = repr(ast.literal_eval(right)) == right
    if re.fullmatch(r"[A-Za-z_]\w*(\[.*\])*", left):
        return bool(equals) and literal
    return bool(equals) and literal and value(left) == right


@pytest.mark.parametrize("count", [1, SLOW])
@every_task
def test_an_outsider_finds_every_fact_true(task, count):
    """Every recited line is a line of the rule; every fact is valid Python and true by itself."""
    rule = {line.strip() for line in task.rule_source.split("\n")}
    for instance in draw(task, count):
        *lines, last = formats.render(task, instance, "rfft").completion.split("\n")
        for line in lines:
            code, behind, facts = line.partition(" # ")
            assert code in rule
            for fact in facts.split("; ") if behind else []:
                assert outsider_finds_true(code, fact), line
        assert last == f"So the answer is {instance.answer!r}"


@pytest.mark.parametrize(("code", "fact"), [
    ("total = a + b", "3 + 4 = 8"), ("total = a + b", "3 + 4 = 07"), ("if a > b:", "1 > 2 -> True"),
    ("while s:", "s is empty -> True"), ("if not s:", "s is empty -> False"),
    ("if a and b:", "a is not empty and 1 > 0 -> False"), ("s = s[1:]", "s = 'ab"),
    ("for i in range(n):", "range(3) -> i = 3"), ("if x:", "end")])
def test_the_outsider_can_say_no(code, fact):
    """The outsider of this file refuses a false fact of each kind."""
    with suppress(SyntaxError):
        assert not outsider_finds_true(code, fact)


# --- what a rule can say in each form: hand-written traces

SHAPES = [
    ("conditions show what was evaluated",
     "def f(a, b):\n    if a and b > 1 or not b:\n        return 1\n    return 0\n",
     {"a": [], "b": 2},
     "def f(a, b): # a = []; b = 2\n"
     "if a and b > 1 or not b: # (a is empty) or b is 2 -> False\n"
     "return 0\n"),
    ("a loop over items, and its end",
     "def f(a):\n    n = 0\n    for x, y in a:\n        n += x * y\n    return n\n",
     {"a": [(2, 3)]},
     "def f(a): # a = [(2, 3)]\nn = 0\nfor x, y in a: # x = 2; y = 3\n"
     "n += x * y # 0 + 2 * 3 = 6\nfor x, y in a: # end\nreturn n # n = 6\n"),
    ("a loop over a range, break and continue",
     "def f(n):\n    for i in range(n):\n        if i == 0:\n            continue\n        break\n"
     "    return i\n",
     {"n": 3},
     "def f(n): # n = 3\nfor i in range(n): # range(3) -> i = 0\nif i == 0: # 0 == 0 -> True\n"
     "continue\nfor i in range(n): # range(3) -> i = 1\nif i == 0: # 1 == 0 -> False\nbreak\n"
     "return i # i = 1\n"),
    ("an element of a list is changed",
     "def f(a):\n    a[0] = a[0] + a[1]\n    a[1] += 1\n    return a\n",
     {"a": [2, 3]},
     "def f(a): # a = [2, 3]\na[0] = a[0] + a[1] # 2 + 3 = 5; a[0] = 5\n"
     "a[1] += 1 # 3 + 1 = 4; a[1] = 4\nreturn a # a = [5, 4]\n"),
    ("a helper is called",
     "def g(n):\n    return n * n\ndef f(n):\n    m = g(n)\n    return m\n",
     {"n": -3},
     "def f(n): # n = -3\ndef g(n): # n = -3\nreturn n * n # -3 * -3 = 9\nm = g(n) # m = 9\n"
     "return m # m = 9\n"),
    ("a negative power keeps its sign",
     "def f(n):\n    return n ** 2\n", {"n": -3},
     "def f(n): # n = -3\nreturn n ** 2 # (-3) ** 2 = 9\n"),
    ("a percent sign and braces in strings",
     "def f(s):\n    s = s + '%d{}'\n    return s\n", {"s": "%s{0}"},
     "def f(s): # s = '%s{0}'\ns = s + '%d{}' # '%s{0}' + '%d{}' = '%s{0}%d{}'\n"
     "return s # s = '%s{0}%d{}'\n"),
]


@pytest.mark.parametrize(("source", "inputs", "trace"), [shape[1:] for shape in SHAPES],
                         ids=[shape[0] for shape in SHAPES])
def test_wording(source, inputs, trace):
    """Each form of a rule's line is worded as it was written down by hand here."""
    assert kit.code(Rule(source).trace(inputs).records) == trace.rstrip("\n")


# --- what a rule may be

BODIES = [
    ("import", ["import os"], 2, "Import"),
    ("eval", ["n = eval('1')"], 2, "eval"),
    ("open", ["n = open('x')"], 2, "open"),
    ("comprehension", ["n = [i for i in n]"], 2, "ListComp"),
    ("generator", ["n = max(i for i in n)"], 2, "GeneratorExp"),
    ("lambda", ["n = lambda: 1"], 2, "Lambda"),
    ("unknown method", ["n = n.format(1)"], 2, "the method format"),
    ("dunder", ["n = n.__class__"], 2, "Attribute"),
    ("two statements", ["n = 1; n = 2"], 2, "line of its own"),
    ("body on the header's line", ["if n: n = 1"], 2, "line of its own"),
    ("statement over two lines", ["n = (1 +", "     2)"], 2, "one line"),
    ("class", ["class A:", "    pass"], 2, "ClassDef"),
    ("global", ["global n"], 2, "Global"),
    ("f-string", ["n = f'{n}'"], 2, "JoinedStr"),
    ("float", ["n = 1.5"], 2, "float"),
    ("true division", ["n = n / 2"], 2, "Div"),
    ("set", ["n = {1, 2}"], 2, "Set"),
    ("else after while", ["while n:", "    n = 0", "else:", "    n = 1"], 2, "else after a loop"),
    ("nested function", ["def g():", "    return 1"], 2, "FunctionDef"),
    ("starred argument", ["n = max(*n)"], 2, "starred"),
    ("starred target", ["n, *m = n"], 2, "plain names"),
    ("walrus", ["if (m := n):", "    n = 1"], 2, "NamedExpr"),
    ("try", ["try:", "    n = 1", "except ValueError:", "    n = 2"], 2, "Try"),
    ("with", ["with n:", "    n = 1"], 2, "With"),
    ("assert", ["assert n"], 2, "Assert"),
    ("delete", ["del n"], 2, "Delete"),
    ("yield", ["yield n"], 2, "Expr|expression|yield"),
    ("comment after a line", ["n = 1 # one"], 2, "comment"),
    ("comment without a blank", ["n = 1 #one"], 2, "comment"),
    ("comment after else", ["if n:", "    n = 1", "else: # two", "    n = 2"], 4, "comment"),
    ("comment on a line", ["n = 1", "# two", "n = 2"], 3, "comment"),
    ("header over two lines", ["while (n and", "       n > 1):", "    n = 1"], 2, "one line"),
    ("header that ends on the next line", ["while (n", "       ):", "    n = 1"], 2, "one line"),
    ("loop that ends on the next line", ["for i in (n", "          ):", "    n = 1"], 2,
     "one line"),
    ("form feed between lines", ["n = 1", "\f", "n = 2"], 3, "form feed"),
    ("form feed in a line", ["n =\f1"], 2, "form feed"),
    ("form feed before a line", ["n = '\f'", "if n:", "\f        n = 2"], 4, "form feed"),
    ("form feed after a line", ["n = '\f' \f"], 2, "form feed"),
    ("line separator", ["n =\u20281"], 2, "not Python"),
    ("next line", ["n =\x851"], 2, "not Python"),
    ("vertical tab", ["n =\x0b1"], 2, "not Python"),
    ("carriage return", ["n = 1\r    n = 2"], 2, "carriage return"),
    ("carriage return in a string", ["n = 'a\rb'"], 2, "carriage return"),
    ("two statements with semicolons", ["n = ';'; m = ';'"], 2, "line of its own"),
    ("a name that the tracer uses", ["_t = 1"], 2, "_t"),
    ("docstring", ["'''What it does.'''"], 2, "changes nothing"),
    ("print", ["print(n)"], 2, "changes nothing"),
    ("mutation inside an expression", ["n = n.pop() + 1"], 2, "pop"),
    ("slice assignment", ["n[1:] = []"], 2, "assign to a name"),
    ("chained assignment", ["m = n = 1"], 2, "one target"),
    ("later line", ["n = 1", "while n:", "    n = 0.5"], 4, "float"),
    ("built-in as a value", ["m = eval"], 2, "eval is no variable"),
    ("built-in rebound", ["len = eval"], 2, "len is a built-in"),
    ("built-in rebound by a loop", ["for max in n:", "    n = 1"], 2, "max is a built-in"),
    ("built-in among targets", ["m, abs = 1, 2"], 2, "abs is a built-in"),
    ("name never assigned", ["n = n + m"], 2, "m is no variable"),
    ("name never assigned in a change", ["m += 1", "n = k"], 3, "k is no variable"),
    ("rule as a value", ["m = f"], 2, "f is no variable"),
    ("function rebound", ["f = 1", "m = f(n)"], 2, "f is a function"),
    ("function rebound by a loop", ["for f in n:", "    n = 1"], 2, "f is a function"),
    ("variable called", ["m = len(n)", "k = m(n)"], 3, "m is not in the subset"),
    ("built-in changed", ["len += 1"], 2, "len is a built-in"),
    ("built-in in wide letters", ["m = \uff4c\uff45\uff4e(n)"], 2, "beyond ASCII"),
    ("method in wide letters", ["m = n.\uff43ount(1)"], 2, "beyond ASCII"),
    ("name of one letter that is two", ["\ufb01 = 1", "n = fi"], 2, "beyond ASCII"),
    ("Cyrillic name", ["\u0430 = 1"], 2, "beyond ASCII"),
    ("backslash before a line", ["n = 1", "\\", "n = 2"], 3, "backslash"),
    ("backslash after a line", ["n = 1 + \\", "2"], 2, "backslash"),
    ("backslash after a string", ["n = '\\n' + \\", "'2'"], 2, "backslash"),
    ("semicolon after a line", ["n = 1;"], 2, "semicolon"),
    ("null byte", ["n = '\0'"], 1, "not Python"),
    ("half of a character", ["n = '\ud800'"], 1, "not Python"),
    ("nested too deep", [f"n = {'-' * 30_000}1"], 1, "nested too deep"),
    ("a sum without end", [f"n = {'1 + ' * 30_000}1"], 1, "nested too deep"),
    ("an index without end", [f"n = n{'[0]' * 30_000}"], 1, "nested too deep"),
    ("slice over two lines", ["if n[0:", "     1]:", "    n = 1"], 2, "one line"),
    ("elif over two lines", ["if n:", "    n = 1", "elif n[0:", "     1]:", "    n = 1"], 4,
     "one line"),
    ("else over two lines", ["if n:", "    n = 1", "else \\", " :", "    n = 1"], 4, "one line"),
    ("body on the line of else", ["if n:", "    n = 1", "else: n = 2"], 4, "line of its own"),
    ("formatting", ["n = '%3000000000d' % n"], 2, "formatting"),
]


@pytest.mark.parametrize(("body", "line", "reason"), [body[1:] for body in BODIES],
                         ids=[body[0] for body in BODIES])
def test_refused_rules(body, line, reason):
    """What is outside the subset is refused when the rule is read, with its line and the reason."""
    source = "\n".join(["def f(n):", *(f"    {text}" for text in body), "    return n"]) + "\n"
    with pytest.raises(RuleError, match=rf"^line {line}: .*({reason})"):
        Rule(source)


@pytest.mark.parametrize(("source", "line", "reason"), [
    ("", 1, "ends with the function"),
    ("def f(\n    a,\n    b,\n):\n    return a\n", 1, "a header takes one line"),
    ("def f(a\n      ):\n    return a\n", 1, "a header takes one line"),
    ("T = {1: 2}\ndef f(a, \\\n      b):\n    return a\n", 2, "without a backslash"),
    ("T: dict = {1: 2}\ndef f(n):\n    return n\n", 1, "only tables"),
    ("A, B = 1, 2\ndef f(n):\n    return n\n", 1, "only tables"),
    ("x = 1\n", 1, "ends with the function"),
    ("def f(n:\n    return n\n", 1, "not Python"),
    ("def f(n=1):\n    return n\n", 1, "no defaults"),
    ("def f(*n):\n    return n\n", 1, "plain positional"),
    ("def f(n: int):\n    return n\n", 1, "no annotations"),
    ("def f(n): # the number\n    return n\n", 1, "comment"),
    ("T = {1: 2}  # noqa\ndef f(n):\n    return n\n", 1, "comment"),
    ("def f(_c):\n    return _c\n", 1, "_c"),
    ("def f(n):\n    n = 1\n", 2, "ends with return"),
    ("def f(n):\n    if n:\n        n = 1\n", 2, "ends with return"),
    ("def f(n):\n    return\n", 2, "return a value"),
    ("import os\ndef f(n):\n    return n\n", 1, "only tables"),
    ("T = max(1, 2)\ndef f(n):\n    return n\n", 1, "not a literal"),
    ("def len(n):\n    return n\n", 1, "len is a built-in"),
    ("def f(len):\n    return len\n", 1, "len is a built-in"),
    ("def f(\uff4e):\n    return n\n", 1, "beyond ASCII"),
    ("def \uff46(n):\n    return n\n", 1, "beyond ASCII"),
    ("def f(f):\n    return f\n", 1, "f is a function"),
    ("def g(n):\n    return n\ndef g(n):\n    return 2\ndef f(n):\n    m = g(n)\n    return m\n", 3,
     "g is defined twice"),
    ("T = 1\nT = 2\ndef f(n):\n    return n\n", 2, "T is defined twice"),
    ("F = 1\ndef F(n):\n    return n\n", 2, "F is defined twice"),
    ("T = 1; U = 2\ndef f(n):\n    return n\n", 1, "semicolon"),
    ("T = 1 + \\\n    2\ndef f(n):\n    return n\n", 1, "backslash"),
    ("T = 1\ndef f(n):\n    T = n\n    return T\n", 3, "T is a table"),
    ("table = {1: 2}\ndef f(n):\n    return n\n", 1, "only tables"),
])
def test_refused_texts(source, line, reason):
    """A text that is no rule is refused with its line and the reason."""
    with pytest.raises(RuleError, match=rf"^line {line}: .*{reason}"):
        Rule(source)


def test_endless_loop():
    """A loop without end raises StepLimit, in a run and in a trace."""
    rule = Rule("def f(n):\n    while n > 0:\n        n = 1\n    return n\n")
    for execute in (rule.execute, rule.trace):
        with pytest.raises(StepLimit):
            execute({"n": 1})
    assert rule.execute({"n": 0}) == 0


def test_endless_recursion():
    """A recursion without end is Python's RecursionError, in a run and in a trace."""
    rule = Rule("def g(n):\n    n = g(n)\n    return n\ndef f(n):\n    m = g(n)\n    return m\n")
    for execute in (rule.execute, rule.trace):
        with pytest.raises(RecursionError):
            execute({"n": 1})


# --- cost

def test_standard_library_alone():
    """Tasks, tracing and formats import and render with nothing but the standard library."""
    program = """
import sys
from metarfft_core import formats, tasks
from metarfft_core.tracing.judge import parse, replay
task = tasks.get("nupa_add")
example = formats.render(task, task.sample(length=3, seed=0, index=0), "rfft")
assert replay.judge(*example) == []
tasks.select()
ours = {module.partition(".")[0] for module in sys.modules}
print(sorted(ours - set(sys.stdlib_module_names) - {"__main__"}))
"""
    out = subprocess.run([sys.executable, "-S", "-c", program], check=True, capture_output=True,
                         text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}).stdout
    assert out.strip() == "['metarfft_core']"


def test_a_trace_costs_at_most_ten_times_the_rule():
    """A finished trace of a 30-digit addition costs at most ten times the bare rule."""
    program = [sys.executable, str(ROOT / "benchmarks" / "tracing.py"), "--rounds", "150"]
    out = subprocess.run(program, check=True, capture_output=True, text=True,
                         env=os.environ | {"PYTHONPATH": str(ROOT)}).stdout
    ratio, = re.findall(r"^ +30 .* ([\d.]+)$", out, re.MULTILINE)
    assert float(ratio) <= 10, out
