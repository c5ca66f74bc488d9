"""Rules as ordinary Python functions, and what happens when one is executed.

    rule.py      Rule(source): checked, run, traced
    subset.py    the part of Python that a rule may use
    rewrite.py   from a rule's text to a function that records what it executes
    steps.py     what a trace says, as data
    wording.py   from records to text
    parse.py     back from text to steps
    evaluator.py values of expressions, found without executing anything
    replay.py    every false line of a text, from the text alone

Importing this package imports none of them: the replay must not depend on the tracer.
"""
