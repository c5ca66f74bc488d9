"""Lines that change what they read, and changes through another name (random rules: see there).

What is expected is written down by hand: what Python does.
"""

import copy

import pytest

from metarfft_core import formats
from metarfft_core.authoring import checks
from metarfft_core.tasks import Task
from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.judge import replay
from metarfft_core.tracing.rule import Rule
from metarfft_core.tracing.wordings import kit


def task_of(source: str, inputs: dict) -> Task:
    """A task whose only instance has these inputs."""
    question = f"Given {' and '.join(f'{{{name}}}' for name in inputs)}?"
    return Task("own", "f", "own", "own", "none", (1,), "", question, source,
                lambda rng, length: copy.deepcopy(inputs))


def false_lines(source: str, inputs: dict) -> dict[str, list]:
    """What the judge finds in each text of a rule that was run on these inputs."""
    task = task_of(source, inputs)
    instance = task.sample(length=1, seed=0, index=0)
    return {name: checks.false_lines(task, instance, name, formats.render(task, instance, *form))
            for name, form in checks.TEXTS.items()}


TRACES = [
    ("an index that the line itself changes",
     "def f(nums):\n    nums[nums[0]] = 2\n    return nums\n", {"nums": [0, 5, 7]},
     "def f(nums): # nums = [0, 5, 7]\nnums[nums[0]] = 2 # nums[0] = 2\n"
     "return nums # nums = [2, 5, 7]"),
    ("the same in an augmented assignment",
     "def f(nums):\n    nums[nums[0]] += nums[1]\n    return nums\n", {"nums": [0, 1]},
     "def f(nums): # nums = [0, 1]\nnums[nums[0]] += nums[1] # 0 + 1 = 1; nums[0] = 1\n"
     "return nums # nums = [1, 1]"),
    ("an index that is the line's target",
     "def f(a, i):\n    i = a[i].pop()\n    return a\n", {"a": [[1], [2, 0]], "i": 1},
     "def f(a, i): # a = [[1], [2, 0]]; i = 1\ni = a[i].pop() # i = 0; a[1] = [2]\n"
     "return a # a = [[1], [2]]"),
    ("several targets, one of them the index",
     "def f(a, i):\n    i, n = a[i].pop()\n    return n\n", {"a": [[], [(0, 7)]], "i": 1},
     "def f(a, i): # a = [[], [(0, 7)]]; i = 1\ni, n = a[i].pop() # i = 0; n = 7; a[1] = []\n"
     "return n # n = 7"),
    ("a place that is looked up after the call",
     "def f(a):\n    a[len(a) - 1] = a.pop()\n    return a\n", {"a": [1, 2, 3]},
     "def f(a): # a = [1, 2, 3]\na[len(a) - 1] = a.pop() # a[1] = 3; a = [1, 3]\n"
     "return a # a = [1, 3]"),
    ("a dict that grows by its own length",
     "def f(d):\n    d[len(d)] = 7\n    return d\n", {"d": {0: 5}},
     "def f(d): # d = {0: 5}\nd[len(d)] = 7 # d[1] = 7\nreturn d # d = {0: 5, 1: 7}"),
    ("a container that changes in the call that its index reads",
     "def f(a):\n    a[a[0][0]].insert(0, 1)\n    return a\n", {"a": [[0, 5], [6]]},
     "def f(a): # a = [[0, 5], [6]]\na[a[0][0]].insert(0, 1) # a[0] = [1, 0, 5]\n"
     "return a # a = [[1, 0, 5], [6]]"),
    ("a name that is given away by its last item",
     "def f(a):\n    a = a.pop()\n    return a\n", {"a": [[1], [2]]},
     "def f(a): # a = [[1], [2]]\na = a.pop() # a = [2]\nreturn a # a = [2]"),
    ("what a line reads through another name",
     "def f(a):\n    b = a\n    a[0] = b[0] + len(b)\n    a.append(len(b) + 1)\n    return b\n",
     {"a": [1, 2]},
     "def f(a): # a = [1, 2]\nb = a # b = [1, 2]\na[0] = b[0] + len(b) # 1 + 2 = 3; a[0] = 3\n"
     "a.append(len(b) + 1) # 2 + 1 = 3; a = [3, 2, 3]\nreturn b # b = [3, 2, 3]"),
    ("a list that is extended where it stands",
     "def f(a):\n    b = a\n    b += [len(a)]\n    b *= 2\n    b = b + [0]\n    return a\n",
     {"a": [1]},
     "def f(a): # a = [1]\nb = a # b = [1]\nb += [len(a)] # [1] + [1] = [1, 1]\n"
     "b *= 2 # [1, 1] * 2 = [1, 1, 1, 1]\nb = b + [0] # [1, 1, 1, 1] + [0] = [1, 1, 1, 1, 0]\n"
     "return a # a = [1, 1, 1, 1]"),
    ("an argument that is the changed list itself",
     "def f(a):\n    a.extend(max(a, [0]))\n    a.insert(0, a[-1])\n    a.remove(a[1])\n"
     "    a.extend(a)\n    return a\n", {"a": [1, 2]},
     "def f(a): # a = [1, 2]\na.extend(max(a, [0])) # max([1, 2], [0]) = [1, 2]; "
     "a = [1, 2, 1, 2]\na.insert(0, a[-1]) # a = [2, 1, 2, 1, 2]\n"
     "a.remove(a[1]) # a = [2, 2, 1, 2]\na.extend(a) # a = [2, 2, 1, 2, 2, 2, 1, 2]\n"
     "return a # a = [2, 2, 1, 2, 2, 2, 1, 2]"),
    ("a range that is looked up once",
     "def f(a):\n    for i in range(len(a)):\n        a.pop()\n    return a\n", {"a": [4, 5]},
     "def f(a): # a = [4, 5]\nfor i in range(len(a)): # range(2) -> i = 0\na.pop() # a = [4]\n"
     "for i in range(len(a)): # range(2) -> i = 1\na.pop() # a = []\n"
     "for i in range(len(a)): # end\nreturn a # a = []"),
    ("a range over the name of its items",
     "def f(n):\n    for n in range(n):\n        n += 5\n    return n\n", {"n": 2},
     "def f(n): # n = 2\nfor n in range(n): # range(2) -> n = 0\nn += 5 # 0 + 5 = 5\n"
     "for n in range(n): # range(2) -> n = 1\nn += 5 # 1 + 5 = 6\nfor n in range(n): # end\n"
     "return n # n = 6"),
    ("a loop over a list that grows",
     "def f(a):\n    for x in a:\n        if x < 2:\n            a.append(x + 1)\n    return a\n",
     {"a": [1]},
     "def f(a): # a = [1]\nfor x in a: # x = 1\nif x < 2: # 1 < 2 -> True\n"
     "a.append(x + 1) # 1 + 1 = 2; a = [1, 2]\nfor x in a: # x = 2\nif x < 2: # 2 < 2 -> False\n"
     "for x in a: # end\nreturn a # a = [1, 2]"),
    ("rows of a grid",
     "def f(grid):\n    for row in grid:\n        row.append(0)\n    return grid\n",
     {"grid": [[1], [2]]},
     "def f(grid): # grid = [[1], [2]]\nfor row in grid: # row = [1]\n"
     "row.append(0) # row = [1, 0]\nfor row in grid: # row = [2]\n"
     "row.append(0) # row = [2, 0]\nfor row in grid: # end\n"
     "return grid # grid = [[1, 0], [2, 0]]"),
    ("a helper that changes its list and gives a part of it",
     "def g(p):\n    p.append([9])\n    return p[-1]\ndef f(a):\n    x = g(a)\n    x += [8]\n"
     "    return a\n", {"a": [[1]]},
     "def f(a): # a = [[1]]\ndef g(p): # p = [[1]]\np.append([9]) # p = [[1], [9]]\n"
     "return p[-1] # p[-1] = [9]\nx = g(a) # x = [9]\nx += [8] # [9] + [8] = [9, 8]\n"
     "return a # a = [[1], [9, 8]]"),
    ("a chosen list",
     "def f(a, n):\n    b = a if n and a[0] else [0]\n    b.append(n)\n    return a\n",
     {"a": [1], "n": 3},
     "def f(a, n): # a = [1]; n = 3\nb = a if n and a[0] else [0] # n is 3 and a[0] is 1 -> True; "
     "b = [1]\nb.append(n) # b = [1, 3]\nreturn a # a = [1, 3]"),
    ("a condition that names a variable before it has a value",
     "def f(a):\n    for x in a:\n        if x > 1 and last > 0:\n            return x\n"
     "        last = x\n    return 0\n", {"a": [1, 2]},
     "def f(a): # a = [1, 2]\nfor x in a: # x = 1\nif x > 1 and last > 0: # 1 > 1 -> False\n"
     "last = x # last = 1\nfor x in a: # x = 2\n"
     "if x > 1 and last > 0: # 2 > 1 and 1 > 0 -> True\nreturn x # x = 2"),
    ("a chain of comparisons whose end is not read",
     "def f(a, i):\n    if 0 <= i < len(a[i]):\n        return 1\n    return 0\n",
     {"a": [], "i": -1},
     "def f(a, i): # a = []; i = -1\nif 0 <= i < len(a[i]): # 0 <= -1 -> False\nreturn 0"),
    ("an element of what get gives, and a condition that reads nothing",
     "def f(d):\n    if 1 < 2:\n        return d.get(1)[0]\n    return 0\n", {"d": {1: [5]}},
     "def f(d): # d = {1: [5]}\nif 1 < 2: # 1 < 2 -> True\nreturn d.get(1)[0] # 5 = 5"),
    ("spaces and signs of assignment in texts",
     "def f(s):\n    s += ' = '\n    s=s+'_r0_'\n    return(s)\n", {"s": "%s"},
     "def f(s): # s = '%s'\ns += ' = ' # '%s' + ' = ' = '%s = '\n"
     "s=s+'_r0_' # '%s = ' + '_r0_' = '%s = _r0_'\nreturn(s) # s = '%s = _r0_'"),
    ("words for an empty list and for a copy",
     "def f(d):\n    if d in [] or '%s' in d:\n        d = dict(d)\n    return d\n",
     {"d": {"%s": 1}},
     "def f(d): # d = {'%s': 1}\nif d in [] or '%s' in d: # {'%s': 1} in [] or '%s' in {'%s': 1} "
     "-> True\nd = dict(d) # dict({'%s': 1}) = {'%s': 1}\nreturn d # d = {'%s': 1}"),
]
every_trace = pytest.mark.parametrize(
    ("source", "inputs", "trace"), [one[1:] for one in TRACES], ids=[one[0] for one in TRACES])


@every_trace
def test_a_place_is_looked_up_once_when_python_does(source, inputs, trace):
    """The trace, as data and as text, states what Python did."""
    rule = Rule(source)
    assert kit.code(rule.trace(inputs).records) == trace
    assert rule.recite(inputs) == trace


@every_trace
def test_the_judge_follows_in_every_format(source, inputs, trace):
    """Nothing is false in a text of such a rule, in any format or wording."""
    assert false_lines(source, inputs) == {name: [] for name in checks.TEXTS}


def test_a_false_place_is_found():
    """The state that the trace stated when places were looked up too late."""
    rule = "def f(nums):\n    nums[nums[0]] = 2\n    return nums\n"
    text = ("def f(nums): # nums = [0, 5, 7]\nnums[nums[0]] = 2 # nums[2] = 7\n"
            "return nums # nums = [2, 5, 7]\nSo the answer is [2, 5, 7]")
    assert [false.line for false in replay.judge_trace(rule, "[0, 5, 7]", text)] == [2]


@pytest.mark.parametrize(("line", "false", "after"), [
    ("row.append(0)", "row = [1, 7]", "[[1, 7]]"), ("row += [0]", "[1] + [0] = [1, 7]", "[[1, 7]]"),
    ("row.append(0)", "row = [1,0]", "[[1, 0]]")])
def test_a_false_change_is_gone_on_with_under_every_name(line, false, after):
    """After a false state the list is what the text claims, wherever it is held; a true one that
    is spelt otherwise leaves the very same list."""
    rule = f"def f(grid):\n    for row in grid:\n        {line}\n    return grid\n"
    text = (f"def f(grid): # grid = [[1]]\nfor row in grid: # row = [1]\n{line} # {false}\n"
            f"for row in grid: # end\nreturn grid # grid = {after}\nSo the answer is {after}")
    expected = [3] if "7" in false else []
    assert [one.line for one in replay.judge_trace(rule, "[[1]]", text)] == expected


@pytest.mark.parametrize(("rule", "text"), [
    ("def f(d):\n    for k in d:\n        d[k + 1] = k\n    return d\n",
     "def f(d): # d = {1: 1}\nfor k in d: # k = 1\nd[k + 1] = k # d[2] = 1\nfor k in d: # end\n"
     "return d # d = {1: 1, 2: 1}\nSo the answer is {1: 1, 2: 1}"),
    ("def f(d):\n    for k in d:\n        return k\n    return d\n",
     "def f(d): # d = 5\nfor k in d: # end\nreturn d # d = 5\nSo the answer is 5"),
    ("def f(a):\n    for x in a:\n        a.extend(a)\n    return a\n",
     "def f(a): # a = [1]\n" + "for x in a: # x = 1\na.extend(a)\n" * 60)])
def test_what_no_execution_can_be_is_false(rule, text):
    """A loop that Python refuses, or a list that grows without bound, is false and no crash."""
    question = text.partition("\n")[0].partition(" = ")[2]
    assert replay.judge_trace(rule, question, text)


# --- tables

TABLES = "ROWS = [[1], [2]]\nPAIR = ([1], 2)\nGROUPS = {'a': [1]}\nCODES = {'a': 1}\n"


def with_tables(body: list[str]) -> str:
    """A rule with the tables, whose body begins in line 6."""
    return "\n".join([f"{TABLES}def f(n):", *(f"    {line}" for line in body), "    return n", ""])


@pytest.mark.parametrize(("body", "line"), [
    (["ROWS.append(n)"], 6), (["CODES['a'] = n"], 6), (["CODES['a'] += 1"], 6),
    (["x = ROWS", "x.append(n)"], 7), (["x = GROUPS['a']", "x.append(1)"], 7),
    (["x = GROUPS.get('a')", "x.pop()"], 7), (["x = GROUPS['a']", "x += [1]"], 7),
    (["x = ROWS[0]", "x *= 2"], 7), (["for row in ROWS:", "    row.append(n)"], 7),
    (["x = [ROWS[0]]", "x[0].append(n)"], 7), (["x = list(ROWS)", "x[0].append(n)"], 7),
    (["x = ROWS[:]", "y = x[0]", "y.sort()"], 8), (["x = max(ROWS)", "x.sort()"], 7),
    (["x = ROWS if n else [n]", "x.pop()"], 7), (["x, y = PAIR", "x.append(n)"], 7),
    (["PAIR[0].append(n)"], 6), (["x = []", "x.append(ROWS[0])", "y = x", "y[0].sort()"], 9),
    (["x = {}", "x[n] = ROWS", "y = x[n]", "y[0] = n"], 9), (["x = ROWS.pop()"], 6),
    (["x = []", "while n:", "    x.append(n)", "    x = ROWS"], 8),
    (["ROWS = n"], 6), (["for CODES in n:", "    n = 1"], 6), (["n, PAIR = n, n"], 6),
])
def test_a_rule_that_may_change_a_table_is_refused(body, line):
    """Directly, under another name, as a part, as an item: refused with the line."""
    with pytest.raises(RuleError, match=rf"^line {line}: (this may change the|\w+ is a) table"):
        Rule(with_tables(body))


def test_a_helper_that_changes_a_table_is_refused():
    """The line is the one where the helper changes what it is given."""
    helper = "ROWS = [1]\ndef g(p):\n    p.append(1)\n    return p\ndef f(n):\n"
    with pytest.raises(RuleError, match=r"^line 3: this may change the table ROWS"):
        Rule(helper + "    m = g(ROWS)\n    return m\n")
    given_back = "ROWS = [1]\ndef g(n):\n    return ROWS\ndef f(n):\n    m = g(n)\n"
    with pytest.raises(RuleError, match=r"^line 6: this may change the table ROWS"):
        Rule(given_back + "    m.pop()\n    return m\n")


@pytest.mark.parametrize("body", [
    ["x = list(CODES)", "x.append(n)"], ["x = ROWS + [n]", "x.append(n)"],
    ["x = ROWS[0][0]", "x += n"], ["x = CODES['a']", "x *= 2"], ["x = [ROWS[0]]", "x.append(n)"],
    ["x = dict(CODES)", "x['a'] += 1"], ["x = PAIR", "x += (1,)"], ["x = list(ROWS[0])", "x.pop()"],
    ["x = {}", "x[n] = CODES"], ["for row in ROWS:", "    n += row[0]"]])
def test_a_copy_of_a_table_may_be_changed(body):
    """A rule that changes a copy, a number or its own list is accepted."""
    assert Rule(with_tables(body)).name == "f"


# --- what is refused beside

@pytest.mark.parametrize(("body", "reason"), [
    ("x = a.sort()", "sort gives nothing"), ("x = a.append(1)", "append gives nothing"),
    ("a[0] = a[1].pop()", "a name first"), ("x = 0 <= 1 < a[0]", "belongs into a condition"),
    ("x = a and len(a)", "belongs into a condition")])
def test_a_line_that_cannot_be_stated_is_refused(body, reason):
    """What gives nothing, what may replace the changed element, what may not be read."""
    with pytest.raises(RuleError, match=f"^line 2: .*{reason}"):
        Rule(f"def f(a):\n    {body}\n    return a\n")


@pytest.mark.parametrize("line", ["a += 'xy'", "a += (1,)", "b[0] += 'xy'"])
def test_a_list_and_a_text_are_no_sum(line):
    """`[1] + 'xy'` is no expression, so a trace refuses to state it, with the line."""
    rule = Rule(f"def f(a, b):\n    {line}\n    return a\n")
    with pytest.raises(RuleError, match=r"^line 2: a list takes a list after \+="):
        rule.trace({"a": [1], "b": [[1]]})


def test_two_runs_of_a_rule_answer_alike():
    """Neither a rule's own lists nor its inputs are left changed for the next run."""
    rule = Rule("def g(p, n):\n    p += [n]\n    return p\ndef f(a):\n    b = []\n    b = g(a, 1)\n"
                "    b[0].append(2)\n    return b\n")
    inputs = {"a": [[1]]}
    assert rule.execute(inputs) == rule.execute(inputs) == rule.trace(inputs).answer == [[1, 2], 1]
    assert inputs == {"a": [[1]]}
