"""The teacher's solutions of the class: `answer(n, exercise)` solves every student's instance.

    import solutions
    from metarfft_core import lab
    lab.check(1, solutions.answer(1, lab.exercise(1, "Ada")), "Ada")      # right

Each is computed independently of how `lab.check` judges.
"""

import sys

from metarfft_core import tasks
from metarfft_core.tracing.judge import replay


def tracer(function, *arguments):
    """The executed lines of a function, numbered from its `def`, and the variables after each."""
    steps = []
    first = function.__code__.co_firstlineno

    def inside(frame, event, value):
        if steps:  # what the line before left behind
            steps[-1][1].update({name: repr(value) for name, value in frame.f_locals.items()})
        if event in ("call", "line"):
            steps.append((frame.f_lineno - first + 1, {}))
        return inside

    def outside(frame, event, value):
        return inside(frame, event, value) if frame.f_code is function.__code__ else None

    sys.settrace(outside)
    try:
        function(*arguments)
    finally:
        sys.settrace(None)
    return steps


def next_line(exercise):
    """The kit's tracer writes the whole trace; the next line follows the lines that are given."""
    trace = tasks.get(exercise.task).rule.recite(exercise.inputs).split("\n")
    return trace[exercise.trace.count("\n") + 1]


def false_line(exercise):
    """The first line that the right trace does not have."""
    right = tasks.get(exercise.task).rule.recite(exercise.inputs).split("\n")
    pairs = enumerate(zip(exercise.trace.split("\n"), right, strict=False), start=1)
    return next(number for number, (given, true) in pairs if given != true)


def lucky_slip(exercise):
    """Another first digit, which the next pass throws away."""
    lines = exercise.trace.split("\n")
    place = lines.index("num = num[1:] # num = " + repr(exercise.inputs["num"][1:]))
    other = "7" if exercise.inputs["num"][1] != "7" else "3"
    lines[place] = "num = num[1:] # num = " + repr(other + exercise.inputs["num"][2:])
    return "\n".join(lines)


def changed_rule(exercise):
    """What is returned goes up by one, so every answer differs."""
    lines = exercise.rule.rstrip("\n").split("\n")
    lines[-1] += " + 1"
    return "\n".join(lines)


def classes(exercise):
    """The first false line that the replay names, and what kind of a fault it is."""
    found = []
    for kept in exercise.traces:
        false = replay.judge_trace(kept.rule, kept.question, kept.text)
        if not false:
            found.append("right")
        elif " gives " not in false[0].reason:
            found.append("wrong_copy")
        elif false[0].text.startswith("if "):
            found.append("wrong_branch")
        else:
            left = false[0].text.partition(" # ")[2].partition(" = ")[0]
            found.append("wrong_arithmetic" if " " in left else "wrong_copy")  # as in `2 + 2`
    return found


def perfect(exercise):
    """Wilson's interval of n of n begins at n / (n + z * z)."""
    square = 1.959964 ** 2
    least = exercise.total
    while least > 1 and least / (least + square) >= exercise.share:
        least -= 1
    while least / (least + square) < exercise.share:
        least += 1
    return round(exercise.total / (exercise.total + square), 2), least


_ANSWERS = {1: next_line, 2: false_line, 3: lucky_slip, 4: changed_rule, 5: classes, 6: perfect}


def answer(n, exercise):
    """The answer of the exercise with this number."""
    return _ANSWERS[n](exercise)
